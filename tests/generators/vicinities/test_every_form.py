"""Every form on every kind of label, against explicit loops over all labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from data.labels import Axis, LabelSpace
from generators.vicinities import Form, VicinityDraw, make_vicinity
from generators.vicinities.forms import FORMS

LEAST_WEIGHT, LEAST_KAPPA = 1e-3, 1e-6
REACH = {"hard": 1.0, "hybrid": 1.0, "soft": math.sqrt(-math.log(LEAST_WEIGHT))}
FLOAT32 = 3e-7

SCALAR = LabelSpace("scalar", name="steering angle", unit="degree", minimum=-80, maximum=80)
MIXED = LabelSpace("class+scalar", names=("a", "b", "c", "d"), name="level", minimum=-1, maximum=1)
PAIR = LabelSpace("vector", axes=(Axis("yaw", minimum=-90, maximum=90), Axis("depth", minimum=2, maximum=3)))
TRIPLE = LabelSpace("vector", axes=(Axis("x"), Axis("y", minimum=-1), Axis("z", maximum=9)))


def label_sets() -> dict[str, tuple[LabelSpace, npt.NDArray[np.floating]]]:
    rng = np.random.default_rng(0)
    grid = np.array(list(itertools.product(np.linspace(-90, 90, 6), [2.0, 2.2, 2.7, 3.0])))
    classes = np.r_[np.zeros(20), np.ones(9), np.full(5, 3)]
    levels = np.r_[rng.uniform(-1, 1, 20), np.round(rng.uniform(-1, 1, 9), 1), np.full(5, 0.3)]
    return {
        "scalar, scattered over a negative range": (SCALAR, rng.uniform(-80, 80, 30)),
        # One label holds most images, one stands alone far from all others, two lie beyond the space.
        "scalar, imbalanced with gaps": (SCALAR, np.r_[np.full(20, -79.3), -78.1, -30, -30, 0, 79.9, 85, -91]),
        "class+scalar, one class with one label, one without images": (MIXED, np.column_stack([classes, levels])),
        "vector, a grid with repetitions": (PAIR, grid[rng.integers(len(grid), size=40)]),
        "vector, scattered in three dimensions": (TRIPLE, rng.random((36, 3)) * [1, 2, 9] - [0, 1, 0]),
    }


SETS = label_sets()
KAPPAS: dict[str, float | Sequence[float] | None] = {
    "scalar, scattered over a negative range": None,
    "scalar, imbalanced with gaps": 0.0371,
    "class+scalar, one class with one label, one without images": None,
    "vector, a grid with repetitions": (0.4012, 0.2507),
    "vector, scattered in three dimensions": None,
}
every_form = pytest.mark.parametrize(
    ("name", "form", "images"),
    [(name, form, images) for name in SETS for form in FORMS for images in (None, 1, 7)],
)


def draws(
    name: str, form: Form, images: int | None, count: int, sigma: float | None
) -> tuple[LabelSpace, npt.NDArray[np.float32], VicinityDraw, dict[str, float | list[float]]]:
    space, labels = SETS[name]
    conditions = space.conditions(labels)
    kappa = None if images else KAPPAS[name]
    vicinity = make_vicinity(conditions, space, form=form, images=images, sigma=sigma, kappa=kappa, multiplier=1.7)
    return space, conditions, vicinity.draw(count, np.random.default_rng(1)), vicinity.describe()


def split(space: LabelSpace, condition: npt.NDArray[np.float32]) -> tuple[int, list[float]]:
    """The class and the continuous part of one condition."""
    values = [float(value) for value in np.atleast_1d(condition)]
    return (int(values[0]), values[1:]) if space.kind == "class+scalar" else (0, values)


def naive_kappa(
    space: LabelSpace, conditions: npt.NDArray[np.float32], target: npt.NDArray[np.float32], images: int
) -> list[float]:
    """Takes in one distinct label after the other, the nearest first, until there are images enough."""
    group, values = split(space, target)
    labels = [split(space, condition) for condition in conditions]
    own = [label for owner, label in labels if owner == group]
    scales = [float(np.std([label[i] for label in own])) if space.kind == "vector" else 1.0 for i in range(len(values))]
    counts: dict[float, int] = {}
    for label in own:
        distance = max(abs(a - b) / s for a, b, s in zip(label, values, scales, strict=True))
        counts[distance] = counts.get(distance, 0) + 1
    held = 0
    for distance in sorted(counts):
        held += counts[distance]
        if held >= images:
            break
    return [distance * scale + LEAST_KAPPA for scale in scales]


def weight(
    space: LabelSpace, label: npt.NDArray[np.float32], target: npt.NDArray[np.float32], kappa: list[float]
) -> float:
    differences = [a - b for a, b in zip(split(space, label)[1], split(space, target)[1], strict=True)]
    return math.exp(-sum((d / k) ** 2 for d, k in zip(differences, kappa, strict=True)))


def members(
    space: LabelSpace,
    conditions: npt.NDArray[np.float32],
    target: npt.NDArray[np.float32],
    form: Form,
    kappa: list[float],
    slack: float,
) -> set[int]:
    """Rows in the vicinity, with edges moved outwards by the relative ``slack``."""
    group, values = split(space, target)
    rows = set()
    for row, condition in enumerate(conditions):
        owner, label = split(space, condition)
        if form == "soft":
            near = weight(space, condition, target, [k * (1 + slack) for k in kappa]) >= LEAST_WEIGHT
        else:
            near = all(abs(a - b) <= k * (1 + slack) for a, b, k in zip(label, values, kappa, strict=True))
        if near and owner == group:
            rows.add(row)
    return rows


def as_list(kappa: npt.NDArray[np.floating]) -> list[float]:
    return [float(value) for value in np.atleast_1d(kappa)]


@every_form
def test_rows_are_a_uniform_choice_among_all_labels_in_the_vicinity(name: str, form: Form, images: int | None) -> None:
    # Without noise a target is a label exactly, also in float32.
    space, conditions, drawn, described = draws(name, form, images, 30_000, sigma=0.0)
    distinct, which = np.unique(drawn.targets, axis=0, return_inverse=True)
    # Targets are uniform over the distinct labels.
    np.testing.assert_array_equal(distinct, np.unique(conditions, axis=0))
    assert stats.chisquare(np.bincount(which.reshape(-1))).pvalue > 1e-4
    statistic = degrees = 0.0
    for i, target in enumerate(distinct):
        if images:
            kappa = naive_kappa(space, conditions, target, images)
        else:
            group = split(space, target)[0]
            fixed = np.atleast_1d(described["kappa"])
            kappa = [float(fixed[group])] if space.kind == "class+scalar" else as_list(fixed)
        rows = drawn.rows[which.reshape(-1) == i]
        np.testing.assert_allclose(as_list(drawn.kappas[which.reshape(-1) == i][0]), kappa, rtol=1e-5)
        surely = members(space, conditions, target, form, kappa, -1e-9)
        possibly = members(space, conditions, target, form, kappa, 1e-9)
        assert surely <= set(rows.tolist()) <= possibly
        if images:
            own = sum(split(space, condition)[0] == split(space, target)[0] for condition in conditions)
            assert len(surely) >= min(images, own)
        counts = np.bincount(rows, minlength=len(conditions))[sorted(possibly)]
        statistic += float(((counts - counts.mean()) ** 2 / counts.mean()).sum()) if surely == possibly else 0.0
        degrees += len(counts) - 1 if surely == possibly else 0
    assert degrees == 0 or stats.chi2.sf(statistic, degrees) > 1e-4


@every_form
def test_noisy_draws_equal_a_scan_of_all_labels(name: str, form: Form, images: int | None) -> None:
    space, conditions, drawn, _ = draws(name, form, images, 300, sigma=None)
    for i in range(300):
        target, kappa = drawn.targets[i], as_list(drawn.kappas[i])
        if images:
            np.testing.assert_allclose(kappa, naive_kappa(space, conditions, target, images), atol=FLOAT32)
        slack = FLOAT32 / min(kappa)
        assert drawn.rows[i] in members(space, conditions, target, form, kappa, slack)
        assert split(space, drawn.fake_labels[i])[0] == split(space, target)[0]
        if form == "hard":
            continue
        assert drawn.real_weights is not None
        assert drawn.fake_weights is not None
        tolerance = {"rel": 20 * slack, "abs": 1e-7}
        assert drawn.real_weights[i] == pytest.approx(
            weight(space, conditions[drawn.rows[i]], target, kappa), **tolerance
        )
        assert drawn.fake_weights[i] == pytest.approx(weight(space, drawn.fake_labels[i], target, kappa), **tolerance)
    if form == "hard":
        assert drawn.real_weights is None
        assert drawn.fake_weights is None


@every_form
def test_fake_labels_are_uniform_in_the_clipped_vicinity(name: str, form: Form, images: int | None) -> None:
    space, conditions, drawn, _ = draws(name, form, images, 4000, sigma=0.01)
    points = conditions.reshape(len(conditions), -1)[:, int(space.has_classes) :]
    targets = drawn.targets.reshape(4000, -1)[:, int(space.has_classes) :].astype(np.float64)
    fakes = drawn.fake_labels.reshape(4000, -1)[:, int(space.has_classes) :]
    half = REACH[form] * drawn.kappas.reshape(4000, -1).astype(np.float64)
    low = np.maximum(targets - half, np.minimum(points.min(axis=0), 0))
    high = np.minimum(targets + half, np.maximum(points.max(axis=0), 1))
    assert (low <= high + FLOAT32).all()
    wide = (high - low > 1e3 * FLOAT32).all(axis=1)
    position = ((fakes - low) / (high - low))[wide]
    assert position.min() > -1e-3
    assert position.max() < 1 + 1e-3
    for column in position.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("name", SETS)
def test_a_hopeless_target_moves_to_the_nearest_label(name: str) -> None:
    # Noise so large and vicinities so small that every target is empty, even when redrawn.
    space, labels = SETS[name]
    conditions = space.conditions(labels)
    drawn = make_vicinity(conditions, space, sigma=1e4, kappa=1e-7).draw(200, np.random.default_rng(5))
    np.testing.assert_array_equal(drawn.targets, conditions[drawn.rows])
    if space.kind == "scalar":
        assert set(drawn.rows.tolist()) == {int(labels.argmin()), int(labels.argmax())}
    assert drawn.real_weights is not None
    np.testing.assert_array_equal(drawn.real_weights, 1.0)


@every_form
def test_a_draw_is_a_function_of_its_generator(name: str, form: Form, images: int | None) -> None:
    first, second = (draws(name, form, images, 40, sigma=None)[2] for _ in range(2))
    for key, value in vars(first).items():
        np.testing.assert_array_equal(value, getattr(second, key))


@pytest.mark.parametrize("name", SETS)
def test_arrays_have_the_shapes_and_types_of_conditions(name: str) -> None:
    space, conditions, drawn, _ = draws(name, "soft", None, 12, sigma=None)
    assert conditions.shape[1:] == space.label_shape
    for array in (drawn.targets, drawn.fake_labels):
        assert array.dtype == np.float32
        assert array.shape == (12, *space.label_shape)
    assert drawn.rows.dtype == np.int64
    assert drawn.kappas.dtype == np.float32
    assert drawn.kappas.shape == ((12, len(space.dimensions)) if space.kind == "vector" else (12,))
    assert make_vicinity(conditions, space).targets(5, np.random.default_rng(0)).shape == (5, *space.label_shape)
