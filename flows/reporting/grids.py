"""Image grids: real, raw, kept and dropped images beside each other, as PNG data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.labels import LabelSpace

_CLASS_ROWS = 12
_CLASS_COLUMNS = 8
_SCALAR_COLUMNS = 12
_SCALAR_ROWS = 3
_CELL_PIXELS = 56
_GAP_PIXELS = 3

Take = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Pictures:
    """Images to choose from: their labels, and how to read the chosen rows; ``rows`` numbers them in their file."""

    title: str
    note: str
    labels: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    take: Take


@dataclass(frozen=True)
class Strip:
    """One row of a grid: a label, a PNG as data URI, and its description."""

    label: str
    source: str
    description: str


@dataclass(frozen=True)
class Grid:
    """A captioned grid; ``ticks`` are the labels of the columns along label order."""

    title: str
    note: str
    strips: tuple[Strip, ...]
    ticks: tuple[str, ...] = ()


def describe_label(space: LabelSpace, label: float) -> str:
    """A label in words, also if it lies outside the space."""
    if space.kind == "class" and not 0 <= int(label) < space.classes:
        return f"class {label:g}"
    return space.describe(label)


def make_grids(pictures: Sequence[Pictures], space: LabelSpace) -> list[Grid]:
    """One grid a set of pictures, all with the same labels in the same places."""
    if not pictures:
        return []
    if space.kind == "class":
        chosen = np.unique(np.linspace(0, space.classes - 1, min(space.classes, _CLASS_ROWS)).round().astype(int))
        return [_class_grid(pool, space, [int(label) for label in chosen]) for pool in pictures]
    every = np.concatenate([pool.labels for pool in pictures])
    low, high = (float(every.min()), float(every.max())) if every.size else (space.minimum, space.maximum)
    return [_scalar_grid(pool, space, np.linspace(low, high, _SCALAR_COLUMNS)) for pool in pictures]


def _class_grid(pool: Pictures, space: LabelSpace, labels: Sequence[int]) -> Grid:
    strips = []
    for label in labels:
        rows = pool.rows[np.flatnonzero(pool.labels == label)[:_CLASS_COLUMNS]]
        name = describe_label(space, label)
        description = f"{pool.title}: {len(rows)} images of {name}"
        strips.append(Strip(name, _cells(pool.take, [rows], _CLASS_COLUMNS), description))
    return Grid(pool.title, pool.note, tuple(strips) if pool.rows.size else ())


def _scalar_grid(pool: Pictures, space: LabelSpace, targets: npt.NDArray[np.float64]) -> Grid:
    ticks = tuple(f"{target:.3g}" for target in targets)
    if not pool.rows.size:
        return Grid(pool.title, pool.note, (), ticks)
    half = (targets[1] - targets[0]) / 2
    columns = []
    for target in targets:
        distance = np.abs(pool.labels - target)
        nearest = np.argsort(distance, kind="stable")[:_SCALAR_ROWS]
        columns.append(pool.rows[nearest[distance[nearest] <= half]])
    unit = f" {space.unit}" if space.unit else ""
    description = f"{pool.title}: images in columns from {ticks[0]} to {ticks[-1]}{unit} of {space.name}"
    strip = Strip("", _cells(pool.take, columns, _SCALAR_ROWS, transposed=True), description)
    return Grid(pool.title, pool.note, (strip,), ticks)


def _cells(take: Take, groups: Sequence[npt.NDArray[np.int64]], length: int, *, transposed: bool = False) -> str:
    """Images in rows (or columns) of at most ``length``, as one PNG; missing cells stay transparent."""
    rows = np.concatenate(groups)
    if not rows.size:
        return ""
    order = np.argsort(rows, kind="stable")
    images = np.empty((rows.size, *(read := take(rows[order])).shape[1:]), np.uint8)
    images[order] = read
    _, channels, height, width = images.shape
    factor = max(1, round(_CELL_PIXELS / max(height, width)))
    down, across = height * factor + _GAP_PIXELS, width * factor + _GAP_PIXELS
    shape = (length, len(groups)) if transposed else (len(groups), length)
    canvas = np.zeros((shape[0] * down - _GAP_PIXELS, shape[1] * across - _GAP_PIXELS, 4), np.uint8)
    position = 0
    for group, members in enumerate(groups):
        for place in range(len(members)):
            vertical, horizontal = (place, group) if transposed else (group, place)
            pixels = images[position].transpose(1, 2, 0).repeat(factor, 0).repeat(factor, 1)
            colour = pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
            cell = np.s_[vertical * down : vertical * down + height * factor]
            side = np.s_[horizontal * across : horizontal * across + width * factor]
            canvas[cell, side, :3] = colour
            canvas[cell, side, 3] = 255
            position += 1
    return png_data_uri(canvas)


def png_data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """An image (H, W, 4) as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
