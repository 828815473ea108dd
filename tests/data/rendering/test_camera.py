from __future__ import annotations

import math

import numpy as np
import pytest

from data.rendering.camera import Camera, fit, turn


def test_projection_of_a_point_computed_by_hand() -> None:
    # Elevation 30 degrees, 4 m away from a target 1 m high; the point lies on the ground, 1 m right, 2 m in front.
    # v = (0 - 1) cos 30 - 2 sin 30 = -1.8660254; depth = 4 + 1 sin 30 - 2 cos 30 = 2.7679492.
    camera = Camera(target=1.0, distance=4.0, focal=0.8, horizon=0.45, elevation=30.0)
    u, v, depth = camera.view(np.array([1.0]), np.array([0.0]), np.array([2.0]))
    assert (u[0], v[0], depth[0]) == pytest.approx((1.0, -1.8660254, 2.7679492))
    x, y = camera.project(u, v, depth, 100)
    assert x[0] == pytest.approx(100 * (0.5 + 0.8 / 2.7679492))
    assert y[0] == pytest.approx(100 * (0.45 + 0.8 * 1.8660254 / 2.7679492))


def test_the_front_faces_the_camera_at_0_and_the_right_at_90_degrees() -> None:
    x, z = turn(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    assert x.tolist() == [0.0, 1.0]
    assert z.tolist() == [1.0, 0.0]


def test_directions_are_differences_of_points() -> None:
    camera = Camera(0.3, 2.0, 1.0, 0.5)
    first, last = np.array([0.1, 0.2, 0.3]), np.array([-0.4, 0.5, 0.9])
    expected = np.array(camera.view(*last)) - np.array(camera.view(*first))
    assert np.allclose(camera.view_direction(*(last - first)), expected)


def test_ground_points_project_back_to_their_pixels() -> None:
    camera = Camera(0.5, 3.0, 1.2, 0.48)
    x, z = camera.ground(8)
    across, down = camera.project(*camera.view(x, np.zeros_like(x), z), 8)
    rows, columns = np.divmod(np.arange(64), 8)
    assert np.allclose(across, columns + 0.5)
    assert np.allclose(down, rows + 0.5)


def test_fit_fills_the_frame_and_never_leaves_it() -> None:
    points = np.array([[x, y, z] for x in (-0.3, 0.3) for y in (0, 0.9) for z in (-0.2, 0.4)])
    camera = fit(points)
    extremes = []
    for degrees in range(360):
        yaw = math.radians(degrees)
        x, z = turn(points[:, 0], points[:, 2], np.array(math.sin(yaw)), np.array(math.cos(yaw)))
        across, down = camera.project(*camera.view(x, points[:, 1], z), 1)
        extremes.append((across.min(), across.max(), down.min(), down.max()))
    lowest, highest = np.min(extremes), np.max(extremes)
    assert 0.0 < lowest < 0.05
    assert 0.95 < highest < 1.0
