"""Every registered generator: shapes, ranges, dependence on the label, options."""

from __future__ import annotations

import pytest
import torch

from data.errors import ConfigError
from data.labels import LabelSpace
from generators.networks import build_network, networks

SPACES = {
    "sngan": LabelSpace("class", names=("a", "b", "c")),
    "ccgan_sngan": LabelSpace("scalar", unit="degree", minimum=0, maximum=90),
}
TINY = {"sngan": {"width": 2, "latent_size": 5}, "ccgan_sngan": {"width": 2, "latent_size": 5, "embedding_size": 32}}


def test_the_table_covers_the_registry() -> None:
    assert networks.names() == sorted(TINY)


@pytest.mark.parametrize("name", sorted(TINY))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (3, 32, 32), (2, 64, 64), (3, 128, 128)])
def test_shapes_and_range(name: str, shape: tuple[int, int, int]) -> None:
    network = build_network(name, TINY[name])
    generator = network.generator(shape, SPACES[name])
    discriminator = network.discriminator(shape, SPACES[name])
    labels = torch.tensor([0, 2]) if name == "sngan" else torch.tensor([0.0, 0.7])
    images = generator(torch.randn(2, network.latent_size), labels)
    assert images.shape == (2, *shape)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    scores = discriminator(images, labels)
    assert scores.shape == (2,)
    assert scores.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(TINY))
def test_scores_depend_on_the_label_and_images_do_once_the_norms_are_trained(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, {**TINY[name], "width": 8})
    generator, discriminator = (
        make((1, 8, 8), SPACES[name]).eval() for make in (network.generator, network.discriminator)
    )
    for key, parameter in generator.named_parameters():
        if "gain" in key or "bias.weight" in key:
            torch.nn.init.normal_(parameter)
    first, second = (torch.tensor([0]), torch.tensor([1])) if name == "sngan" else (torch.zeros(1), torch.ones(1))
    latents = torch.randn(1, 5)
    images = generator(latents, first)
    assert not torch.allclose(images, generator(latents, second))
    assert not torch.allclose(discriminator(images, first), discriminator(images, second))


def test_projection_equals_the_inner_product() -> None:
    torch.manual_seed(0)
    discriminator = build_network("sngan", TINY["sngan"]).discriminator((1, 8, 8), SPACES["sngan"]).eval()
    images, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 1])
    features = discriminator.body(images).sum(dim=(2, 3))
    expected = [
        features[i] @ discriminator.score.weight[0] + discriminator.score.bias[0]
        + features[i] @ discriminator.projection.weight[label]
        for i, label in enumerate(labels.tolist())
    ]  # fmt: skip
    torch.testing.assert_close(discriminator(images, labels), torch.stack(expected))


def test_a_wrong_option_names_the_right_one() -> None:
    with pytest.raises(ConfigError, match="got 'widht'; did you mean 'width'"):
        build_network("sngan", {"widht": 3})
    with pytest.raises(ConfigError, match="got 'x'; known: width, latent_size"):
        build_network("sngan", {"x": 3})
    with pytest.raises(ConfigError, match="did you mean 'sngan'"):
        build_network("snga", {})


def test_the_label_embedding_is_not_rounded_by_autocast() -> None:
    generator = build_network("ccgan_sngan", TINY["ccgan_sngan"]).generator((1, 8, 8), SPACES["ccgan_sngan"])
    labels = torch.tensor([0.9001, 0.9002])
    plain = generator.embedding(labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(generator.embedding(labels), plain)
