"""A fixed pinhole camera before a turntable: the yaw turns the object, the camera never moves.

At yaw 0 degrees the object's front (+z) faces the camera; at 90 degrees it points to the right of the image.
Camera coordinates are (u to the right, v up, depth away from the camera), in metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

ELEVATION_DEGREES = 24.0
_FILLED = 0.94  # share of the frame's side that the object may span


@dataclass(frozen=True)
class Camera:
    """A camera that looks down at a point of the turntable's axis.

    Args:
        target: height of that point, metres.
        distance: from the camera to that point, metres.
        focal: image sides of offset for one unit of u / depth.
        horizon: vertical place of that point in the image, in image sides from the top.
        elevation: angle of view above the ground, degrees.
    """

    target: float
    distance: float
    focal: float
    horizon: float
    elevation: float = ELEVATION_DEGREES

    @property
    def _sine_cosine(self) -> tuple[float, float]:
        return math.sin(math.radians(self.elevation)), math.cos(math.radians(self.elevation))

    def view(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Camera coordinates (u, v, depth) of turned world points."""
        sine, cosine = self._sine_cosine
        y = y - self.target
        return x, y * cosine - z * sine, self.distance - y * sine - z * cosine

    def view_direction(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Camera coordinates of turned world directions."""
        sine, cosine = self._sine_cosine
        return x, y * cosine - z * sine, -(y * sine) - z * cosine

    def project(self, u: Array, v: Array, depth: Array, size: int) -> tuple[Array, Array]:
        """Pixel coordinates, x to the right and y down from the upper left corner of a ``size`` x ``size`` frame."""
        return size * (0.5 + self.focal * (u / depth)), size * (self.horizon - self.focal * (v / depth))

    def ground(self, size: int) -> tuple[Array, Array]:
        """World x and z where the rays of all pixels meet the ground, each of shape (size * size,), row by row."""
        sine, cosine = self._sine_cosine
        across = (np.arange(size) + 0.5) / size
        a, b = (across - 0.5) / self.focal, (self.horizon - across) / self.focal
        # Rays at or above the horizon never meet the ground: they are sent far away, where no shadow lies.
        depth = (self.distance * sine + self.target) / np.maximum(sine - b * cosine, 1e-3)
        z = (self.distance - depth) * cosine - depth * b * sine
        return (depth[:, None] * a[None, :]).ravel(), np.repeat(z, size)


def turn(x: Array, z: Array, sine: Array, cosine: Array) -> tuple[Array, Array]:
    """Turns points about the vertical axis by a yaw whose sine and cosine are given; returns x and z."""
    return x * cosine + z * sine, z * cosine - x * sine


def fit(points: Array, elevation: float = ELEVATION_DEGREES) -> Camera:
    """The camera that keeps an object inside the frame at every yaw, and as large as it can be.

    Args:
        points: corners of the object, metres, shape (n, 3).
        elevation: angle of view above the ground, degrees.
    """
    x, y, z = points.T
    target = float(y.min() + y.max()) / 2
    radius = float(np.sqrt((x * x + z * z + np.square(y - target)).max()))
    first = Camera(target, 3.4 * radius, 1.0, 0.5, elevation)
    yaws = [math.radians(degrees) for degrees in range(0, 360, 5)]
    turned = turn(x, z, np.array([[math.sin(yaw)] for yaw in yaws]), np.array([[math.cos(yaw)] for yaw in yaws]))
    across, down = first.project(*first.view(turned[0], y, turned[1]), size=1)
    widest, top, bottom = float(np.abs(across - 0.5).max()), float(down.min()), float(down.max())
    focal = _FILLED / max(2 * widest, bottom - top)
    return Camera(target, first.distance, focal, 0.5 - focal * ((top + bottom) / 2 - 0.5), elevation)
