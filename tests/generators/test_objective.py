"""Which losses the two networks take, from which part of the labels, and with which weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from generators.class_losses import d2d_ce_loss
from generators.label_losses import density_ratio_discriminator_loss, density_ratio_generator_loss
from generators.networks import Heads, Verdict
from generators.objective import Objective, Told, halves

CLASSES = LabelSpace("class", names=("a", "b", "c"))
SCALAR = LabelSpace("scalar", minimum=0, maximum=10)
VECTOR = LabelSpace("vector", axes=(Axis("x"), Axis("y")))
BOTH = LabelSpace("class+scalar", names=("a", "b"), minimum=0, maximum=10)
B = 6


def verdict(seed: int, dimensions: int = 1) -> Verdict:
    rng = torch.Generator().manual_seed(seed)
    return Verdict(
        scores=torch.randn(B, generator=rng),
        class_logits=torch.randn(B, 3, generator=rng),
        embeddings=normalize(torch.randn(B, 4, generator=rng)),
        proxies=normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(9))),
        predicted_labels=torch.randn(B, dimensions, generator=rng),
        ratios=torch.rand(B, generator=rng),
    )


def conditions(space: LabelSpace, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    if space.kind == "class":
        return torch.randint(0, 3, (B,), generator=rng)
    values = torch.rand(B, *space.label_shape, generator=rng)
    if space.kind == "class+scalar":
        values[:, 0] = torch.tensor([0.0, 1, 1, 0, 1, 0])
    return values


@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
def test_projection_has_the_adversarial_loss_alone(loss: str) -> None:
    objective = Objective(CLASSES, loss)
    told = Told(conditions(CLASSES), conditions(CLASSES, 1), torch.rand(B), torch.rand(B))
    assert objective.heads == Heads()
    real, fake = verdict(1), verdict(2)
    losses = objective.discriminator(real, fake, told)
    assert list(losses) == ["adversarial"]
    expected = objective.adversarial.discriminator(real.scores, fake.scores, told.real_weights, told.fake_weights)
    assert losses["adversarial"] == expected
    assert objective.generator(fake, told.labels) == {"adversarial": objective.adversarial.generator(fake.scores)}


def test_acgan_classifies_real_and_generated_images_by_their_own_labels() -> None:
    objective = Objective(CLASSES, conditioning="acgan", auxiliary_weight=2.0)
    told = Told(conditions(CLASSES), conditions(CLASSES, 1))
    real, fake = verdict(1), verdict(2)
    expected = cross_entropy(real.class_logits, told.labels) + 0.1 * cross_entropy(fake.class_logits, told.fake_labels)
    torch.testing.assert_close(objective.discriminator(real, fake, told)["auxiliary"], 2 * expected)
    found = objective.generator(fake, told.fake_labels)["auxiliary"]
    torch.testing.assert_close(found, 2 * cross_entropy(fake.class_logits, told.fake_labels))


def test_reacgan_takes_real_images_in_one_turn_and_generated_ones_in_the_other() -> None:
    objective = Objective(CLASSES, conditioning="reacgan", auxiliary_weight=0.5)
    told = Told(conditions(CLASSES), conditions(CLASSES, 1))
    real, fake = verdict(1), verdict(2)
    expected = 0.5 * d2d_ce_loss(real.embeddings, real.proxies, told.labels)
    torch.testing.assert_close(objective.discriminator(real, fake, told)["auxiliary"], expected)
    expected = 0.5 * d2d_ce_loss(fake.embeddings, fake.proxies, told.labels)
    torch.testing.assert_close(objective.generator(fake, told.labels)["auxiliary"], expected)


@pytest.mark.parametrize("space", [SCALAR, VECTOR, BOTH])
def test_label_regression_reads_the_continuous_part_and_the_half_width_of_each_target(space: LabelSpace) -> None:
    dimensions = len(space.dimensions)
    objective = Objective(space, label_regression_weight=3.0)
    assert objective.heads == Heads(label_regression=True)
    kappas = torch.rand(B, dimensions) if space.kind == "vector" else torch.rand(B)
    told = Told(conditions(space), conditions(space, 1), kappas=kappas)
    real, fake = verdict(1, dimensions), verdict(2, dimensions)
    values = told.labels[:, 1:] if space.kind == "class+scalar" else told.labels.reshape(B, dimensions)
    total = 0.0
    for i in range(B):
        for j in range(dimensions):
            kappa = kappas[i, j] if kappas.dim() == 2 else kappas[i]
            total += max(float((real.predicted_labels[i, j] - values[i, j]).abs() - kappa), 0.0)
    losses = objective.discriminator(real, fake, told)
    assert losses["label"].item() == pytest.approx(3.0 * total / (B * dimensions), rel=1e-5)
    expected = 3.0 * (fake.predicted_labels - values).abs().mean()
    torch.testing.assert_close(objective.generator(fake, told.labels)["label"], expected)


def test_the_density_ratio_has_its_own_weight() -> None:
    objective = Objective(SCALAR, density_ratio_weight=0.5)
    real, fake = verdict(1), verdict(2)
    told = Told(conditions(SCALAR), conditions(SCALAR, 1))
    expected = 0.5 * density_ratio_discriminator_loss(real.ratios, fake.ratios)
    torch.testing.assert_close(objective.discriminator(real, fake, told)["ratio"], expected)
    expected = 0.5 * density_ratio_generator_loss(fake.ratios)
    torch.testing.assert_close(objective.generator(fake, told.labels)["ratio"], expected)


def test_a_verdict_on_two_batches_falls_into_its_halves() -> None:
    first, second = verdict(1), verdict(2)
    pairs = zip(first._replace(proxies=None), second._replace(proxies=None), strict=True)
    both = Verdict(*(None if a is None else torch.cat([a, b]) for a, b in pairs))._replace(proxies=first.proxies)
    for half, expected in zip(halves(both), (first, second._replace(proxies=first.proxies)), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(half, expected, strict=True))
    bare = halves(Verdict(both.scores))
    assert bare[1] == (bare[1].scores, None, None, None, None, None)


def test_unfit_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="loss must be one of hinge, non_saturating, got 'wgan'"):
        Objective(CLASSES, "wgan")
    with pytest.raises(ConfigError, match="density_ratio_weight must be at least 0, got -1"):
        Objective(SCALAR, density_ratio_weight=-1)
