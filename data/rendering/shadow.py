"""The soft shadow of an object under an even sky: dark where something is near above the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.rendering.camera import Camera, turn
from data.rendering.raster import nearness, rasterise
from data.rendering.solids import Mesh

Array = npt.NDArray[np.float64]

_CELLS = 64  # a side of the map
_FADING_METRES = 0.22  # something at this height above the ground darkens it by 1 / e of what a contact does
_STRENGTH = 0.55
_BLURS = 3
_TALLEST_METRES = 4.0


@dataclass(frozen=True)
class Shadow:
    """Darkness of the ground around an object.

    Args:
        darkness: float64 in [0, 1], shape (cells, cells), rows along z, columns along x; its rim is 0.
        half_width: distance from the axis to the map's edge, metres.
    """

    darkness: Array
    half_width: float

    def sample(self, camera: Camera, sine: Array, cosine: Array, image_size: int) -> Array:
        """Darkness behind each pixel.

        Args:
            camera: the camera.
            sine: of the yaw, shape (B, 1).
            cosine: of the yaw, shape (B, 1).
            image_size: pixels a side.

        Returns:
            float64 in [0, 1], shape (B, image_size * image_size).
        """
        x, z = turn(*camera.ground(image_size), -sine, cosine)
        scale, last = _CELLS / (2 * self.half_width), _CELLS - 1.001
        column = np.clip((x + self.half_width) * scale - 0.5, 0.0, last)
        row = np.clip((z + self.half_width) * scale - 0.5, 0.0, last)
        left, top = column.astype(np.int64), row.astype(np.int64)
        right_share, lower_share = column - left, row - top
        cell = top * _CELLS + left
        flat = self.darkness.ravel()
        upper = flat[cell] * (1 - right_share) + flat[cell + 1] * right_share
        lower = flat[cell + _CELLS] * (1 - right_share) + flat[cell + _CELLS + 1] * right_share
        darkness: Array = upper * (1 - lower_share) + lower * lower_share
        return darkness


def cast(mesh: Mesh) -> Shadow:
    """The shadow of a mesh that stands on the ground, y = 0."""
    half_width = 1.5 * float(np.abs(mesh.quads[:, :, [0, 2]]).max())
    scale = _CELLS / (2 * half_width)
    x = (mesh.quads[None, :, :, 0] + half_width) * scale
    z = (mesh.quads[None, :, :, 2] + half_width) * scale
    normals = mesh.normals()
    downward = normals[:, 1] < -1e-6
    steep = np.where(downward, normals[:, 1], -1.0)
    # Seen from below, the lowest face is the nearest: its nearness is linear in x and z.
    slope_x, slope_z = normals[:, 0] / steep / scale, normals[:, 2] / steep / scale
    level = mesh.quads[:, 0, 1] + slope_x * x[0, :, 0] + slope_z * z[0, :, 0]
    planes = (
        slope_x[None] / _TALLEST_METRES,
        slope_z[None] / _TALLEST_METRES,
        1.0 - level[None] / _TALLEST_METRES,
    )
    near = nearness(rasterise(x, z, planes, downward[None], _CELLS))[0]
    height = np.maximum(1.0 - near, 0.0) * _TALLEST_METRES
    darkness = np.where(near > 0, np.exp(-height / _FADING_METRES), 0.0) * _STRENGTH
    for _ in range(_BLURS):
        for axis in (0, 1):
            darkness = _blur(darkness, axis)
    darkness[[0, -1], :] = 0.0
    darkness[:, [0, -1]] = 0.0
    return Shadow(darkness, half_width)


def _blur(values: Array, axis: int) -> Array:
    padded = np.pad(values, [(2, 2) if a == axis else (0, 0) for a in (0, 1)])
    length = values.shape[axis]
    parts = [np.take(padded, np.arange(k, k + length), axis=axis) * (w / 16) for k, w in enumerate((1, 4, 6, 4, 1))]
    return parts[0] + parts[1] + parts[2] + parts[3] + parts[4]
