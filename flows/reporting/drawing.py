"""Matplotlib figures as inline SVG in the colours of the page, light or dark, or as a picture file."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

#: Stand-ins that the page replaces by its own variables of these names (style.css), so plots follow its theme.
COLOURS = {
    "ink": "#23211e",
    "muted": "#6f6a61",
    "rule": "#dcd6ca",
    "grey": "#b5aea1",
    "series-1": "#b4571d",
    "series-2": "#2f6690",
    "series-3": "#56763a",
    "series-4": "#7d4f86",
    "series-5": "#8c7211",
    "series-6": "#1f7d78",
}
SERIES = [name for name in COLOURS if name.startswith("series")]
ACCENT = COLOURS["series-1"]
#: Colours of the kinds of data, where plots tell them apart; series-2 is the teacher's.
DATA_COLOURS = {"real": "series-3", "real+synthetic": "series-1", "real+mixed": "series-4"}
_POINTS_PER_PIXEL = 0.75
_PAPER = "#fbfaf7"


@dataclass(frozen=True)
class Plot:
    """A drawn figure: its title, its SVG, and its legend as (colour name, text) pairs."""

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()


def series_colour(index: int) -> str:
    """Name of the colour of a series; the colours repeat after six."""
    return SERIES[index % len(SERIES)]


def draw(key: str, description: str, paint: Callable[[Axes], None], *, width: int = 340, height: int = 200) -> Markup:
    """One axes as inline SVG, the same bytes for the same input.

    Args:
        key: unique within the page; keeps the identifiers of several plots apart.
        description: what the plot shows, read aloud in its place.
        paint: draws on the axes.
        width: width in CSS pixels at which text has its nominal size.
        height: height in CSS pixels.
    """
    with _house_style(key):
        figure = Figure(figsize=(width / 96, height / 96), dpi=96, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.margins(x=0.02)
        paint(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), description)


def save_picture(path: Path, title: str, panels: Sequence[tuple[Callable[[Axes], None], int]], *, width: int) -> None:
    """Panels below each other as a PNG file in the light colours, two pixels a CSS pixel.

    Args:
        path: the file.
        title: stands above the panels.
        panels: what draws on each axes, and its height in CSS pixels.
        width: width in CSS pixels.
    """
    heights = [height for _, height in panels]
    with _house_style("picture"):
        layout = ConstrainedLayoutEngine(w_pad=14 / 96, h_pad=10 / 96)
        figure = Figure(figsize=(width / 96, (sum(heights) + 36) / 96), layout=layout)
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.02, ha="left", fontsize=14 * _POINTS_PER_PIXEL)
        places = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (paint, _) in zip(places, panels, strict=True):
            axes.set_facecolor("none")
            paint(axes)
        figure.savefig(path, format="png", dpi=192, facecolor=_PAPER, metadata={"Software": None})


@contextmanager
def _house_style(key: str) -> Iterator[None]:
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "text.parse_math": False,
        "font.size": 11 * _POINTS_PER_PIXEL,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": COLOURS["rule"],
        "axes.labelcolor": COLOURS["muted"],
        "axes.linewidth": 0.75,
        "xtick.color": COLOURS["rule"],
        "ytick.color": COLOURS["rule"],
        "xtick.labelcolor": COLOURS["muted"],
        "ytick.labelcolor": COLOURS["muted"],
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "text.color": COLOURS["ink"],
        "lines.linewidth": 1.2,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The reader's own fonts draw the text, so a glyph that the measuring font lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _inline(svg: str, description: str) -> Markup:
    box = re.search(r'viewBox="([\d. ]+)"', svg)
    body = svg[svg.index("<g ") : svg.rindex("</svg>")]
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href=", "href=")
    body = re.sub(r"font(-family)?: [^;\"]*'[^;\"]*", lambda match: _font(match.group(0)), body)
    for name, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{name})")
    label = escape(description)
    view = box.group(1) if box else "0 0 255 150"
    return Markup(f'<svg viewBox="{view}" role="img" aria-label="{label}">{body}</svg>')


def _font(style: str) -> str:
    size = re.search(r"[\d.]+px", style)
    return f"font-size: {size.group(0)}" if size else "font-family: inherit"


def bin_edges(values: npt.NDArray[np.float64], bins: int = 40) -> tuple[npt.NDArray[np.float64], bool]:
    """Edges of a histogram that shows the bulk, and whether they are spaced geometrically.

    Args:
        values: finite numbers, at least one.
        bins: number of bins.

    Returns:
        ``bins + 1`` edges from the lowest to the highest value (a 99.8 % range for a linear scale).
    """
    low, middle, high = (float(value) for value in np.quantile(values, [0.002, 0.5, 0.998]))
    if low > 0 and high / max(middle, 1e-30) > 8:
        low = max(low, high * 1e-6)
        return np.geomspace(low, high, bins + 1), True
    low = min(low, 0.0) if low < 0.25 * high else low
    if not low < high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1), False


def log_scaled(values: npt.NDArray[np.float64]) -> bool:
    """Whether a curve of these values reads better on a logarithmic axis."""
    if values.size < 3 or values.min() <= 0:
        return False
    return bool(values.max() / values.min() > 50)


def make_logarithmic(axes: Axes, *, vertical: bool) -> None:
    """Gives an axes a logarithmic scale with plain numbers at its ticks (no mathematical markup is drawn here)."""
    axis: Axis = axes.yaxis if vertical else axes.xaxis
    (axes.set_yscale if vertical else axes.set_xscale)("log")
    low, high = sorted(axis.get_view_interval())
    narrow = high < 100 * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
