from __future__ import annotations

import hashlib

import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.sources.chairs import Chairs, render


def test_rows_are_types_times_angles_as_in_rc49() -> None:
    source = Chairs()
    labels, pool = source.labels(), source.pool()
    assert len(labels) == len(pool) == 49 * 899 == 44_051
    assert labels.dtype == np.float32
    assert np.array_equal(labels[:899], (np.arange(1, 900) / 10).astype(np.float32))
    assert np.array_equal(labels.reshape(49, 899), np.tile(labels[:899], (49, 1)))
    tenths = np.round(labels.astype(np.float64) * 10).astype(int)
    assert np.array_equal(pool, np.where(tenths % 2 == 1, 1, 2))
    assert (pool == 1).sum() == 49 * 450


@pytest.mark.parametrize(
    ("step", "angles"),
    [
        (30.0, [30.0, 60.0]),
        (22.5, [22.5, 45.0, 67.5]),
        (40.0, [40.0, 80.0]),
        (0.3, [round(0.3 * k, 9) for k in range(1, 300)]),
    ],
)
def test_angles_are_the_multiples_of_the_step_inside_the_range(step: float, angles: list[float]) -> None:
    assert Chairs(angle_step=step).angles().tolist() == angles


def test_images_do_not_depend_on_the_batch_or_its_order() -> None:
    source = Chairs(types=5)
    rows = np.array([4000, 3, 900, 3, 1800, 899, 898, *range(100, 140)])
    images = source.images(rows)
    assert images.shape == (len(rows), 3, 32, 32)
    assert images.dtype == np.uint8
    for row, image in zip(rows.tolist(), images, strict=True):
        assert np.array_equal(image, source.images(np.array([row]))[0])
        assert np.array_equal(image, render(row // 899, float(source.angles()[row % 899]), 32))
    assert source.images(np.array([], dtype=np.int64)).shape == (0, 3, 32, 32)


def test_more_types_leave_the_first_ones_as_they_are() -> None:
    assert np.array_equal(render(2, 10.0, 32, types=3), render(2, 10.0, 32, types=60))
    assert not np.array_equal(render(2, 10.0, 32, seed=0), render(2, 10.0, 32, seed=1))


def test_bytes_stay_the_same_across_releases() -> None:
    # Raise RENDERER_VERSION with this number: stored sets are told apart by it.
    digest = hashlib.sha256(Chairs().images(np.arange(0, 44_051, 901)).tobytes()).hexdigest()
    assert digest == "6edc630021a5a78c9c311e41ac9b9e931630d572e4f57a2e09d1faab1f738603"


@pytest.mark.parametrize("size", [32, 64])
def test_all_types_are_told_apart_and_fill_the_frame(size: int) -> None:
    images = np.stack([render(number, 35.0, size) for number in range(49)]).astype(int)
    distance = np.abs(images[:, None] - images[None]).mean(axis=(2, 3, 4)) + 255 * np.eye(49)
    assert distance.min() > 8
    drawn = images.min(axis=1) < 215
    tall, wide = drawn.any(axis=2).sum(axis=1), drawn.any(axis=1).sum(axis=1)
    assert (np.maximum(tall, wide) >= 0.85 * size).all()
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.min() > 220


def test_the_difference_grows_with_the_difference_of_angles() -> None:
    for number in range(49):
        start = render(number, 40.0, 32).astype(int)
        distances = [np.abs(render(number, 40.0 + d, 32).astype(int) - start).mean() for d in (0.1, 0.5, 2, 8, 30)]
        assert 0 < distances[0] < 1
        assert distances == sorted(distances)


def test_front_and_side_differ_for_every_type() -> None:
    for number in range(49):
        front, side = render(number, 0.0, 32).astype(int), render(number, 90.0, 32).astype(int)
        assert np.abs(front - side).mean() > 10


def test_options_out_of_range_are_named() -> None:
    for options, message in [
        ({"types": 0}, "types must be at least 1, got 0"),
        ({"image_size": 48}, "image_size must be 32 or 64 pixels, got 48"),
        ({"angle_step": 0.0}, "angle_step must lie between 0 and 45 degrees, got 0.0"),
        ({"angle_step": 45.0}, "angle_step must lie between 0 and 45 degrees, got 45.0"),
        ({"angle_step": float("nan")}, "got nan"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"label": "model"}, "label must be one of yaw, yaw.elevation, model.yaw, got 'model'"),
        ({"label": "model+yaw", "types": 1}, "types must be at least 2 for labels with a model, got 1"),
        ({"elevation_step": 0.0}, "elevation_step must be above 0 and at most 50 degrees, got 0.0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Chairs(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"type_index must lie in 0..48, got 49"):
        render(49, 0.0, 32)
    with pytest.raises(ConfigError, match="yaw_degrees must be finite, got inf"):
        render(0, float("inf"), 32)
    with pytest.raises(ConfigError, match=r"elevation_degrees must lie between 5 and 55, got 60.0"):
        render(0, 0.0, 32, elevation_degrees=60.0)
    with pytest.raises(DataError, match=r"chairs: rows must lie in 0..44050, got 44051..44051"):
        Chairs().images(np.array([44_051]))


def test_yaw_is_what_it_was_before_there_were_other_labels() -> None:
    source = Chairs(types=3, angle_step=5.0)
    assert source.identity() == {
        "name": "chairs", "renderer_version": 1, "types": 3, "image_size": 32, "angle_step": 5.0, "seed": 0,
    }  # fmt: skip
    assert Chairs(types=3, angle_step=5.0, elevation_step=9.0).identity() == source.identity()
    assert source.labels().shape == (51,)
    assert np.array_equal(render(1, 30.0, 32), render(1, 30.0, 32, elevation_degrees=24.0))


def test_a_pose_has_a_yaw_and_an_elevation() -> None:
    source = Chairs(types=3, angle_step=10.0, label="yaw+elevation", elevation_step=12.5)
    space, labels, pool = source.label_space, source.labels(), source.pool()
    assert source.elevations().tolist() == [5.0, 17.5, 30.0, 42.5, 55.0]
    assert space.kind == "vector"
    assert [(axis.name, axis.unit, axis.minimum, axis.maximum) for axis in space.axes] == [
        ("yaw angle", "degree", 0.0, 90.0),
        ("camera elevation", "degree", 5.0, 55.0),
    ]
    space.check(labels, "chairs")
    assert labels.dtype == np.float32
    expected = [
        [10.0 * (place + 1), elevation]
        for _ in range(3)
        for elevation in (5.0, 17.5, 30.0, 42.5, 55.0)
        for place in range(8)
    ]
    assert labels.tolist() == expected
    # What is tested is never trained on, but its four neighbours are.
    train = {tuple(label) for label in labels[pool == 1].tolist()}
    test = {tuple(label) for label in labels[pool == 2].tolist()}
    assert (len(train), len(test), len(train & test)) == (20, 20, 0)
    for yaw, elevation in test:
        near = [(yaw + 10, elevation), (yaw - 10, elevation), (yaw, elevation + 12.5), (yaw, elevation - 12.5)]
        inside = [(a, b) for a, b in near if 10 <= a <= 80 and 5 <= b <= 55]
        assert len(inside) >= 2
        assert train.issuperset(inside)


def test_a_row_of_poses_shows_what_its_label_says() -> None:
    source = Chairs(types=3, angle_step=10.0, label="yaw+elevation", elevation_step=12.5)
    rows = np.array([119, 0, 8, 41, 40, 85, 7, 41])
    images = source.images(rows)
    for row, image, (yaw, elevation) in zip(rows.tolist(), images, source.labels()[rows].tolist(), strict=True):
        assert np.array_equal(image, render(row // 40, yaw, 32, elevation_degrees=elevation))


def test_the_difference_grows_with_the_difference_of_elevations() -> None:
    for number in range(0, 49, 6):
        start = render(number, 40.0, 32, elevation_degrees=5.0).astype(int)
        views = [render(number, 40.0, 32, elevation_degrees=5.0 + d).astype(int) for d in (0.5, 2.5, 10, 25, 50)]
        distances = [np.abs(view - start).mean() for view in views]
        assert 0 < distances[0] < 4
        assert distances == sorted(distances)
        assert distances[-1] > 10
        drawn = np.stack([start, *views]).min(axis=1) < 215
        tall, wide = drawn.any(axis=2).sum(axis=1), drawn.any(axis=1).sum(axis=1)
        assert (np.maximum(tall, wide) >= 24).all()


def test_a_model_with_its_yaw_is_a_class_with_a_scalar() -> None:
    source, plain = Chairs(types=5, angle_step=30.0, label="model+yaw"), Chairs(types=5, angle_step=30.0)
    space, labels = source.label_space, source.labels()
    assert (space.kind, space.names) == ("class+scalar", tuple(f"chair {number}" for number in range(5)))
    space.check(labels, "chairs")
    assert labels.dtype == np.float32
    assert labels.tolist() == [[number, yaw] for number in range(5) for yaw in (30.0, 60.0)]
    assert space.describe(labels[3]) == "chair 1, 60 degree"
    assert np.array_equal(source.pool(), plain.pool())
    assert np.array_equal(source.images(np.arange(10)), plain.images(np.arange(10)))


def test_labels_of_other_kinds_are_told_apart() -> None:
    options = [{}, {"label": "model+yaw"}, {"label": "yaw+elevation"}, {"label": "yaw+elevation", "elevation_step": 5}]
    identities = [Chairs(**each).identity() for each in options]  # type: ignore[arg-type]
    assert all(one != other for place, one in enumerate(identities) for other in identities[:place])


def test_identity_holds_every_option() -> None:
    base = Chairs().identity()
    others = [Chairs(types=50), Chairs(image_size=64), Chairs(angle_step=0.2), Chairs(seed=1)]
    assert all(base != other.identity() for other in others)
    assert base["renderer_version"] == 1
    assert Chairs().label_space.to_dict() == {
        "kind": "scalar",
        "name": "yaw angle",
        "unit": "degree",
        "minimum": 0.0,
        "maximum": 90.0,
    }
