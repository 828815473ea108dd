"""The pictures of a data card: a grid of images by their labels, and histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.exporting.examples import MISSING, choose_examples
from data.labels import LabelSpace
from data.pictures import captioned_grid, drawable
from data.reading import ImageSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXAMPLES, DISTRIBUTIONS = "examples.png", "distributions.png"

_LARGEST_SIDE, _LEAST_SIDE = 96, 48
_INK, _MUTED, _RULE, _BAR = "#23211e", "#6f6a61", "#dcd6ca", "#2f6690"
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
}
_MOST_BARS, _MOST_BINS, _LETTERS_BELOW = 40, 50, 56
# Inches.
_WIDTH, _HEIGHT, _OWN_WIDTH, _BAR_HEIGHT = 4.4, 2.5, 6.6, 0.19
_MOST_LETTERS = 32


@dataclass(frozen=True)
class _Panel:
    """A panel of the picture of distributions.

    Args:
        title: what it shows.
        paint: draws it.
        height: in inches.
        own_row: whether it has a row of the picture to itself.
    """

    title: str
    paint: Callable[[Axes], None]
    height: float = _HEIGHT
    own_row: bool = False


def write_examples(found: ImageSet, path: Path) -> str:
    """A grid of images with their labels beside it; what it shows, in words."""
    chosen = choose_examples(found)
    wanted = chosen.rows.reshape(-1)
    blank = np.full(found.columns["images"].shape[1:], 255, np.uint8)
    images = np.stack([blank if row == MISSING else found.columns["images"][row] for row in wanted])
    images = _smaller(images)
    images = images.reshape(*chosen.rows.shape, *images.shape[1:])
    captioned_grid(images, chosen.left, chosen.top, least_pixels=_LEAST_SIDE).save(path, "PNG")
    return "Images by their label"


def _smaller(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (n, C, H, W) of at most ``_LARGEST_SIDE`` pixels a side, by means over squares of pixels."""
    count, channels, height, width = images.shape
    step = -(-max(height, width) // _LARGEST_SIDE)
    high, wide = max(height // step, 1), max(width // step, 1)
    if step == 1 or min(height, width) < step:
        return images
    cut = images[:, :, : high * step, : wide * step].reshape(count, channels, high, step, wide, step)
    return np.asarray(cut.mean(axis=(3, 5)).round(), np.uint8)


def write_distributions(found: ImageSet, path: Path) -> str:
    """Histograms of labels, density ratio and teacher error, as far as a set has them; what it shows, in words.

    Returns:
        An empty text if there is nothing to show, and no file then.
    """
    panels = _panels(found)
    if not panels:
        return ""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    beside = [panel for panel in panels if not panel.own_row]
    across = max(1, len(beside) if len(beside) <= 3 else 2)
    lines = [[panel] for panel in panels if panel.own_row]
    lines += [beside[start : start + across] for start in range(0, len(beside), across)]
    heights = [max(panel.height for panel in line) for line in lines]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(_WIDTH * across, _OWN_WIDTH), sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        places = figure.add_gridspec(len(lines), across, height_ratios=heights)
        for number, line in enumerate(lines):
            for place, panel in enumerate(line):
                axes = figure.add_subplot(places[number, :] if panel.own_row else places[number, place])
                axes.set_title(drawable(panel.title))
                panel.paint(axes)
        figure.savefig(path, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return "Distribution of " + ", ".join(panel.title for panel in panels)


def _panels(found: ImageSet) -> list[_Panel]:
    space, panels = found.label_space, []
    column = next((name for name in ("labels", "condition") if name in found.columns), None)
    if not len(found):
        return []
    if column is not None and found.columns[column].shape[1:] == space.label_shape:
        labels = found.columns[column]
        if space.has_classes:
            panels.append(_class_panel(labels, space))
        for axis, values in zip(space.dimensions, space.continuous_part(labels).T, strict=True):
            panels.append(_Panel(axis.name, _histogram(values, axis.unit)))
    for name in ("density_ratio", "teacher_error"):
        if name in found.columns:
            panels.append(_Panel(name.replace("_", " "), _histogram(found.columns[name], "", cut=True)))
    return panels


def _class_panel(labels: npt.NDArray[Any], space: LabelSpace) -> _Panel:
    """Upright bars where all names fit below them, lying ones for longer names, and only counts for many classes."""
    counts = np.bincount(space.class_part(labels), minlength=space.classes)
    if space.classes > _MOST_BARS:
        return _Panel("rows a class", lambda axes: _paint_sorted(axes, counts))
    names = [drawable(name) for name in space.names]
    if sum(len(name) + 2 for name in names) < _LETTERS_BELOW:
        return _Panel("rows a class", lambda axes: _paint_upright(axes, counts, names))
    names = [name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 1] + "…" for name in names]
    height = 0.8 + _BAR_HEIGHT * space.classes
    return _Panel("rows a class", lambda axes: _paint_lying(axes, counts, names), height, own_row=True)


def _paint_sorted(axes: Axes, counts: npt.NDArray[np.int64]) -> None:
    falling = np.sort(counts)[::-1]
    axes.fill_between(np.arange(len(falling) + 1), np.r_[falling, falling[-1]], step="post", color=_BAR, linewidth=0)
    axes.set_xlim(0, len(falling))
    axes.set_xlabel(f"{len(falling):,} classes, the largest first")
    axes.set_ylim(0)
    _count_rows(axes)


def _paint_upright(axes: Axes, counts: npt.NDArray[np.int64], names: Sequence[str]) -> None:
    axes.bar(np.arange(len(counts)), counts, color=_BAR, width=0.8)
    axes.set_xticks(np.arange(len(counts)), names)
    axes.set_ylim(0)
    _count_rows(axes)


def _paint_lying(axes: Axes, counts: npt.NDArray[np.int64], names: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.barh(np.arange(len(counts)), counts, color=_BAR, height=0.8)
    axes.set_yticks(np.arange(len(counts)), names, fontsize=8)
    axes.set_ylim(len(counts) - 0.4, -0.6)
    axes.set_xlim(0)
    axes.set_xlabel("rows")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _histogram(values: npt.NDArray[Any], unit: str, *, cut: bool = False) -> Callable[[Axes], None]:
    """A histogram; a long tail is counted in the last bar, and said, if ``cut``."""

    def paint(axes: Axes) -> None:
        last = float(values.max())
        end = float(np.quantile(values, 0.995)) if cut else last
        # Only a tail that would squeeze the rest is cut.
        end = end if end > values.min() and last > 1.5 * end else last
        shown = np.minimum(values.astype(np.float64), end)
        axes.hist(shown, bins=_edges(shown).tolist(), color=_BAR)
        words = f"up to {last:.3g} in the last bar" if end < last else ""
        axes.set_xlabel("; ".join(word for word in (drawable(unit), words) if word))
        _count_rows(axes)

    return paint


def _edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Edges of at most 50 bins; where values lie on a grid, each bin holds as many points of the grid."""
    distinct = np.unique(values)
    if len(distinct) > 1:
        gap = float(np.median(np.diff(distinct)))
        points = round((distinct[-1] - distinct[0]) / gap) + 1
        # A grid is nearly full; what is no grid has gaps of all sizes.
        if points <= 2 * len(distinct) and len(distinct) < len(values):
            each = -(-points // _MOST_BINS)
            first = distinct[0] - gap / 2
            return np.asarray(first + gap * each * np.arange(-(-points // each) + 1))
    return np.histogram_bin_edges(values, min(_MOST_BINS, max(10, int(np.sqrt(len(values))))))


def _count_rows(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel("rows")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
