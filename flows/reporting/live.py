"""Pictures of a GAN that is still training: its curves so far, and samples of its averaged weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import replace_durably
from data.workspace import read_log

_PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("losses", (("d_loss", "discriminator"), ("g_loss", "generator"))),
    ("mean scores", (("d_real", "real images"), ("d_fake", "generated images"))),
    ("told apart", (("told_apart", "share of images that the discriminator tells apart"),)),
)
_SNAPSHOT_PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("distance to validation images", (("distance", "joint kernel distance"),)),
    ("diversity within labels", (("diversity", "1 is as diverse as real"),)),
)


def write_curves(folder: Path, log: str = "generator.jsonl", snapshots: str = "snapshots.jsonl") -> Path:
    """Draws the logs of a generator's folder into ``curves.png`` there; the same logs give the same bytes.

    Args:
        folder: the work folder, or the artifact, of a generator.
        log: name of the log of training steps.
        snapshots: name of the log of judged snapshots.

    Returns:
        The picture's path.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        *_filled(read_log(folder / log), _PANELS, marker=""),
        *_filled(read_log(folder / snapshots), _SNAPSHOT_PANELS, marker="o"),
    ]
    figure = Figure(figsize=(4.2 * max(len(panels), 1), 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, series, marker) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for words, steps, values in series:
            axes.plot(steps, values, marker=marker, label=words, linewidth=1.2, markersize=4)
        axes.set(title=title, xlabel="generator step")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    path = folder / "curves.png"
    temporary = path.with_name("curves.tmp.png")
    figure.savefig(temporary, dpi=90, metadata={"Software": None})
    replace_durably(temporary, path)
    return path


Series = list[tuple[str, list[float], list[float]]]


def _filled(
    rows: Sequence[Mapping[str, Any]], panels: Sequence[tuple[str, Sequence[tuple[str, str]]]], marker: str
) -> list[tuple[str, Series, str]]:
    """The panels of which the log has at least one column."""
    filled = []
    for title, columns in panels:
        series: Series = []
        for key, words in columns:
            points = [(float(row["step"]), float(row[key])) for row in rows if row.get(key) is not None]
            if points:
                series.append((words, [step for step, _ in points], [value for _, value in points]))
        if series:
            filled.append((title, series, marker))
    return filled
