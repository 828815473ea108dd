"""Every family: shapes, ranges, gradients, dependence on label and latent, options, and its first weights."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from generators.attention import SelfAttention
from generators.layers import ORTHOGONAL
from generators.networks import Heads, Verdict, build_network, networks

SPACES = {
    "class": LabelSpace("class", names=("a", "b", "c")),
    "scalar": LabelSpace("scalar", unit="degree", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw"), Axis("tilt"))),
    "class+scalar": LabelSpace("class+scalar", names=("a", "b", "c"), name="yaw"),
}
#: Conditions of three rows.
CONDITIONS = {
    "class": torch.tensor([0, 2, 1]),
    "scalar": torch.tensor([0.0, 0.7, 1.0]),
    "vector": torch.tensor([[0.0, 1.0], [0.7, 0.2], [1.0, 0.4]]),
    "class+scalar": torch.tensor([[0.0, 0.1], [2.0, 0.7], [1.0, 1.0]]),
}
#: Small values of options by name; a family takes those that it has.
SMALL = {"width": 4, "latent_size": 8, "embedding_size": 32, "shared_size": 4, "discriminator_width": 2}


def tiny(name: str, **options: object) -> object:
    fields = {field.name for field in dataclasses.fields(networks.get(name))}
    return build_network(name, {**{key: value for key, value in SMALL.items() if key in fields}, **options})


def variants() -> list[tuple[str, str, str | None]]:
    """(family, kind of label, label input)."""
    rows = []
    for name in networks.names():
        inputs = ["ili", "nli"] if "label_input" in networks.get(name).__dataclass_fields__ else [None]
        rows += [(name, kind, label_input) for kind in sorted(networks.get(name).label_kinds) for label_input in inputs]
    return rows


def built(variant: tuple[str, str, str | None], **options: object) -> object:
    return tiny(variant[0], **options, **({"label_input": variant[2]} if variant[2] else {}))


def fitting_heads(kind: str) -> list[Heads]:
    """Every combination of heads that a kind of label allows."""
    conditionings = ["projection"] + (["acgan", "reacgan"] if "class" in kind else [])
    regressions = [False] if kind == "class" else [False, True]
    return [Heads(each, label, ratio) for each in conditionings for label in regressions for ratio in (False, True)]


def answers(heads: Heads) -> set[str]:
    further = {"acgan": {"class_logits"}, "reacgan": {"embeddings", "proxies"}}.get(heads.conditioning, set())
    flags = {"predicted_labels": heads.label_regression, "ratios": heads.density_ratio}
    return {"scores", *further, *(name for name, there in flags.items() if there)}


def test_the_sweep_covers_the_families_and_the_kinds_of_label() -> None:
    assert networks.names() == [
        "acgan", "biggan", "biggan_deep", "ccgan_sagan", "ccgan_sngan", "sagan", "sngan"
    ]  # fmt: skip
    assert {kind for _, kind, _ in variants()} == set(SPACES)
    assert len(variants()) == 5 + 2 * 3 * 2
    assert {kind: len(fitting_heads(kind)) for kind in SPACES} == {
        "class": 6, "scalar": 4, "vector": 4, "class+scalar": 12
    }  # fmt: skip


@pytest.mark.parametrize("variant", variants())
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_shapes_ranges_and_answers(variant: tuple[str, str, str | None], shape: tuple[int, int, int]) -> None:
    kind, family = variant[1], built(variant)
    conditions = CONDITIONS[kind]
    generator = family.generator(shape, SPACES[kind])
    images = generator(torch.randn(3, family.latent_size), conditions)
    assert images.shape == (3, *shape)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert images.std() > 1e-3
    for heads in fitting_heads(kind) if shape[1] == 8 else [Heads()]:
        verdict = family.discriminator(shape, SPACES[kind], heads)(images, conditions)
        assert isinstance(verdict, Verdict)
        there = {name: answer for name, answer in verdict._asdict().items() if answer is not None}
        assert set(there) == answers(heads)
        assert all(answer.dtype == torch.float32 and len(answer) == 3 for answer in there.values())
        assert verdict.scores.shape == (3,)


@pytest.mark.parametrize("name", networks.names())
@pytest.mark.parametrize("side", [64, 128])
def test_large_images(name: str, side: int) -> None:
    kind = sorted(networks.get(name).label_kinds)[0]
    family = tiny(name, width=1)
    shape = (4, side, side)
    images = family.generator(shape, SPACES[kind])(torch.randn(3, 8), CONDITIONS[kind])
    assert images.shape == (3, *shape)
    scores = family.discriminator(shape, SPACES[kind])(images, CONDITIONS[kind]).scores
    assert scores.isfinite().all()


@pytest.mark.parametrize("variant", variants())
def test_every_parameter_gets_a_gradient(variant: tuple[str, str, str | None]) -> None:
    torch.manual_seed(0)
    kind, family = variant[1], built(variant, width=8)
    heads = fitting_heads(kind)[-1]
    generator = family.generator((1, 16, 16), SPACES[kind])
    discriminator = family.discriminator((1, 16, 16), SPACES[kind], heads)
    for network in (generator, discriminator):
        for key, parameter in network.named_parameters():
            # Gates, and the maps of batch norms, start at zero and hide what is behind them.
            if not parameter.any() and "bias.weight" not in key:
                nn.init.normal_(parameter, std=0.2)
    batch = CONDITIONS[kind].repeat(4, *(1,) * (CONDITIONS[kind].ndim - 1))
    verdict = discriminator(generator(torch.randn(12, 8), batch), batch)
    weighted = [(answer * torch.randn_like(answer)).sum() for answer in verdict if answer is not None]
    torch.stack(weighted).sum().backward()
    for network in (generator, discriminator):
        assert family.uses_embedding == isinstance(getattr(network, "embedding", None), nn.Module)
        trained = {key: each for key, each in network.named_parameters() if not key.startswith("embedding.")}
        assert len(trained) > 8
        assert all(each.grad is not None for each in trained.values())
        # The batch norm after a convolution takes its bias away.
        cancelled = ("conv1.bias", "conv2.bias", "conv3.bias") if network is generator else ()
        assert not [key for key, each in trained.items() if not each.grad.any() and not key.endswith(cancelled)]
        assert all(each.grad is None for key, each in network.named_parameters() if key not in trained)


@pytest.mark.parametrize("variant", variants())
def test_images_and_scores_depend_on_every_part_of_the_label(variant: tuple[str, str, str | None]) -> None:
    torch.manual_seed(0)
    kind, family = variant[1], built(variant, width=8)
    generator = family.generator((1, 8, 8), SPACES[kind]).eval()
    discriminator = family.discriminator((1, 8, 8), SPACES[kind], Heads()).eval()
    for key, parameter in generator.named_parameters():
        if ".gain." in key:
            nn.init.normal_(parameter)
    latents = torch.randn(1, 8)
    first = CONDITIONS[kind][:1]
    changes = [torch.ones(())] if first.ndim == 1 else list(torch.eye(2))
    images = generator(latents, first)
    for change in changes:
        other = (first + change).to(first.dtype)
        assert not torch.allclose(images, generator(latents, other), atol=1e-4)
        difference = discriminator(images, first).scores - discriminator(images, other).scores
        assert difference.abs().item() > 1e-5


def test_scores_of_sngan_equal_the_inner_product_written_out() -> None:
    torch.manual_seed(0)
    discriminator = tiny("sngan").discriminator((1, 8, 8), SPACES["class"]).eval()
    images, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 1])
    features = discriminator.body(images).sum(dim=(2, 3))
    head = discriminator.head
    expected = [
        features[i] @ head.score.weight[0] + head.score.bias[0] + features[i] @ head.projection.weight[label]
        for i, label in enumerate(labels.tolist())
    ]
    torch.testing.assert_close(discriminator(images, labels).scores, torch.stack(expected))


def test_naive_input_adds_the_label_to_the_first_layer_and_projects_it() -> None:
    torch.manual_seed(0)
    family, space = tiny("ccgan_sngan", label_input="nli"), SPACES["vector"]
    generator = family.generator((1, 8, 8), space).eval()
    seen = {}
    generator.body.blocks[0].register_forward_hook(lambda _block, inputs, _output: seen.update(features=inputs[0]))
    latents, labels = torch.randn(3, 8), CONDITIONS["vector"]
    generator(latents, labels)
    expected = generator.body.start(latents) + labels @ generator.body.added.weight.T
    torch.testing.assert_close(seen["features"].flatten(1), expected)
    assert not [key for key in generator.state_dict() if "gain" in key or "embedding" in key]
    discriminator = family.discriminator((1, 8, 8), space)
    assert discriminator.head.projection.weight.shape == (discriminator.body.features * 16, 2)


@pytest.mark.parametrize("side", [8, 32])
def test_every_piece_of_biggans_latent_reaches_its_block_and_no_other(side: int) -> None:
    torch.manual_seed(0)
    generator = tiny("biggan", latent_size=9).generator((1, side, side), SPACES["class"]).eval()
    parts = side.bit_length() - 2
    assert len(generator.pieces) == parts == len(generator.blocks) + 1
    assert sum(generator.pieces) == 9
    assert len(set(generator.pieces[1:])) == 1
    told: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _block, inputs, _output: told.append(inputs[1]))
        for block in generator.blocks
    ]
    latents, classes = torch.randn(2, 9), torch.tensor([0, 2])
    images = generator(latents, classes)
    for hook in hooks:
        hook.remove()
    assert len(told) == len(hooks)
    start = generator.pieces[0]
    for number, condition in enumerate(told):
        stop = start + generator.pieces[number + 1]
        expected = torch.cat([generator.shared.weight[classes], latents[:, start:stop]], dim=1)
        assert torch.equal(condition, expected)
        moved = latents.clone()
        moved[:, start:stop] += 1.0
        assert not torch.allclose(generator(moved, classes), images, atol=1e-5)
        start = stop


def test_all_of_biggan_deeps_latent_reaches_every_block() -> None:
    torch.manual_seed(0)
    family = tiny("biggan_deep", depth=3)
    generator = family.generator((1, 16, 16), SPACES["class"]).eval()
    told: list[torch.Tensor] = []
    for block in generator.blocks:
        block.register_forward_hook(lambda _block, inputs, _output: told.append(inputs[1]))
    latents, classes = torch.randn(2, 8), torch.tensor([0, 2])
    generator(latents, classes)
    assert len(told) == 2 * 3
    expected = torch.cat([latents, generator.shared.weight[classes]], dim=1)
    assert all(torch.equal(condition, expected) for condition in told)


@pytest.mark.parametrize("name", ["biggan", "biggan_deep"])
def test_attention_of_the_biggan_families_is_an_option(name: str) -> None:
    seen = []
    for side in (0, 8):
        family = tiny(name, attention_side=side)
        networks_of = [make((1, 32, 32), SPACES["class"]) for make in (family.generator, family.discriminator)]
        layers = [layer for each in networks_of for layer in each.modules() if isinstance(layer, SelfAttention)]
        assert len(layers) == (2 if side else 0)
        for layer in layers:
            layer.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0].shape[-1]))
        networks_of[1](networks_of[0](torch.randn(3, 8), CONDITIONS["class"]), CONDITIONS["class"])
    assert seen == [8, 8]
    with pytest.raises(ConfigError, match="option 'attention_side' must be 0, for none, or 4, 8, 16 for images of 32"):
        tiny(name, attention_side=32).generator((1, 32, 32), SPACES["class"])


def normalised(network: nn.Module) -> tuple[set[str], set[str]]:
    """Names of the convolutions and linear layers with spectral norm, and of those without."""
    layers = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding)
    }
    there = {name for name, layer in layers.items() if hasattr(layer, "parametrizations")}
    return there, set(layers) - there


@pytest.mark.parametrize("name", ["sngan", "sagan", "biggan", "biggan_deep", "acgan"])
def test_spectral_norm_is_where_the_family_has_it(name: str) -> None:
    family = tiny(name)
    generator, discriminator = (make((1, 16, 16), SPACES["class"]) for make in (family.generator, family.discriminator))
    with_norm, without = normalised(generator)
    if name in ("sngan", "acgan"):
        assert not with_norm
    else:
        # The class's own tables have none: neither the shared embedding nor the gains and biases of SAGAN.
        assert len(with_norm) > 6
        assert {part.rpartition(".")[2] for part in without} <= {"shared", "gain", "bias"}
    with_norm, without = normalised(discriminator)
    assert len(with_norm) >= 4
    assert without == ({"head.score", "head.classifier"} if name == "acgan" else set())


@pytest.mark.parametrize("name", ["sagan", "biggan", "biggan_deep"])
def test_normalised_weights_of_generators_have_norm_one(name: str) -> None:
    torch.manual_seed(0)
    generator = tiny(name, width=8).generator((1, 8, 8), SPACES["class"])
    for layer in generator.modules():
        if hasattr(layer, "parametrizations"):
            assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1.0, abs=0.05)
    assert ORTHOGONAL.initial == "orthogonal"


def test_acgan_has_the_layers_of_its_source_at_32_pixels() -> None:
    family = build_network("acgan", {})
    generator, discriminator = (make((3, 32, 32), SPACES["class"]) for make in (family.generator, family.discriminator))
    assert generator.start.weight.shape == (384, 131)
    shapes = [tuple(layer.weight.shape) for layer in generator.body if isinstance(layer, nn.ConvTranspose2d)]
    assert shapes == [(384, 192, 4, 4), (192, 96, 4, 4), (96, 48, 4, 4), (48, 3, 4, 4)]
    convolutions = [layer for layer in discriminator.body if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 128, 256, 512]
    assert [layer.stride[0] for layer in convolutions] == [2, 1, 2, 1, 2, 1]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.body) == 5
    assert sum(isinstance(layer, nn.Dropout) for layer in discriminator.body) == 6
    assert discriminator.head.classifier.weight.shape == (3, 8192)


def test_dropout_is_a_function_of_torchs_seed() -> None:
    discriminator = tiny("acgan").discriminator((1, 8, 8), SPACES["class"])
    images = torch.randn(3, 1, 8, 8)

    def scores(seed: int) -> torch.Tensor:
        # A copy, since a training pass moves the estimates of the spectral norms.
        network = copy.deepcopy(discriminator)
        torch.manual_seed(seed)
        return network(images, CONDITIONS["class"]).scores.detach()

    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(1), scores(2))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sngan", {"widht": 3}, "got 'widht'; did you mean 'width'"),
        ("sngan", {"x": 3}, "got 'x'; known: width, latent_size"),
        ("snga", {}, "did you mean 'sngan'"),
        ("sagan", {"width": 0}, "option 'width' of a generator must be at least 1, got 0"),
        ("biggan", {"shared_size": 0}, "option 'shared_size' of a generator must be at least 1"),
        ("biggan_deep", {"depth": 0}, "option 'depth' of a generator must be at least 1"),
        ("acgan", {"dropout": 1.0}, r"option 'dropout' of generator 'acgan' must lie in \[0, 1\), got 1.0"),
        ("ccgan_sngan", {"embedding_size": 12}, "embedding_size must be a multiple of 8 and at least 32, got 12"),
        ("ccgan_sagan", {"label_input": "ily"}, "option 'label_input' must be 'ili'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_built(name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_network(name, options)


@pytest.mark.parametrize("name", networks.names())
def test_images_of_an_unfit_size_are_refused(name: str) -> None:
    family, kind = tiny(name), sorted(networks.get(name).label_kinds)[0]
    for make in (family.generator, family.discriminator):
        with pytest.raises(ConfigError, match="square with a side of 8, 16, 32, 64, 128 pixels, got 28 x 28"):
            make((1, 28, 28), SPACES[kind])


def test_a_latent_too_short_for_the_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be at least 4 for images of 32 pixels.*got 3; try 128"):
        tiny("biggan", latent_size=3).generator((1, 32, 32), SPACES["class"])


def test_the_label_embedding_is_not_rounded_by_autocast() -> None:
    generator = tiny("ccgan_sngan").generator((1, 8, 8), SPACES["scalar"])
    labels = torch.tensor([0.9001, 0.9002])
    plain = generator.embedding(labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(generator.embedding(labels), plain)


@pytest.mark.parametrize("variant", variants())
def test_autocast_changes_answers_by_rounding_only(variant: tuple[str, str, str | None]) -> None:
    torch.manual_seed(0)
    kind, family = variant[1], built(variant)
    generator = family.generator((1, 16, 16), SPACES[kind]).eval()
    discriminator = family.discriminator((1, 16, 16), SPACES[kind], fitting_heads(kind)[-1]).eval()
    latents = torch.randn(3, 8)
    images = generator(latents, CONDITIONS[kind])
    plain = discriminator(images, CONDITIONS[kind])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (generator(latents, CONDITIONS[kind]) - images).abs().mean().item() < 0.03
        rounded = discriminator(images, CONDITIONS[kind])
    for first, second in zip(plain, rounded, strict=True):
        if first is not None:
            assert second.dtype == torch.float32
            torch.testing.assert_close(second, first, atol=0.1, rtol=0.1)


#: First element of weights that the release before wrote for seed 7, width 4, latent 8, 1 x 8 x 8 pixels.
FIRST_WEIGHTS = {
    ("sngan", "class"): [
        {
            "body.start.weight": 0.09653,
            "body.blocks.0.conv1.weight": -0.1726,
            "body.blocks.0.conv2.weight": 0.32014,
            "body.blocks.0.skip.weight": 0.50321,
            "body.end.weight": 0.06053,
        },
        {
            "body.blocks.0.conv1.weight": -0.06534,
            "body.blocks.1.skip.weight": 0.61361,
            "head.score.weight": 0.04266,
            "head.projection.weight": -0.94159,
        },
    ],
    ("ccgan_sngan", "scalar"): [
        {
            "embedding.layers.0.weight": 0.06985,
            "embedding.layers.12.bias": 0.02034,
            "body.start.weight": 0.01783,
            "body.blocks.0.skip.weight": 0.47949,
            "body.end.weight": 0.32158,
        },
        {
            "embedding.layers.0.weight": -0.83015,
            "body.blocks.0.conv1.weight": -0.50748,
            "body.blocks.1.skip.weight": -0.00759,
            "head.score.weight": 0.00182,
            "head.projection.weight": 0.03918,
        },
    ],
}


@pytest.mark.parametrize(("name", "kind"), FIRST_WEIGHTS)
def test_a_seed_gives_the_same_first_weights_as_in_the_release_before(name: str, kind: str) -> None:
    options = {"width": 4, "latent_size": 8} | ({"embedding_size": 32} if kind == "scalar" else {})
    torch.manual_seed(7)
    family = build_network(name, options)
    halves = [make((1, 8, 8), SPACES[kind]) for make in (family.generator, family.discriminator)]
    for network, first in zip(halves, FIRST_WEIGHTS[name, kind], strict=True):
        state = {
            key.replace(".parametrizations.weight.original", ".weight"): value
            for key, value in network.state_dict().items()
        }
        for key, value in first.items():
            assert state[key].flatten()[0].item() == pytest.approx(value, abs=1e-5), key


@pytest.mark.parametrize(
    ("name", "kind", "keys"),
    [
        ("sngan", "class", []),
        ("ccgan_sngan", "scalar", ["embedding.centre", "embedding.scale", "embedding.layers.0.weight"]),
    ],
)
def test_generators_have_the_names_that_cards_of_the_release_before_hold(name: str, kind: str, keys: list[str]) -> None:
    options = {"width": 4, "latent_size": 8} | ({"embedding_size": 32} if kind == "scalar" else {})
    state = build_network(name, options).generator((1, 8, 8), SPACES[kind]).state_dict()
    block = [f"body.blocks.0.{layer}.{part}" for layer in ("conv1", "conv2", "skip") for part in ("weight", "bias")]
    norm = [f"body.blocks.0.norm{number}.{part}.weight" for number in (1, 2) for part in ("gain", "bias")]
    wanted = {*keys, *block, *norm, "body.start.weight", "body.norm.running_mean", "body.end.bias"}
    assert wanted <= set(state)
    assert len(state) == {"sngan": 25, "ccgan_sngan": 45}[name]
