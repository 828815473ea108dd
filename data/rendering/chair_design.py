"""What a chair type looks like: choices and measures, drawn from a seed and the type's number."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from data.random import derive_seed, row_seeds, uniform_from_seeds
from data.rendering.solids import Color

SEATS = ("square", "cushion", "round", "wide", "tapered", "thin", "bowl")
BACKS = ("panel", "slats", "ladder", "spindles", "curved", "low", "cross", "padded", "frame", "wings")
LEGS = ("straight", "splayed", "pedestal", "sled", "cantilever", "panels", "stretchers", "star")
ARMS = ("none", "posts", "none", "loop", "none", "solid")

_WOODS = ((0.72, 0.50, 0.28), (0.52, 0.32, 0.17), (0.36, 0.21, 0.12), (0.80, 0.64, 0.42), (0.58, 0.28, 0.16))
_METALS = ((0.62, 0.64, 0.67), (0.22, 0.23, 0.25), (0.45, 0.47, 0.50), (0.74, 0.62, 0.36))


@dataclass(frozen=True)
class ChairDesign:
    """Choices and measures of one type; lengths in metres, angles as slopes (metres a metre).

    Args:
        seat: one of ``SEATS``.
        back: one of ``BACKS``.
        legs: one of ``LEGS``.
        arms: one of ``ARMS``.
        width: of the seat, from side to side.
        depth: of the seat, from front to rear.
        height: of the seat's top.
        thickness: of the seat.
        back_height: above the seat.
        recline: how far the back leans to the rear for each metre of height.
        leg: thickness of a leg.
        splay: how far splayed legs spread for each metre of height.
        bars: number of slats, rungs or spindles.
        frame_color: of legs and posts.
        seat_color: of the seat.
        back_color: of the back's filling.
    """

    seat: str
    back: str
    legs: str
    arms: str
    width: float
    depth: float
    height: float
    thickness: float
    back_height: float
    recline: float
    leg: float
    splay: float
    bars: int
    frame_color: Color
    seat_color: Color
    back_color: Color


def design(type_index: int, seed: int) -> ChairDesign:
    """The design of one type; it does not depend on how many types there are.

    Args:
        type_index: number of the type, from 0.
        seed: makes all designs.
    """
    seeds = row_seeds(derive_seed(seed, "chairs"), np.array([type_index]))
    drawn: list[float] = uniform_from_seeds(seeds, 24)[0].tolist()
    numbers = iter(drawn)

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(numbers)

    seat = _dealt(SEATS, "seat", type_index, seed)
    back = _dealt(BACKS, "back", type_index, seed)
    legs = _dealt(LEGS, "legs", type_index, seed)
    arms = _dealt(ARMS, "arms", type_index, seed)
    if back == "low":
        arms = "none"
    width, depth, height = between(0.40, 0.54), between(0.40, 0.50), between(0.40, 0.50)
    if seat == "wide":
        width = between(0.62, 0.80)
    if seat == "round":
        depth = width
    if back == "low" and seat != "wide":
        height = between(0.60, 0.74)
    frame, cover, filling = _colors(type_index, seed, (next(numbers), next(numbers), next(numbers)))
    return ChairDesign(
        seat=seat,
        back=back,
        legs=legs,
        arms=arms,
        width=width,
        depth=depth,
        height=height,
        thickness=between(0.09, 0.14) if seat in ("cushion", "bowl") else between(0.035, 0.07),
        back_height=between(0.14, 0.20) if back == "low" else between(0.38, 0.62),
        recline=between(0.04, 0.28),
        leg=between(0.030, 0.060),
        splay=between(0.12, 0.30),
        bars=3 + int(between(0.0, 3.0)),
        frame_color=frame,
        seat_color=cover,
        back_color=filling,
    )


def _dealt(options: tuple[str, ...], what: str, type_index: int, seed: int) -> str:
    """An option, dealt like cards: every run of as many types as there are options has each option once."""
    round_number, place = divmod(type_index, len(options))
    keys = row_seeds(derive_seed(seed, "chairs", what, round_number), np.arange(len(options)))
    return options[int(np.argsort(keys)[place])]


def _colors(type_index: int, seed: int, numbers: tuple[float, float, float]) -> tuple[Color, Color, Color]:
    """Frame, cover and filling: wood or metal, and hues that the golden ratio keeps apart."""
    tone, shade, match = numbers
    start = derive_seed(seed, "chairs", "hue") % 997 / 997
    hue = (start + type_index * 0.6180339887498949) % 1.0
    woods = type_index % 3 != 2
    tones = _WOODS if woods else _METALS
    frame = tones[int(tone * len(tones))]
    cover = colorsys.hsv_to_rgb(hue, 0.35 + 0.5 * shade, 0.42 + 0.4 * (1 - shade))
    if woods and match < 0.35:
        lighter = (min(frame[0] * 1.18, 0.9), min(frame[1] * 1.18, 0.9), min(frame[2] * 1.18, 0.9))
        return frame, lighter, frame
    return frame, cover, cover if match < 0.75 else frame
