from __future__ import annotations

import math

import numpy as np
import pytest

from data.rendering.raster import face_numbers, rasterise
from data.rendering.scene import AMBIENT, DIFFUSE, LIGHT, SAMPLES, SKY, Scene, make_scene, render_scene, visible_faces
from data.rendering.solids import box, join

BOXES = [((0.0, 0.4, 0.0), (0.9, 0.3, 0.5)), ((0.15, 0.45, 0.12), (0.3, 0.9, 0.7))]


def two_boxes() -> Scene:
    return make_scene(join([box(center, size, (0.7, 0.3, 0.2)) for center, size in BOXES]))


def ray(scene: Scene, yaw: float, row: int, column: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    # Origin and direction in the object's own coordinates, built from the camera's definition with plain trigonometry.
    camera = scene.camera
    tilt, turn = math.radians(camera.elevation), math.radians(yaw)
    ahead = np.array([0, -math.sin(tilt), -math.cos(tilt)])
    upward = np.array([0, math.cos(tilt), -math.sin(tilt)])
    origin = np.array([0, camera.target, 0]) - camera.distance * ahead
    right = ((column + 0.5) / size - 0.5) / camera.focal
    rise = (camera.horizon - (row + 0.5) / size) / camera.focal
    direction = ahead + right * np.array([1.0, 0, 0]) + rise * upward
    back = np.array([[math.cos(turn), 0, -math.sin(turn)], [0, 1, 0], [math.sin(turn), 0, math.cos(turn)]])
    return back @ origin, back @ direction


def cast_one(origin: np.ndarray, direction: np.ndarray, normals: np.ndarray) -> int:
    # Slab method box by box: the entry is the last of the near planes, if it comes before the first of the far ones.
    best, shown = math.inf, 0
    for number, (center, size) in enumerate(BOXES):
        enter, leave, face = -math.inf, math.inf, 0
        for axis in range(3):
            planes = [(center[axis] + sign * size[axis] / 2 - origin[axis]) / direction[axis] for sign in (-1, 1)]
            if min(planes) > enter:
                enter = min(planes)
                outward = np.zeros(3)
                outward[axis] = -math.copysign(1, direction[axis])
                face = 6 * number + int(np.argmax(normals[6 * number : 6 * number + 6] @ outward)) + 1
            leave = min(leave, max(planes))
        if enter < leave and enter < best:
            best, shown = enter, face
    return shown


@pytest.mark.parametrize("yaw", [0.0, 33.3, 71.0, 250.0])
def test_hidden_surfaces_agree_with_casting_a_ray_through_every_sample(yaw: float) -> None:
    scene, size = two_boxes(), 48
    shown = visible_faces(scene, np.array([yaw]), size)[0]
    normals = scene.mesh.normals()
    expected = np.array([[cast_one(*ray(scene, yaw, r, c, size), normals) for c in range(size)] for r in range(size)])
    # Corners are snapped to 1/4096 of a sample, so that a sample on an edge may go either way.
    assert (shown != expected).sum() <= 3
    assert len(np.unique(expected)) >= 5


def test_neighbouring_faces_leave_no_crack_and_the_nearer_wins() -> None:
    # Two squares that share an oblique edge, before a third that is farther away and covers the whole frame.
    x = np.array([[[1.3, 5.2, 9.1, 1.3], [5.2, 14.7, 14.7, 9.1], [0, 16, 16, 0]]])
    y = np.array([[[2.2, 2.2, 13.9, 13.9], [2.2, 2.2, 13.9, 13.9], [0, 0, 16, 16]]])
    zero = np.zeros((1, 3))
    keys = rasterise(x, y, (zero, zero, np.array([[0.5, 0.5, 0.25]])), np.ones((1, 3), dtype=bool), 16)
    numbers = face_numbers(keys)[0]
    inside = numbers[2:14, 5:15]
    assert set(np.unique(inside)) == {1, 2}
    assert (numbers[0] == 3).all()


def test_an_invisible_face_and_a_frame_without_faces_show_nothing() -> None:
    square = np.array([[[0.0, 4, 4, 0]]])
    plane = (np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1)))
    assert not rasterise(square, square[..., ::-1], plane, np.zeros((1, 1), dtype=bool), 4).any()


def test_a_pixel_is_the_mean_of_its_lit_samples() -> None:
    scene, yaw = two_boxes(), 40.0
    shown = visible_faces(scene, np.array([yaw]), 32 * SAMPLES)[0]
    image = render_scene(scene, np.array([yaw]), 32)[0]
    sine, cosine = math.sin(math.radians(yaw)), math.cos(math.radians(yaw))
    checked = 0
    for row in range(32):
        for column in range(32):
            block = shown[row * SAMPLES : (row + 1) * SAMPLES, column * SAMPLES : (column + 1) * SAMPLES].ravel()
            if not block.all():
                continue
            mean = np.zeros(3)
            for number in block:
                nx, ny, nz = scene.mesh.normals()[number - 1]
                normal = (nx * cosine + nz * sine, ny, nz * cosine - nx * sine)
                lambert = max(0.0, sum(n * part for n, part in zip(normal, LIGHT, strict=True)))
                mean += scene.mesh.colors[number - 1] * (AMBIENT + SKY * ny + DIFFUSE * lambert) / len(block)
            assert np.abs(image[:, row, column] - 255 * mean).max() <= 0.6
            checked += 1
    assert checked > 100


def test_the_top_is_the_brightest_face() -> None:
    mesh = box((0, 0.5, 0), (1, 1, 1), (1, 1, 1))
    front, top = render_scene(make_scene(mesh), np.array([0.0]), 32)[0, 0, [24, 7], 16]
    assert top > front


def test_the_same_image_whatever_the_batch() -> None:
    scene = two_boxes()
    yaws = np.linspace(0, 360, 37)
    together = render_scene(scene, yaws, 32)
    alone = np.concatenate([render_scene(scene, yaws[k : k + 1], 32) for k in range(len(yaws))])
    assert np.array_equal(together, alone)
    assert np.array_equal(render_scene(scene, yaws[::-1], 32)[::-1], together)


def test_no_yaws_give_no_images() -> None:
    assert render_scene(two_boxes(), np.empty(0), 32).shape == (0, 3, 32, 32)
