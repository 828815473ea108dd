"""From a mesh and yaw angles to images: Lambert light, a soft shadow on a plain ground, super-sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.rendering.camera import Camera, fit, turn
from data.rendering.raster import face_numbers, rasterise
from data.rendering.shadow import Shadow, cast
from data.rendering.solids import Mesh

Array = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]
Faces = npt.NDArray[np.int64]

SAMPLES = 4  # a side of a pixel
_FRAMES_AT_ONCE = {32: 16, 64: 4}  # keeps the buffers within a core's cache
BACKGROUND = 0.975
AMBIENT, SKY, DIFFUSE = 0.40, 0.14, 0.56
LIGHT = tuple(part / math.sqrt(0.55**2 + 0.75**2 + 0.65**2) for part in (-0.55, 0.75, 0.65))
_LEVELS = 255 * 16  # brightness steps inside; 16 samples of this many still fit 16 bits
_FIELD = np.uint64(0xFFFF)


@dataclass(frozen=True)
class Scene:
    """What of an object does not depend on the yaw."""

    mesh: Mesh
    normals: Array
    camera: Camera
    shadow: Shadow


def make_scene(mesh: Mesh) -> Scene:
    """A scene of one object on the ground, seen as large as the frame allows at every yaw."""
    return Scene(mesh, mesh.normals(), fit(mesh.quads.reshape(-1, 3)), cast(mesh))


def render_scene(scene: Scene, yaws: Array, image_size: int) -> npt.NDArray[np.uint8]:
    """Images of a scene.

    Args:
        scene: the object.
        yaws: angles in degrees, shape (n,).
        image_size: pixels a side.

    Returns:
        RGB images, uint8, shape (n, 3, image_size, image_size); each depends on its own yaw only.
    """
    images = np.empty((len(yaws), 3, image_size, image_size), dtype=np.uint8)
    step = _FRAMES_AT_ONCE.get(image_size, 4)
    for start in range(0, len(yaws), step):
        images[start : start + step] = _render(scene, yaws[start : start + step], image_size)
    return images


def visible_faces(scene: Scene, yaws: Array, size: int) -> Faces:
    """What each sample of a frame shows, one sample in the middle of each of ``size`` x ``size`` squares.

    Args:
        scene: the object.
        yaws: angles in degrees, shape (n,).
        size: samples a side.

    Returns:
        0 for nothing, otherwise the index of the face + 1, int64, shape (n, size, size).
    """
    camera, (sine, cosine) = scene.camera, _sine_cosine(yaws)
    corner_x, corner_y, corner_z = np.moveaxis(scene.mesh.quads, 2, 0)
    turned_x, turned_z = turn(corner_x, corner_z, sine[:, :, None], cosine[:, :, None])
    u, v, depth = camera.view(turned_x, corner_y, turned_z)
    x, y = camera.project(u, v, depth, size)

    normal_x, normal_z = turn(scene.normals[:, 0], scene.normals[:, 2], sine, cosine)
    nu, nv, nd = camera.view_direction(normal_x, scene.normals[:, 1], normal_z)
    # A plane nu u + nv v + nd depth = offset gives 1 / depth as a linear function of the place on the screen.
    offset = nu * u[:, :, 0] + nv * v[:, :, 0] + nd * depth[:, :, 0]
    visible = offset < -1e-9
    scale = 1.0 / np.where(visible, offset, -1.0)
    p = nu * scale / (camera.focal * size)
    q = -nv * scale / (camera.focal * size)
    r = (nd - nu * (0.5 / camera.focal) + nv * (camera.horizon / camera.focal)) * scale
    return face_numbers(rasterise(x, y, (p, q, r), visible, size))


def _sine_cosine(yaws: Array) -> tuple[Array, Array]:
    # The C library's functions, one angle at a time: vectorised ones may round by the length of the array.
    radians = [math.radians(yaw) for yaw in yaws.tolist()]
    return np.array([[math.sin(yaw)] for yaw in radians]), np.array([[math.cos(yaw)] for yaw in radians])


def _lit_colors(scene: Scene, sine: Array, cosine: Array) -> Array:
    """Colours of the faces under the fixed light, float64 in [0, 1], shape (n, F, 3)."""
    normal_x, normal_z = turn(scene.normals[:, 0], scene.normals[:, 2], sine, cosine)
    normal_y = scene.normals[:, 1]
    lambert = np.maximum(normal_x * LIGHT[0] + normal_y * LIGHT[1] + normal_z * LIGHT[2], 0.0)
    light = AMBIENT + SKY * normal_y + DIFFUSE * lambert
    return np.minimum(light[:, :, None] * scene.mesh.colors, 1.0)


def _render(scene: Scene, yaws: Array, image_size: int) -> npt.NDArray[np.uint8]:
    shown = visible_faces(scene, yaws, image_size * SAMPLES)
    sine, cosine = _sine_cosine(yaws)
    palette = _pack(_lit_colors(scene, sine, cosine))
    sums = _box_sum(np.take_along_axis(palette, shown.reshape(len(yaws), -1), axis=1).reshape(shown.shape))
    ground = 1.0 - scene.shadow.sample(scene.camera, sine, cosine, image_size)
    empty = (sums >> np.uint64(48)).astype(np.int64)
    behind = np.round(ground * (BACKGROUND * _LEVELS)).astype(np.int64).reshape(empty.shape)
    channels = []
    for channel in range(3):
        covered = ((sums >> np.uint64(16 * channel)) & _FIELD).astype(np.int64)
        channels.append((covered + empty * behind + 8 * SAMPLES**2) // (16 * SAMPLES**2))
    return np.stack(channels, axis=1).astype(np.uint8)


def _pack(colors: Array) -> Words:
    """Colours of the faces as words of four 16-bit fields (R, G, B, empty); word 0 is the empty sample."""
    levels = np.round(colors * _LEVELS).astype(np.uint64)
    words = levels[..., 0] | (levels[..., 1] << np.uint64(16)) | (levels[..., 2] << np.uint64(32))
    nothing = np.full((len(words), 1), np.uint64(1) << np.uint64(48))
    return np.concatenate([nothing, words], axis=1)


def _box_sum(words: Words) -> Words:
    """Sums the samples of each pixel, all four fields at once."""
    lines = sum((words[:, k::SAMPLES] for k in range(1, SAMPLES)), words[:, ::SAMPLES])
    return sum((lines[:, :, k::SAMPLES] for k in range(1, SAMPLES)), lines[:, :, ::SAMPLES])
