"""Backs and arms of chairs, and the whole chair."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from data.rendering.chair_design import ChairDesign
from data.rendering.chair_parts import legs, seat
from data.rendering.solids import Color, Mesh, beam, hexahedron, join

Point = npt.NDArray[np.float64]


class _Rear:
    """The plane of the back: ``u`` across, ``v`` up along the leaning back, ``w`` to the front, metres."""

    def __init__(self, design: ChairDesign) -> None:
        narrow = {"tapered": 0.76, "round": 0.74}.get(design.seat, 1.0)
        self.half = 0.5 * design.width * narrow - design.leg * 0.4
        self.high = design.back_height
        self._foot = np.array([0.0, design.height - 0.01, -0.5 * design.depth + design.leg * 0.5])
        if design.seat == "round":
            self._foot[2] = -0.36 * design.depth
        self._up = np.array([0.0, 1.0, -design.recline])

    def at(self, u: float, v: float, w: float = 0.0) -> Point:
        """The world point of a place on the back."""
        point: Point = self._foot + v * self._up + np.array([u, 0.0, w])
        return point

    def board(self, u: tuple[float, float], v: tuple[float, float], thickness: float, color: Color) -> Mesh:
        """A flat board in the plane of the back."""
        return hexahedron(
            np.array([self.at(a, b, w) for w in (-thickness / 2, thickness / 2) for a, b in _ring(u, v)]), color
        )

    def post(self, u: float, v: tuple[float, float], thickness: float, color: Color) -> Mesh:
        """An upright bar."""
        return self.board((u - thickness / 2, u + thickness / 2), v, thickness, color)


def _ring(u: tuple[float, float], v: tuple[float, float]) -> list[tuple[float, float]]:
    return [(u[0], v[0]), (u[1], v[0]), (u[1], v[1]), (u[0], v[1])]


def _posts(design: ChairDesign, rear: _Rear, top: float = 1.0) -> Iterator[Mesh]:
    for side in (-rear.half, rear.half):
        yield rear.post(side, (-0.03, rear.high * top), design.leg, design.frame_color)


def _panel(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield rear.board((-rear.half, rear.half), (0.0, rear.high), 0.035, design.back_color)


def _slats(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield from _posts(design, rear)
    across = (-rear.half, rear.half)
    yield rear.board(across, (rear.high - 0.09, rear.high), design.leg * 0.9, design.frame_color)
    yield rear.board(across, (0.06, 0.10), design.leg * 0.7, design.frame_color)
    for place in np.linspace(-1, 1, design.bars + 2)[1:-1].tolist():
        yield rear.post(place * rear.half, (0.08, rear.high - 0.05), 0.035, design.back_color)


def _ladder(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield from _posts(design, rear)
    rung = 0.25 * rear.high / design.bars
    for level in np.linspace(0.28, 0.92, design.bars).tolist():
        v = level * rear.high
        yield rear.board((-rear.half, rear.half), (v - rung, v + rung), 0.022, design.back_color)


def _spindles(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    places = np.linspace(-1, 1, design.bars + 2).tolist()
    for place in places:
        yield rear.post(place * rear.half, (0.0, rear.high - 0.03), 0.02, design.back_color)
    edges = np.linspace(-1.08, 1.08, 6).tolist()
    for first, last in itertools.pairwise(edges):
        # The rail bends forwards at its ends.
        bent = [rear.at(e * rear.half, rear.high - 0.03, 0.06 * e * e) for e in (first, last)]
        yield beam(bent[0], bent[1], 0.07, 0.035, design.frame_color, hint=(0, 1, 0))


def _curved(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    edges = np.linspace(-1.05, 1.05, 8).tolist()
    low = -0.02
    for first, last in itertools.pairwise(edges):
        bent = [(e * rear.half, 0.15 * e * e - 0.02) for e in (first, last)]
        inner = [rear.at(u, v, w + 0.03) for v in (low, rear.high) for u, w in bent]
        outer = [rear.at(u, v, w) for v in (low, rear.high) for u, w in bent]
        corners = [outer[0], outer[1], inner[1], inner[0], outer[2], outer[3], inner[3], inner[2]]
        yield hexahedron(np.array(corners), design.back_color)


def _low(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield from _posts(design, rear, 0.9)
    yield rear.board((-rear.half, rear.half), (rear.high * 0.45, rear.high), 0.05, design.back_color)


def _cross(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield from _posts(design, rear)
    yield rear.board((-rear.half, rear.half), (rear.high - 0.07, rear.high), design.leg, design.frame_color)
    for side in (-rear.half, rear.half):
        start, end = rear.at(side, 0.05), rear.at(-side, rear.high - 0.06)
        yield beam(start, end, 0.025, 0.05, design.back_color, hint=(0, 0, 1))


def _padded(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield from _posts(design, rear, 0.8)
    u, v = 0.96 * rear.half, (rear.high * 0.22, rear.high)
    face = [rear.at(a, b, 0.10) for a, b in _ring((-0.84 * u, 0.84 * u), (v[0] + 0.04, v[1] - 0.04))]
    reverse = [rear.at(a, b, -0.01) for a, b in _ring((-u, u), v)]
    yield hexahedron(np.array(reverse + face), design.back_color)


def _frame(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield from _posts(design, rear)
    across = (-rear.half - design.leg / 2, rear.half + design.leg / 2)
    yield rear.board(across, (rear.high - 0.06, rear.high), design.leg, design.frame_color)
    yield rear.board((-0.16 * design.width, 0.16 * design.width), (0.0, rear.high - 0.04), 0.03, design.back_color)


def _wings(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    yield rear.board((-rear.half, rear.half), (-0.02, rear.high), 0.06, design.back_color)
    for side in (-rear.half, rear.half):
        inner, outer = side * 0.94, side * 1.06
        v = (rear.high * 0.30, rear.high * 0.97)
        ring = [(inner, 0.0), (outer, 0.0), (outer * 1.04, 0.17), (inner * 1.04, 0.17)]
        corners = np.array([rear.at(u, level, w) for level in v for u, w in ring])
        yield hexahedron(corners, design.seat_color)


BACK_BUILDERS: dict[str, Callable[[ChairDesign, _Rear], Iterator[Mesh]]] = {
    "panel": _panel,
    "slats": _slats,
    "ladder": _ladder,
    "spindles": _spindles,
    "curved": _curved,
    "low": _low,
    "cross": _cross,
    "padded": _padded,
    "frame": _frame,
    "wings": _wings,
}


def _arms(design: ChairDesign, rear: _Rear) -> Iterator[Mesh]:
    if design.arms == "none":
        return
    high = design.height + 0.21
    x, front = 0.5 * design.width + 0.01, 0.40 * design.depth
    back = float(rear.at(0.0, 0.21)[2])
    color = design.frame_color
    for side in (-x, x):
        if design.arms == "solid":
            low = design.height - design.thickness
            ring = [(side + t, z) for t, z in ((-0.03, back), (0.03, back), (0.03, front), (-0.03, front))]
            yield hexahedron(np.array([(a, y, z) for y in (low, high) for a, z in ring]), design.seat_color)
            continue
        yield beam((side, high, back - 0.02), (side, high, front + 0.03), 0.05, 0.03, color)
        low = design.height - 0.02
        if design.arms == "posts":
            yield beam((side, low, front - 0.03), (side, high, front - 0.03), 0.03, 0.03, color)
        else:
            yield beam((side, low, 0.0), (side, high, front), 0.03, 0.03, color)


def chair(design: ChairDesign) -> Mesh:
    """A chair that stands on y = 0 and faces +z."""
    rear = _Rear(design)
    backs = BACK_BUILDERS[design.back](design, rear)
    return join([*seat(design), *legs(design), *backs, *_arms(design, rear)])
