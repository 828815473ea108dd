from __future__ import annotations

import numpy as np
import pytest

from data.rendering.camera import Camera
from data.rendering.shadow import Shadow, cast
from data.rendering.solids import box

GREY = (0.5, 0.5, 0.5)


def test_the_ground_is_darker_the_nearer_something_is() -> None:
    middles = [cast(box((0, height + 0.05, 0), (0.6, 0.1, 0.6), GREY)).darkness[32, 32] for height in (0, 0.22, 0.66)]
    # exp(-height / 0.22 m) of what a contact does, away from the blurred rim.
    assert middles[0] == pytest.approx(0.55)
    assert middles[1] == pytest.approx(0.55 / np.e, rel=1e-6)
    assert middles[2] == pytest.approx(0.55 / np.e**3, rel=1e-6)


def test_the_shadow_covers_the_footprint_and_ends_before_the_rim() -> None:
    shadow = cast(box((0.1, 0.05, 0), (0.4, 0.1, 0.2), GREY))
    cell = 2 * shadow.half_width / 64
    assert shadow.half_width == pytest.approx(0.45)
    # A blur moves darkness about and keeps its sum.
    assert shadow.darkness.sum() * cell**2 == pytest.approx(0.55 * 0.4 * 0.2, rel=0.08)
    column = (np.arange(64) + 0.5) * cell - shadow.half_width
    assert (shadow.darkness.sum(axis=0) * column).sum() / shadow.darkness.sum() == pytest.approx(0.1, abs=cell)
    assert not shadow.darkness[[0, -1]].any()
    assert not shadow.darkness[:, [0, -1]].any()


def test_sampling_interpolates_at_the_turned_ground_points() -> None:
    # A darkness that is linear in x and z is met exactly by bilinear interpolation inside the map.
    shadow_cells = (np.arange(64) + 0.5) / 64 * 20 - 10
    linear = Shadow(0.02 * shadow_cells[None, :] + 0.03 * shadow_cells[:, None] + 0.5, 10.0)
    camera = Camera(0.5, 3.0, 0.9, 0.5, elevation=60.0)
    yaw = np.radians(25.0)
    x, z = camera.ground(4)
    # Back from the turned ground to the object: rotation by -yaw.
    own_x, own_z = x * np.cos(yaw) - z * np.sin(yaw), z * np.cos(yaw) + x * np.sin(yaw)
    expected = 0.02 * own_x + 0.03 * own_z + 0.5
    sampled = linear.sample(camera, np.array([[np.sin(yaw)]]), np.array([[np.cos(yaw)]]), 4)
    assert np.allclose(sampled[0], expected)
