"""Every head against its formula, for every kind of label that it fits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from data.errors import ConfigError
from generators.conditions import LabelInput
from generators.heads import Head
from generators.networks import Heads

CLASSES, SCALAR, VECTOR, BOTH = LabelInput(3, 0), LabelInput(0, 1), LabelInput(0, 2), LabelInput(3, 1)
CONDITIONS = {
    CLASSES: torch.tensor([2, 0, 1]),
    SCALAR: torch.tensor([[0.2], [1.0], [0.5]]),
    VECTOR: torch.tensor([[0.2, 0.4], [1.0, 0.0], [0.5, 0.1]]),
    BOTH: (torch.tensor([2, 0, 1]), torch.tensor([[0.2], [1.0], [0.5]])),
}
FEATURES = 6


def made(inputs: LabelInput, heads: Heads, **settings: bool) -> tuple[Head, torch.Tensor]:
    torch.manual_seed(0)
    return Head(FEATURES, inputs, heads, **settings).eval(), torch.randn(3, FEATURES)


def plain_scores(head: Head, features: torch.Tensor) -> torch.Tensor:
    return features @ head.score.weight[0] + head.score.bias


@pytest.mark.parametrize("inputs", CONDITIONS)
def test_projection_adds_the_inner_product_of_features_and_label(inputs: LabelInput) -> None:
    head, features = made(inputs, Heads())
    expected = []
    for row in range(3):
        score = features[row] @ head.score.weight[0] + head.score.bias[0]
        if inputs is CLASSES:
            vector = head.projection.weight[CONDITIONS[inputs][row]]
        elif inputs is BOTH:
            classes, values = CONDITIONS[inputs]
            vector = head.projection.table.weight[classes[row]] + head.projection.linear.weight @ values[row]
        else:
            vector = head.projection.weight @ CONDITIONS[inputs][row]
        expected.append(score + features[row] @ vector)
    verdict = head(features, CONDITIONS[inputs])
    torch.testing.assert_close(verdict.scores, torch.stack(expected))
    assert all(answer is None for answer in verdict[1:])


def test_acgan_leaves_the_score_unconditional_and_classifies() -> None:
    head, features = made(CLASSES, Heads("acgan"))
    verdict = head(features, CONDITIONS[CLASSES])
    torch.testing.assert_close(verdict.scores, plain_scores(head, features))
    torch.testing.assert_close(verdict.class_logits, features @ head.classifier.weight.T + head.classifier.bias)
    assert verdict.class_logits.shape == (3, 3)


@pytest.mark.parametrize("conditioning", ["acgan", "reacgan"])
def test_beside_a_class_the_value_alone_is_projected(conditioning: str) -> None:
    head, features = made(BOTH, Heads(conditioning))
    classes, values = CONDITIONS[BOTH]
    scores = head(features, (classes, values)).scores
    expected = plain_scores(head, features) + (features * (values @ head.projection.weight.T)).sum(dim=1)
    torch.testing.assert_close(scores, expected)
    assert torch.equal(scores, head(features, (classes.flip(0), values)).scores)


@pytest.mark.parametrize(("features", "size"), [(6, 6), (600, 512)])
def test_reacgan_gives_unit_vectors_of_images_and_classes(features: int, size: int) -> None:
    torch.manual_seed(0)
    head = Head(features, CLASSES, Heads("reacgan"))
    seen = torch.randn(4, features)
    verdict = head(seen, torch.zeros(4, dtype=torch.int64))
    raw = seen @ head.image_embedding.weight.T
    torch.testing.assert_close(verdict.embeddings, raw / raw.norm(dim=1, keepdim=True))
    torch.testing.assert_close(verdict.proxies, head.proxies.weight / head.proxies.weight.norm(dim=1, keepdim=True))
    assert verdict.embeddings.shape == (4, size)
    assert verdict.proxies.shape == (3, size)
    assert verdict.class_logits is None


@pytest.mark.parametrize(("inputs", "outputs"), [(SCALAR, 1), (VECTOR, 2), (BOTH, 1)])
def test_label_regression_predicts_one_number_a_dimension_and_does_not_see_the_label(
    inputs: LabelInput, outputs: int
) -> None:
    head, features = made(inputs, Heads(label_regression=True))
    first, last = head.regression[0], head.regression[2]
    hidden = (features @ first.weight.T + first.bias).relu()
    predicted = head(features, CONDITIONS[inputs]).predicted_labels
    torch.testing.assert_close(predicted, hidden @ last.weight.T + last.bias)
    assert predicted.shape == (3, outputs)


@pytest.mark.parametrize("inputs", CONDITIONS)
def test_density_ratios_depend_on_image_and_label_are_positive_and_start_near_one(inputs: LabelInput) -> None:
    head, features = made(inputs, Heads(density_ratio=True))
    told = CONDITIONS[inputs]
    ratios = head(features, told).ratios
    assert ratios.shape == (3,)
    assert (ratios > 0).all()
    assert ratios.mean().item() == pytest.approx(1.0, abs=0.5)
    other = tuple(part.flip(0) for part in told) if inputs is BOTH else told.flip(0)
    assert not torch.allclose(ratios, head(features, other).ratios)
    assert not torch.allclose(ratios, head(features.flip(0), told).ratios)
    vector = torch.cat([head.ratio.label(told), features], dim=1)
    for number in (0, 3):
        layer, norm = head.ratio.layers[number : number + 2]
        vector = functional.group_norm(layer(vector), 8, norm.weight, norm.bias).relu()
    torch.testing.assert_close(ratios, functional.softplus(head.ratio.layers[6](vector))[:, 0])


def test_all_heads_together_answer_everything() -> None:
    head, features = made(BOTH, Heads("acgan", label_regression=True, density_ratio=True))
    verdict = head(features, CONDITIONS[BOTH])
    assert [answer is not None for answer in verdict] == [True, True, False, False, True, True]


def test_answers_are_float32_whatever_the_autocast() -> None:
    head, features = made(BOTH, Heads("reacgan", label_regression=True, density_ratio=True))
    plain = head(features, CONDITIONS[BOTH])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = head(features, CONDITIONS[BOTH])
    for first, second in zip(plain, again, strict=True):
        assert first is second is None or torch.equal(first, second)


def test_spectral_norm_is_left_out_where_asked_and_never_in_the_ratio() -> None:
    heads = Heads("acgan", density_ratio=True)
    with_norm, without = (
        {
            name.partition(".")[0]
            for name in made(CLASSES, heads, spectral_norm=on)[0].state_dict()
            if "original" in name
        }
        for on in (True, False)
    )
    assert with_norm == {"score", "classifier"}
    assert not without


@pytest.mark.parametrize(
    ("inputs", "heads", "message"),
    [
        (SCALAR, Heads("acgan"), "conditioning 'acgan' must have labels with classes, got continuous ones; try 'proj"),
        (VECTOR, Heads("reacgan"), "conditioning 'reacgan' must have labels with classes"),
        (CLASSES, Heads(label_regression=True), "label-regression head must have labels with continuous values"),
        (CLASSES, Heads("mgan"), "must be projection, acgan or reacgan, got 'mgan'"),
    ],
)
def test_heads_that_do_not_fit_the_labels_are_refused(inputs: LabelInput, heads: Heads, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Head(FEATURES, inputs, heads)
