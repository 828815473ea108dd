"""Image grids: real, raw, kept and dropped images beside each other, as PNG data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from data.labels import Axis, LabelSpace
from flows.reporting.wording import MINUS, unit_words

_CLASS_ROWS = 12
_CLASS_COLUMNS = 8
_SCALAR_COLUMNS = 12
_SCALAR_ROWS = 3
_CROSSED_COLUMNS = 8
_CROSSED_ROWS = 6
_CELL_PIXELS = 56
_GAP_PIXELS = 3

Take = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Pictures:
    """Images to choose from: their label column, and how to read chosen rows; ``rows`` numbers them in their file."""

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
        return [_class_grid(pool, space, _shown_classes(space)) for pool in pictures]
    every = np.concatenate([pool.labels for pool in pictures])
    if space.kind != "scalar":
        rows, columns = _sides(space, every)
        return [_crossed_grid(pool, space, rows, columns) for pool in pictures]
    low, high = (float(every.min()), float(every.max())) if every.size else (space.minimum, space.maximum)
    return [_scalar_grid(pool, space, np.linspace(low, high, _SCALAR_COLUMNS)) for pool in pictures]


def _shown_classes(space: LabelSpace) -> list[int]:
    chosen = np.unique(np.linspace(0, space.classes - 1, min(space.classes, _CLASS_ROWS)).round().astype(int))
    return [int(label) for label in chosen]


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


@dataclass(frozen=True)
class _Side:
    """One side of a grid over two parts of a label: names of its cells, and where a label falls and how far off.

    Args:
        names: of the cells, n of them.
        column: of the label.
        targets: value at the middle of each cell, (n,), rising.
        exact: whether labels belong to a cell only if they equal its target.
    """

    names: tuple[str, ...]
    column: int
    targets: npt.NDArray[np.float64]
    exact: bool = False

    def places(self, labels: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Number of the cell of each label, int64 (N,); -1 where it belongs to none."""
        values = labels[:, self.column]
        nearest = np.digitize(values, (self.targets[1:] + self.targets[:-1]) / 2)
        if self.exact:
            nearest[self.targets[nearest] != values] = -1
        return nearest


def _sides(space: LabelSpace, labels: npt.NDArray[np.float64]) -> tuple[_Side, _Side]:
    """Rows and columns: classes and values, or the second and the first axis of a vector."""
    if space.kind == "class+scalar":
        classes = _shown_classes(space)
        names = tuple(space.names[label] for label in classes)
        rows = _Side(names, 0, np.array(classes, np.float64), exact=True)
        return rows, _axis_side(space.dimensions[0], 1, labels, _CROSSED_COLUMNS, "")
    across, down = space.dimensions[:2]
    rows = _axis_side(down, 1, labels, _CROSSED_ROWS, unit_words(down.unit))
    return rows, _axis_side(across, 0, labels, _CROSSED_COLUMNS, "")


def _axis_side(axis: Axis, column: int, labels: npt.NDArray[np.float64], most: int, unit: str) -> _Side:
    known = np.unique(labels[:, column]) if len(labels) else np.array([axis.minimum, axis.maximum])
    targets = known if known.size <= most else np.linspace(known[0], known[-1], most)
    return _Side(tuple(f"{target:.3g}{unit}".replace("-", MINUS) for target in targets), column, targets)


def _crossed_grid(pool: Pictures, space: LabelSpace, rows: _Side, columns: _Side) -> Grid:
    """One image a cell: of the labels that fall into the cell the one nearest to its middle.

    Nearness counts in shares of the axes' ranges; further axes of a vector are wanted at their middle.
    """
    if not pool.rows.size:
        return Grid(pool.title, pool.note, (), columns.names)
    down, across = rows.places(pool.labels), columns.places(pool.labels)
    # A class has no distance: its cells hold labels of that class alone.
    middle = [0.0] * space.has_classes + [(axis.minimum + axis.maximum) / 2 for axis in space.dimensions]
    span = [1.0] * space.has_classes + [axis.maximum - axis.minimum for axis in space.dimensions]
    wanted = np.tile(middle, (len(pool.labels), 1))
    for side, places in ((rows, down), (columns, across)):
        wanted[:, side.column] = side.targets[places]
    distance = np.square((pool.labels - wanted) / span).sum(axis=1)
    order = np.lexsort((distance, across, down))
    strips = []
    for row, name in enumerate(rows.names):
        chosen = [order[(down[order] == row) & (across[order] == column)][:1] for column in range(len(columns.names))]
        found = sum(members.size for members in chosen)
        source = _cells(pool.take, [pool.rows[members] for members in chosen], 1, transposed=True)
        of = f"{columns.names[0]} to {columns.names[-1]} of {space.dimensions[0].name}"
        strips.append(Strip(name, source, f"{pool.title}: {found} images of {name}, in columns from {of}"))
    return Grid(pool.title, pool.note, tuple(strips), columns.names)


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
