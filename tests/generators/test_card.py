"""Cards: round trip, and refusals of what is not one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data.errors import DataError
from data.labels import LabelSpace
from generators.card import GeneratorCard, describe_network, load_card, load_network, save_generator
from generators.networks import build_network

CLASSES = LabelSpace("class", names=("a", "b"))
YAW = LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90)


@pytest.mark.parametrize(("name", "space"), [("sngan", CLASSES), ("ccgan_sngan", YAW)])
def test_a_saved_generator_is_rebuilt_with_the_same_outputs(tmp_path: Path, name: str, space: LabelSpace) -> None:
    torch.manual_seed(0)
    network = build_network(name, {"width": 2, "latent_size": 4})
    generator = network.generator((3, 16, 16), space).eval()
    card = describe_network(name, network, (3, 16, 16), space, {"steps": 3})
    save_generator(tmp_path, card, generator)
    assert load_card(tmp_path) == card
    assert card.options["width"] == 2
    rebuilt = load_network(tmp_path, load_card(tmp_path))
    assert not rebuilt.training
    labels = torch.tensor([0, 1]) if name == "sngan" else torch.tensor([0.1, 0.9])
    latents = torch.randn(2, 4)
    assert torch.equal(rebuilt(latents, labels), generator(latents, labels))


def test_refusals_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read .* folder of a finished generator"):
        load_card(tmp_path)
    card = GeneratorCard("sngan", {"width": 2}, (1, 8, 8), CLASSES, 128).to_dict()
    with pytest.raises(DataError, match="format 1"):
        GeneratorCard.from_dict({**card, "format": 2})
    with pytest.raises(DataError, match="unknown or missing field"):
        GeneratorCard.from_dict({key: value for key, value in card.items() if key != "network"})
    with pytest.raises(DataError, match="unknown or missing field"):
        GeneratorCard.from_dict({**card, "more": 1})


def test_weights_that_do_not_fit_the_card_are_refused(tmp_path: Path) -> None:
    network = build_network("sngan", {"width": 2})
    card = describe_network("sngan", network, (1, 8, 8), CLASSES, {})
    save_generator(tmp_path, card, network.generator((1, 8, 8), CLASSES))
    path = tmp_path / "generator.json"
    path.write_text(json.dumps({**card.to_dict(), "image_shape": [1, 16, 16]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"generator\.safetensors cannot be loaded into ResidualGenerator"):
        load_network(tmp_path, load_card(tmp_path))
