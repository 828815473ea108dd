"""Convex solids as quadrilateral faces; a scene is many of them, free to touch and to pass through each other.

Coordinates are metres: x to the right of someone who sits, y up, z to the front. Every face is a planar
convex quadrilateral whose corners run counter-clockwise seen from outside (a triangle repeats a corner).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Point = Sequence[float] | Array
Color = tuple[float, float, float]

# Corners of a hexahedron: 0-3 the bottom ring, 4-7 the top ring above it.
_HEXAHEDRON_FACES = np.array([[0, 1, 2, 3], [7, 6, 5, 4], [0, 4, 5, 1], [1, 5, 6, 2], [2, 6, 7, 3], [3, 7, 4, 0]])


@dataclass(frozen=True)
class Mesh:
    """Faces with their colours.

    Args:
        quads: corners in metres, float64, shape (F, 4, 3).
        colors: linear reflectance of each face in [0, 1], float64, shape (F, 3).
    """

    quads: Array
    colors: Array

    def normals(self) -> Array:
        """Outward unit normals, shape (F, 3)."""
        diagonals = np.cross(self.quads[:, 2] - self.quads[:, 0], self.quads[:, 3] - self.quads[:, 1])
        lengths = np.sqrt(np.square(diagonals).sum(axis=1, keepdims=True))
        return np.asarray(diagonals / lengths)


def join(meshes: Iterable[Mesh]) -> Mesh:
    """All faces of several meshes as one mesh."""
    parts = list(meshes)
    return Mesh(np.concatenate([m.quads for m in parts]), np.concatenate([m.colors for m in parts]))


def _mesh(quads: Array, color: Color) -> Mesh:
    return Mesh(quads, np.tile(np.array(color, dtype=np.float64), (len(quads), 1)))


def hexahedron(corners: Array, color: Color) -> Mesh:
    """A solid of six planar faces.

    Args:
        corners: shape (8, 3), four that run round the bottom either way, then those above them in the same order.
        color: reflectance, RGB in [0, 1].
    """
    points = np.asarray(corners, dtype=np.float64)
    quads = points[_HEXAHEDRON_FACES]
    center = points.mean(axis=0)
    outward = np.cross(quads[0, 2] - quads[0, 0], quads[0, 3] - quads[0, 1]) @ (quads[0].mean(axis=0) - center)
    return _mesh(quads if outward > 0 else quads[:, ::-1], color)


def box(center: Point, size: Point, color: Color) -> Mesh:
    """A box along the axes; ``center`` and ``size`` (x, y, z) in metres."""
    return frustum(center, size, (size[0], size[2]), color)


def frustum(center: Point, size: Point, top: Sequence[float], color: Color, shift: float = 0.0) -> Mesh:
    """A box whose top differs from its bottom: a cushion's bevel, a tapered seat.

    Args:
        center: middle of the box between bottom and top, metres.
        size: x, height and z of the bottom, metres.
        top: x and z of the top, metres.
        color: reflectance, RGB in [0, 1].
        shift: how far the top lies in front of the bottom, metres.
    """
    width, height, depth = (float(value) / 2 for value in size)
    ring = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    bottom = ring * [width, depth]
    upper = ring * [top[0] / 2, top[1] / 2] + [0.0, shift]
    corners = np.empty((8, 3))
    corners[:4, [0, 2]], corners[:4, 1] = bottom, -height
    corners[4:, [0, 2]], corners[4:, 1] = upper, height
    return hexahedron(corners + np.asarray(center, dtype=np.float64), color)


def _across(axis: Array, hint: Point) -> tuple[Array, Array]:
    first = np.asarray(hint, dtype=np.float64) - axis * float(np.dot(hint, axis))
    if float(np.dot(first, first)) < 1e-12:
        first = np.array([0.0, axis[2], -axis[1]]) if abs(axis[0]) < 0.9 else np.array([-axis[1], axis[0], 0.0])
    first = first / np.sqrt(np.dot(first, first))
    return first, np.cross(axis, first)


def beam(start: Point, end: Point, width: float, depth: float, color: Color, hint: Point = (1.0, 0.0, 0.0)) -> Mesh:
    """A rectangular bar between two points; ``width`` is measured along ``hint``, ``depth`` across it, metres."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (last - first) / np.sqrt(np.dot(last - first, last - first))
    side, other = _across(axis, hint)
    ring = [-side * width - other * depth, side * width - other * depth]
    ring = [*ring, -ring[0], -ring[1]]
    return hexahedron(np.array([first + r / 2 for r in ring] + [last + r / 2 for r in ring]), color)


def rod(start: Point, end: Point, radii: tuple[float, float], color: Color, sides: int = 8) -> Mesh:
    """A round, perhaps tapered bar between two points: a prism of ``sides`` (even) sides with both caps.

    Args:
        start: middle of the first cap, metres.
        end: middle of the last cap, metres.
        radii: radius at ``start`` and at ``end``, metres.
        color: reflectance, RGB in [0, 1].
        sides: even number of sides, at least 4.
    """
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (last - first) / np.sqrt(np.dot(last - first, last - first))
    side, other = _across(axis, (0.0, 0.0, 1.0))
    angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * other
    lower, upper = first + radii[0] * ring, last + radii[1] * ring
    walls = np.stack(
        [lower, np.roll(lower, -1, axis=0), np.roll(upper, -1, axis=0), upper],
        axis=1,
    )
    # A cap is cut into strips across it, each a quadrilateral of two neighbouring chords.
    strips = np.array([[k, sides - 1 - k, sides - 2 - k, k + 1] for k in range(sides // 2 - 1)])
    return _mesh(np.concatenate([walls, lower[strips], upper[strips][:, ::-1]]), color)
