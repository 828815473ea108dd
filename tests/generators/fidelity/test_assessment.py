"""All figures together, for every kind of label."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from generators.fidelity.assessment import (
    Observed,
    assess,
    assess_alone,
    assess_held_out,
    headline,
    observe,
    sentences,
)
from generators.fidelity.extraction import Extracted
from generators.fidelity.joint import paired_distance
from generators.fidelity.kernels import FeatureScale, joint_distance, label_kernel

SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-90, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", -90, 90), Axis("size", "", 1, 3))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=10),
}
NUMBERS = {
    "class": {"accuracy", "intra_class_fid", "inception_score"},
    "scalar": {"label_score", "sliding_fid"},
    "vector": {"label_score (yaw)", "label_score (size)", "sliding_fid (yaw)", "sliding_fid (size)"},
    "class+scalar": {
        "accuracy",
        "intra_class_fid",
        "inception_score",
        "label_score",
        "sliding_fid",
        "class_entropy",
    },
}


def seen(space: LabelSpace, count: int, seed: int, wrong: float = 0.0) -> Observed:
    """Features, and outputs that are right but for noise, of images at random labels."""
    rng = np.random.default_rng(seed)
    axes = space.dimensions
    values = rng.uniform([axis.minimum for axis in axes], [axis.maximum for axis in axes], (count, len(axes)))
    classes = rng.integers(0, max(1, space.classes), count)
    labels = space.join(classes if space.has_classes else None, values if axes else None)
    outputs = np.concatenate(
        [4 * np.eye(space.classes)[classes] if space.has_classes else np.zeros((count, 0)), values + wrong], axis=1
    )
    features = rng.normal(size=(count, 4)) + wrong
    logits = outputs[:, : space.classes] if space.has_classes else None
    return Observed(labels, features.astype(np.float32), outputs.astype(np.float32), logits)


@pytest.mark.parametrize("kind", SPACES)
def test_every_label_space_has_its_figures_and_they_are_json(kind):
    space = SPACES[kind]
    found = assess(seen(space, 400, 0), seen(space, 300, 1), space, windows=4, seed=0)
    json.dumps(found, allow_nan=False)
    assert sentences(found) == []
    numbers = headline(found)
    assert set(numbers) == {"fid", "kid", "precision", "recall", "diversity"} | NUMBERS[kind]
    assert all(value is not None for value in numbers.values())
    assert numbers["fid"] < 0.2
    assert numbers["diversity"] == pytest.approx(1, abs=0.1)
    worse = headline(assess(seen(space, 400, 0, wrong=1.0), seen(space, 300, 1), space, windows=4, seed=0))
    assert worse["fid"] > 2
    if "label_score" in numbers:
        assert numbers["label_score"] == pytest.approx(0, abs=1e-5)
        assert worse["label_score"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", SPACES)
def test_few_images_never_crash_and_say_what_helps(kind):
    space = SPACES[kind]
    found = assess(seen(space, 3, 0), seen(space, 2, 1), space, windows=3, seed=0)
    json.dumps(found, allow_nan=False)
    spoken = sentences(found)
    assert any(sentence.startswith("FID must have") for sentence in spoken)
    assert all("raise" in sentence or "lower" in sentence for sentence in spoken)
    assert headline(found)["kid"] is None
    assert "accuracy" in found or "label_score" in found
    json.dumps(assess_held_out(seen(space, 1, 0), space), allow_nan=False)


def test_same_seed_gives_the_same_numbers():
    space = SPACES["class"]
    pair = seen(space, 300, 0), seen(space, 90, 1)
    assert assess(*pair, space, seed=1) == assess(*pair, space, seed=1)
    assert assess(*pair, space, seed=1)["kid"] != assess(*pair, space, seed=2)["kid"]


def test_held_out_images_have_their_own_scores_and_distances_of_their_halves():
    space = SPACES["class+scalar"]
    held_out = seen(space, 400, 0)
    found = assess_held_out(held_out, space, windows=4, seed=0)
    assert found["generated"] == found["real"] >= 198
    assert abs(found["joint"]["value"]) < 0.05
    alone = assess_alone(held_out, held_out.labels, space, windows=4, seed=0)
    assert {name: found[name] for name in alone} == alone
    assert found["class_entropy"]["value"] == pytest.approx(np.log(2), abs=0.02)
    assert abs(found["kid"]["value"]) < 0.2


def test_joint_figure_is_the_mean_over_sets_with_one_image_a_partner():
    space = SPACES["scalar"]
    real = seen(space, 40, 0)
    rng = np.random.default_rng(1)
    partners = rng.permutation(np.concatenate([np.resize(np.arange(40), 80), np.arange(5)]))
    generated = rng.normal(size=(85, 4))
    scale, weights = FeatureScale.of(real.features), label_kernel(real.labels, space)
    expected = []
    for rank in range(2):
        rows = np.array([np.flatnonzero(partners == row)[rank] for row in range(40)])
        expected.append(joint_distance(scale(generated[rows]), scale(real.features), weights))
    found = paired_distance(generated, real.features, real.labels, partners, space, seed=0)
    assert found == (pytest.approx(np.mean(expected)), pytest.approx(np.std(expected, ddof=1)))


def test_joint_figure_of_labels_that_all_differ_says_what_helps():
    space = SPACES["class"]
    three = Observed(np.arange(3), np.ones((3, 2), np.float32), np.ones((3, 3), np.float32))
    found = assess(three, three, space, partners=np.arange(3))
    assert "2 real images of like label" in found["joint"]["not_computed"]


def test_observing_asks_both_networks_and_takes_logits_from_the_one_that_has_them():
    images = np.zeros((2, 1, 4, 4), np.uint8)
    outputs = np.arange(8, dtype=np.float32).reshape(2, 4)
    for kind, logits, expected in (
        ("class", None, outputs[:, :3]),
        ("class", outputs[:, 1:], outputs[:, 1:]),
        ("class+scalar", None, outputs[:, :2]),
        ("scalar", None, None),
    ):
        extracted = Extracted(np.ones((2, 5), np.float32), logits)
        found = observe(images, np.arange(2), SPACES[kind], lambda rows, e=extracted: e, lambda rows: outputs)
        assert found.features is extracted.features
        assert found.outputs is outputs
        np.testing.assert_array_equal(found.logits, expected)


def test_every_figure_is_explained():
    page = (Path(__file__).parents[3] / "docs" / "fidelity.md").read_text(encoding="utf-8")
    keys = set()
    for space in SPACES.values():
        held_out = seen(space, 60, 0)
        keys |= set(assess(held_out, held_out, space, partners=np.arange(60))) - {"generated", "real"}
    assert len(keys) == 12
    for key in keys | {"memorisation"}:
        assert f"| `{key}` |" in page, key
