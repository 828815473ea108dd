"""What the filter keeps of each part of the labels, against loops, and what is said where that is too little."""

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from flows.coverage import axis_shares, coverage_sentence, kept_shares, lost_coverage

CLASSES = LabelSpace("class", ("a", "b", "c"))
ANGLE = LabelSpace("scalar", name="yaw", unit="degree", minimum=0, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "", -10.0, 10.0)))
MODELS = LabelSpace("class+scalar", ("a", "b", "c"), "yaw", "degree", maximum=90)


def test_shares_of_groups_equal_a_loop():
    groups = np.array([0, 0, 2, 2, 2, 3])
    rows = kept_shares(groups, ["a", "b", "c", "d"], np.array([0, 2, 3]))
    assert rows == [
        {"label": "a", "candidates": 2, "kept": 1, "share": 0.5},
        {"label": "c", "candidates": 3, "kept": 2, "share": 2 / 3},
        {"label": "d", "candidates": 1, "kept": 0, "share": 0.0},
    ]


@pytest.mark.parametrize("space", [POSE, MODELS], ids=lambda space: space.kind)
def test_shares_of_axes_equal_a_loop(space):
    rng = np.random.default_rng(1)
    labels = np.stack([rng.integers(0, 3, 60), rng.uniform(0, 10, 60)], axis=1).astype(np.float32)
    kept = np.flatnonzero(rng.random(60) < 0.5)
    rows = {(row["axis"], row["label"]): (row["candidates"], row["kept"]) for row in axis_shares(labels, kept, space)}
    expected = {}
    for place, axis in enumerate(space.dimensions):
        step = (axis.maximum - axis.minimum) / 18
        for row in range(60):
            number = min(int((labels[row, place + space.has_classes] - axis.minimum) // step), 17)
            low = axis.minimum + number * step
            key = axis.name, f"{low:g} to {low + step:g} {axis.unit}".strip()
            total, count = expected.get(key, (0, 0))
            expected[key] = total + 1, count + (row in kept)
    assert rows == expected
    assert sum(total for total, _ in rows.values()) == 60 * len(space.dimensions)
    assert axis_shares(np.array([0, 1]), np.array([0]), CLASSES) == []


def row(label, candidates, kept):
    return {"label": label, "candidates": candidates, "kept": kept, "share": kept / candidates}


def test_coverage_is_lost_below_half_of_the_overall_share_or_with_nothing_kept():
    rows = [row("fine", 100, 36), row("half", 100, 35), row("few", 100, 34), row("tiny", 9, 1), row("none", 2, 0)]
    assert [lost["label"] for lost in lost_coverage(rows, 0.7)] == ["none", "few"]
    assert lost_coverage(rows[:2], 0.7) == []


def test_the_worst_are_named_with_numbers_and_a_remedy():
    rows = [row("80 to 85 degree", 50, 3), row("85 to 90 degree", 50, 0) | {"axis": "yaw"}]
    lost = lost_coverage(rows, 0.7)
    assert coverage_sentence(lost, 0.7, "global", ANGLE) == (
        "the teacher's filter keeps 70 % of all candidates but only 0 of 50 of yaw 85 to 90 degree, 3 of 50 of "
        "80 to 85 degree; set synthetic.scope to per_window, or raise synthetic.quantile."
    )
    assert coverage_sentence(lost, 0.7, "per_window", ANGLE).endswith("; raise synthetic.quantile.")
    assert "per_class" in coverage_sentence(lost, 0.7, "global", CLASSES)
    assert "per_window" in coverage_sentence(lost, 0.7, "per_class", MODELS)
    many = lost_coverage([row(str(k), 20, k // 3) for k in range(9)], 0.7)
    assert "0 of 20 of 0, 0 of 20 of 1, 0 of 20 of 2 and less than half of its share of 6 more;" in coverage_sentence(
        many, 0.7, "global", ANGLE
    )
    assert coverage_sentence([], 0.7, "global", ANGLE) == ""
