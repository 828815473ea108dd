"""Seats and legs of chairs, built from convex solids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from data.rendering.chair_design import ChairDesign
from data.rendering.solids import Mesh, beam, box, frustum, hexahedron, rod

Corner = tuple[float, float]


def seat(design: ChairDesign) -> Iterator[Mesh]:
    """The seat; its top lies at ``design.height``."""
    width, depth, thickness = design.width, design.depth, design.thickness
    middle = design.height - thickness / 2
    color, frame = design.seat_color, design.frame_color
    if design.seat == "round":
        yield rod((0, middle - thickness / 2, 0), (0, design.height, 0), (0.46 * width, 0.5 * width), color, 20)
    elif design.seat == "cushion":
        yield box((0, middle - thickness * 0.3, 0), (width, thickness * 0.4, depth), frame)
        yield frustum((0, middle + thickness * 0.1, 0), (width, thickness * 0.4, depth), (width, depth), color)
        upper = (0, middle + thickness * 0.4, 0)
        yield frustum(upper, (width, thickness * 0.2, depth), (width * 0.86, depth * 0.86), color)
    elif design.seat == "tapered":
        x, z, low = width / 2, depth / 2, design.height - thickness
        ring = [(-0.74 * x, -z), (0.74 * x, -z), (x, z), (-x, z)]
        yield hexahedron(np.array([(a, y, b) for y in (low, design.height) for a, b in ring]), color)
    elif design.seat == "bowl":
        yield frustum((0, middle, 0), (width * 0.72, thickness, depth * 0.72), (width, depth), color)
    elif design.seat == "thin":
        yield box((0, design.height - 0.0125, 0), (width, 0.025, depth), color)
        yield box((0, design.height - 0.04, 0), (width * 0.82, 0.03, depth * 0.82), frame)
    else:
        yield box((0, middle, 0), (width, thickness, depth), color)


def _corners(design: ChairDesign) -> list[Corner]:
    """Where legs meet the seat: front left, front right, rear right, rear left."""
    narrow = 0.35 if design.seat == "round" else 0.46
    x, z = narrow * design.width - design.leg * 0.3, narrow * design.depth - design.leg * 0.3
    rear = 0.74 * x if design.seat == "tapered" else x
    return [(-x, z), (x, z), (rear, -z), (-rear, -z)]


def _straight(design: ChairDesign) -> Iterator[Mesh]:
    for x, z in _corners(design):
        yield beam((x, 0, z), (x, _underside(design), z), design.leg, design.leg, design.frame_color)


def _underside(design: ChairDesign) -> float:
    return design.height - (0.03 if design.seat == "thin" else design.thickness * 0.8)


def _stretchers(design: ChairDesign) -> Iterator[Mesh]:
    yield from _straight(design)
    front_left, front_right, rear_right, rear_left = _corners(design)
    low, bar = design.height * 0.3, design.leg * 0.7
    for (ax, az), (bx, bz) in ((front_left, rear_left), (front_right, rear_right)):
        yield beam((ax, low, az), (bx, low, bz), bar, bar, design.frame_color, hint=(0, 1, 0))
    (ax, az), (bx, bz) = front_left, front_right
    yield beam((ax, low * 1.6, az), (bx, low * 1.6, bz), bar, bar, design.frame_color, hint=(0, 1, 0))


def _splayed(design: ChairDesign) -> Iterator[Mesh]:
    top, spread = _underside(design), design.splay * design.height
    for x, z in _corners(design):
        inner = (x * 0.8, top, z * 0.8)
        foot = (x * 0.8 + np.sign(x) * spread, 0, z * 0.8 + np.sign(z) * spread)
        yield rod(foot, inner, (design.leg * 0.35, design.leg * 0.62), design.frame_color)


def _pedestal(design: ChairDesign) -> Iterator[Mesh]:
    radius, color = 0.45 * design.depth, design.frame_color
    yield rod((0, 0, 0), (0, 0.03, 0), (radius, radius * 0.92), color, 16)
    yield rod((0, 0.03, 0), (0, 0.10, 0), (radius * 0.5, design.leg * 0.8), color, 12)
    yield rod((0, 0.08, 0), (0, _underside(design), 0), (design.leg * 0.8, design.leg * 0.8), color, 8)


def _star(design: ChairDesign) -> Iterator[Mesh]:
    color, reach = design.frame_color, 0.56 * design.depth
    yield rod((0, 0.10, 0), (0, _underside(design), 0), (design.leg * 0.6, design.leg * 0.6), color, 8)
    for spoke in range(5):
        angle = 2 * np.pi * (spoke + 0.25) / 5
        x, z = reach * float(np.sin(angle)), reach * float(np.cos(angle))
        yield beam((0, 0.115, 0), (x, 0.075, z), 0.05, 0.04, color, hint=(z, 0, -x))
        yield rod((x, 0, z), (x, 0.07, z), (0.028, 0.028), (0.12, 0.12, 0.13), 6)


def _sled(design: ChairDesign) -> Iterator[Mesh]:
    bar, color, top = design.leg * 0.75, design.frame_color, _underside(design)
    front_left, front_right, rear_right, rear_left = _corners(design)
    for (ax, az), (bx, bz) in ((front_left, rear_left), (front_right, rear_right)):
        yield beam((ax, 0, az), (ax, top, az), bar, bar, color)
        yield beam((bx, 0, bz), (bx, top, bz), bar, bar, color)
        yield beam((ax, bar / 2, az + bar / 2), (bx, bar / 2, bz - bar / 2), bar, bar, color, hint=(0, 1, 0))


def _cantilever(design: ChairDesign) -> Iterator[Mesh]:
    bar, color, top = design.leg * 0.85, design.frame_color, _underside(design)
    front_left, front_right, rear_right, rear_left = _corners(design)
    for (ax, az), (bx, bz) in ((front_left, rear_left), (front_right, rear_right)):
        yield beam((ax, 0, az), (ax, top, az), bar, bar, color)
        yield beam((ax, bar / 2, az + bar / 2), (bx, bar / 2, bz), bar, bar, color, hint=(0, 1, 0))
    rear = (rear_left[0], bar / 2, rear_left[1]), (rear_right[0], bar / 2, rear_right[1])
    yield beam(*rear, bar, bar, color, hint=(0, 1, 0))


def _panels(design: ChairDesign) -> Iterator[Mesh]:
    top = _underside(design)
    x = 0.5 * design.width - 0.02 if design.seat in ("square", "wide", "thin", "cushion") else 0.3 * design.width
    for side in (-x, x):
        yield box((side, top / 2, 0), (0.035, top, design.depth * 0.86), design.frame_color)
    yield box((0, top * 0.45, -0.2 * design.depth), (2 * x, top * 0.22, 0.03), design.frame_color)


LEG_BUILDERS: dict[str, Callable[[ChairDesign], Iterator[Mesh]]] = {
    "straight": _straight,
    "splayed": _splayed,
    "pedestal": _pedestal,
    "sled": _sled,
    "cantilever": _cantilever,
    "panels": _panels,
    "stretchers": _stretchers,
    "star": _star,
}


def legs(design: ChairDesign) -> Iterator[Mesh]:
    """What carries the seat; it stands on y = 0."""
    yield from LEG_BUILDERS[design.legs](design)
    if design.back == "low" and design.legs in ("straight", "splayed"):
        x, z = _corners(design)[1]
        reach = design.splay * design.height * 0.6 if design.legs == "splayed" else 0.0
        rest = design.height * 0.3
        start, end = (-x - reach, rest, z + reach), (x + reach, rest, z + reach)
        yield beam(start, end, design.leg * 0.7, design.leg * 0.7, design.frame_color, hint=(0, 1, 0))
