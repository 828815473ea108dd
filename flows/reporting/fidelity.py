"""The report's section on fidelity: figures of raw, accepted and real images, label by label, and the snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from data.workspace import read_log
from flows.reporting.drawing import ACCENT, COLOURS, Plot, draw
from flows.reporting.inputs import ReportInputs
from flows.reporting.wording import count, decimals, mean_and_deviation, plural, share, unbroken, unit_words

#: Columns of the table, in this order where a run has them: key, title.
_COLUMNS = (
    ("raw", "Raw"),
    ("accepted", "Accepted"),
    ("held_out", "Real, held out"),
    ("training", "Real, training"),
)
_MOST_CLASSES = 24
_LESS, _MORE, _ONE, _REAL, _CHANCE = (
    "less is better",
    "more is better",
    "1 is as diverse as real",
    "real is best",
    "5 % is chance",
)
_COLOUR = {"raw": "series-2", "accepted": "series-1"}


@dataclass(frozen=True)
class FidelityRow:
    """A figure of the table: its name, which way is better, and a cell a column."""

    name: str
    better: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class FidelitySection:
    """All that the section shows; parts that a run does not have are empty.

    Args:
        intro: what was compared, in which features.
        columns: titles of the table's columns.
        rows: the table.
        plots: label by label, and over the generator's snapshots.
        verdicts: of the memorisation audit.
        notes: what was not computed and what helps.
        warnings: what the generator's training found odd.
    """

    intro: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[FidelityRow, ...]
    plots: tuple[Plot, ...]
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def fidelity_section(inputs: ReportInputs) -> FidelitySection | None:
    """The section of a run; None if it has neither the stage nor judged snapshots nor warnings."""
    path = inputs.file("fidelity", "fidelity.json")
    found: dict[str, Any] = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    log = inputs.file("generator", "snapshots.jsonl")
    plots = [*_label_plots(found), *_snapshot_plots([] if log is None else read_log(log), _kept(inputs))]
    path = inputs.file("generator", "warnings.json")
    warnings = [] if path is None else [str(row["sentence"]) for row in json.loads(path.read_text(encoding="utf-8"))]
    if not (found or plots or warnings):
        return None
    sets = _sets(found)
    return FidelitySection(
        intro=tuple(_intro(found)),
        columns=tuple(title for key, title in _COLUMNS if key in sets),
        rows=tuple(_rows(sets)),
        plots=tuple(plots),
        verdicts=tuple(
            f"{title}: {sets[key]['memorisation']['verdict']}"
            for key, title in _COLUMNS
            if "memorisation" in sets.get(key, {})
        ),
        notes=tuple(found.get("notes", ())),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _kept(inputs: ReportInputs) -> float | None:
    """Step of the snapshot whose weights are sampled."""
    step = inputs.manifests.get("generator", {}).get("metrics", {}).get("chosen_step")
    return None if step is None else float(step)


def _sets(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {**found.get("compared", {}), **found.get("real", {})}


def _intro(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    extractor, sets = found["extractor"], _sets(found)
    size = f"{extractor['dimensions']} numbers an image"
    if extractor["name"] == "own":
        network = f"the feature network of this run ({size}): distances compare with those of the same network alone"
    elif extractor["published_weights"]:
        network = f"Inception-v3 ({size})"
    else:
        network = f"Inception-v3 ({size}), but not with its published weights: distances compare only with like ones"
    sentences = []
    made = [(title.lower(), sets[key]) for key, title in _COLUMNS[:2] if key in sets]
    if made:
        counts = " and ".join(f"{count(found['generated'])} {title}" for title, found in made)
        sentences.append(
            f"{counts} images are compared with {plural(made[0][1]['real'], 'validation image')} at the same labels."
        )
    sentences.append(
        f"Features come from {network}. Real, held out, is one half of the validation images against the other: the "
        "floor. Real, training, is no floor where the feature network has learnt those images by heart. "
        "FID is the larger the fewer the images, and those halves are small; KID and the joint distance do not depend "
        "on that. ± is the spread over sets, subsets or labels, no standard error."
    )
    return sentences


def _rows(sets: Mapping[str, Mapping[str, Any]]) -> list[FidelityRow]:
    """The table; rows without any number in the columns of generated images are left to the notes."""
    keys = [key for key, _ in _COLUMNS if key in sets]
    cells = {key: dict(_figures(sets[key])) for key in keys}
    generated = [cells[key] for key in keys if key in _COLOUR]
    names = list(dict.fromkeys(name for figures in generated for name in figures))
    rows = []
    for name, better in names:
        found = [cells[key].get((name, better)) for key in keys]
        known = [figure["value"] for figure in found if figure is not None and figure["value"] is not None]
        if not any(figures.get((name, better), {}).get("value") is not None for figures in generated):
            continue
        places = decimals(max(abs(value) for value in known))
        rows.append(FidelityRow(name, better, tuple(_cell(figure, better, places) for figure in found)))
    return rows


def _figures(found: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """The figures of one comparison, each under its name and which way is better, in the order of the table."""
    named = (
        ("joint", "Joint kernel distance of images and labels", _LESS),
        ("fid", "Fréchet distance (FID)", _LESS),
        ("kid", "Kernel distance (KID)", _LESS),
        ("precision", "Precision: realism", _MORE),
        ("recall", "Recall: coverage", _MORE),
        ("diversity", "Diversity within a label", _ONE),
        ("inception_score", "Inception score", _MORE),
        ("accuracy", "Right class, as the teacher sees it [%]", _MORE),
    )
    for key, name, better in named:
        if key in found:
            yield (name, better), found[key]
    for score in found.get("label_score", []):
        yield (f"Label score, {score['axis']}{_unit(score['unit'])}", _LESS), score
    if "class_entropy" in found:
        yield ("Entropy of the classes seen at one value [nats]", _REAL), found["class_entropy"]
    if "per_class" in found and found["per_class"]["metric"]:
        part = found["per_class"]
        yield (f"Mean over classes of {part['metric'].upper()}", _LESS), part
    for part in found.get("windows", []):
        if part["metric"]:
            yield (f"Mean over {part['axis']} windows of {part['metric'].upper()}", _LESS), part
    if "memorisation" in found:
        yield ("Nearer to a training image than 95 % of real ones", _CHANCE), {**found["memorisation"], "std": None}


def _cell(figure: Mapping[str, Any] | None, better: str, places: int) -> str:
    if figure is None or figure["value"] is None:
        return "—"
    if better == _CHANCE:
        return share(figure["value"])
    return unbroken(mean_and_deviation(figure["value"], figure["std"], places))


def _unit(unit: str) -> str:
    return f" [{unit}]" if unit else ""


def _label_plots(found: Mapping[str, Any]) -> list[Plot]:
    """Distances label by label: a dot a class, a curve along each continuous dimension."""
    sets = {key: made for key, made in found.get("compared", {}).items() if key in _COLOUR}
    plots = []
    classes = {key: made["per_class"] for key, made in sets.items() if made.get("per_class", {}).get("metric")}
    if classes:
        plots.append(_class_plot(classes))
    dimensions = max((len(made.get("windows", [])) for made in sets.values()), default=0)
    for place in range(dimensions):
        windows = {key: made["windows"][place] for key, made in sets.items() if made["windows"][place]["metric"]}
        if windows:
            plots.append(_window_plot(place, windows))
    return plots


def _class_plot(classes: Mapping[str, Mapping[str, Any]]) -> Plot:
    metric = _metric(classes)
    first = next(iter(classes.values()))
    names = [str(group["name"]) for group in first["groups"]]
    # Of many classes the worst of the first set are shown.
    order = sorted(range(len(names)), key=lambda row: -(first["groups"][row]["value"] or -np.inf))[:_MOST_CLASSES]
    order = sorted(order) if len(names) <= _MOST_CLASSES else order

    def paint(axes: Axes) -> None:
        for key, part in classes.items():
            values = [part["groups"][row]["value"] for row in order]
            points = [(value, -place) for place, value in enumerate(values) if value is not None]
            axes.plot(*np.array(points).T, "o", color=COLOURS[_COLOUR[key]], ms=5, mew=0, alpha=0.9)
        for place in range(len(order)):
            axes.axhline(-place, color=COLOURS["rule"], lw=0.6, zorder=0)
        axes.set_yticks([-place for place in range(len(order))], [_short(names[row]) for row in order])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.05)
        axes.set_ylim(0.7 - len(order), 0.7)
        axes.set_xlabel(f"{metric} (less is better)")

    spoken = f"{metric} of each class: " + "; ".join(_spoken(key, part) for key, part in classes.items())
    title = f"{metric} by class"
    if len(names) > _MOST_CLASSES:
        title += f", the {_MOST_CLASSES} worst of {len(names)}"
    height = 20 * len(order) + 60
    return Plot(title, draw("fidelity-classes", f"{spoken}.", paint, width=410, height=height), _legend(classes))


def _window_plot(place: int, windows: Mapping[str, Mapping[str, Any]]) -> Plot:
    metric, first = _metric(windows), next(iter(windows.values()))

    def paint(axes: Axes) -> None:
        for key, part in windows.items():
            points = [(group["centre"], group["value"]) for group in part["groups"] if group["value"] is not None]
            axes.plot(*np.array(points).T, "o-", color=COLOURS[_COLOUR[key]], ms=4, mew=0, alpha=0.9)
        axes.set_xlabel(f"{first['axis']}{_unit(first['unit'])}")
        axes.set_ylabel(f"{metric} (less is better)")

    radius = f"{first['radius']:.3g}{unit_words(first['unit'])}"
    spoken = f"{metric} along {first['axis']}: " + "; ".join(_spoken(key, part) for key, part in windows.items())
    return Plot(
        f"{metric} within ±{radius} of {first['axis']}",
        draw(f"fidelity-windows-{place}", f"{spoken}.", paint, width=410, height=240),
        _legend(windows),
    )


def _metric(parts: Mapping[str, Mapping[str, Any]]) -> str:
    return " and ".join(dict.fromkeys(part["metric"].upper() for part in parts.values()))


def _spoken(key: str, part: Mapping[str, Any]) -> str:
    return f"{key} images, mean {part['value']:.3g}"


def _legend(parts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((_COLOUR[key], key) for key in parts)


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _snapshot_plots(rows: Sequence[Mapping[str, Any]], kept: float | None) -> list[Plot]:
    """Distance and diversity of the generator's snapshots over its steps; the kept one is marked."""
    plots = []
    for key, title, wish in (
        ("distance", "Snapshots of the generator: joint kernel distance", "less is better"),
        ("diversity", "Snapshots of the generator: diversity within a label", "1 is as diverse as real"),
    ):
        points = np.array([(row["step"], row[key]) for row in rows if row.get(key) is not None], np.float64)
        if not len(points):
            continue

        def paint(axes: Axes, points: npt.NDArray[np.float64] = points, wish: str = wish, key: str = key) -> None:
            axes.plot(*points.T, "o-", color=COLOURS["series-2"], ms=4, mew=0)
            chosen = points[points[:, 0] == kept]
            axes.plot(*chosen.T, "o", color=ACCENT, ms=8, mew=0)
            if key == "diversity":
                axes.axhline(1, color=COLOURS["grey"], lw=1, ls=(0, (4, 3)))
            axes.set_xlabel("generator step")
            axes.set_ylabel(wish)

        spoken = f"{title} over {plural(len(points), 'snapshot')}, from {points[0, 1]:.3g} to {points[-1, 1]:.3g}"
        legend = (("series-1", f"kept: step {count(kept)}"),) if kept in points[:, 0] else ()
        svg = draw(f"snapshots-{key}", f"{spoken}.", paint, width=410, height=240)
        plots.append(Plot(title, svg, legend))
    return plots
