"""What happened to the generated images: drawn, accepted by density ratio, kept by the teacher."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from data.reading import ImageSet, open_set
from flows.reporting.drawing import Plot, bin_edges
from flows.reporting.filtering import error_title, filter_of, passed
from flows.reporting.grids import Pictures, describe_label
from flows.reporting.inputs import ReportInputs
from flows.reporting.plots import error_plot, ratio_plot
from flows.reporting.sampling import is_subsampled, outcome_words
from flows.reporting.wording import count, plural, share, unit_words

_MOST_SCALAR_ROWS = 12
_MOST_PANELS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelRow:
    """Counts of one class or value, or of a range of values; None where the run has no such stage.

    ``outcome`` tells how its labels came to their images, where that was not by rejection alone.
    """

    label: str
    drawn: int | None
    accepted: int | None
    effective: float | None
    bound: str
    candidates: int
    kept: int | None
    outcome: str = ""

    @property
    def acceptance(self) -> float | None:
        """Accepted share of the draws."""
        return self.accepted / self.drawn if self.accepted is not None and self.drawn else None

    @property
    def kept_share(self) -> float | None:
        """Kept share of the candidates."""
        return self.kept / self.candidates if self.kept is not None and self.candidates else None


class Samples:
    """The image sets of a run, opened; each is None where the run has no such file."""

    def __init__(self, inputs: ReportInputs) -> None:
        self.real = _open(inputs, "prepare", "real.h5")
        self.candidates = _open(inputs, "candidates", "candidates.h5")
        self.draws = _open(inputs, "candidates", "draws.h5")
        self.examples = _open(inputs, "candidates", "examples.h5")
        self.synthetic = _open(inputs, "synthetic", "synthetic.h5")
        self.sampling: Sequence[Mapping[str, Any]] = _json(inputs, "candidates", "sampling.json").get("labels", [])
        self.subsampled = is_subsampled(inputs)
        self.selection = _json(inputs, "synthetic", "selection.json")
        self.ratio_fault: str | None = _json(inputs, "ratio", "diagnostics.json").get("fault")

    @property
    def space(self) -> LabelSpace | None:
        """The label space of the real set, or of the candidates."""
        known = (opened.label_space for opened in (self.real, self.candidates) if opened is not None)
        return next((space for space in known if space is not None), None)

    @property
    def kept(self) -> npt.NDArray[np.bool_] | None:
        """(N,) whether each candidate is in the synthetic set."""
        if self.candidates is None or self.synthetic is None or "source_row" not in self.synthetic.columns:
            return None
        kept = np.zeros(len(self.candidates), bool)
        kept[np.asarray(self.synthetic.columns["source_row"])] = True
        return kept

    def split_rows(self, split: int) -> int:
        """Number of real images in the training (0), validation (1) or test (2) split."""
        return 0 if self.real is None else int(np.sum(np.asarray(self.real.columns["split"]) == split))


def _open(inputs: ReportInputs, stage: str, name: str) -> ImageSet | None:
    path = inputs.file(stage, name)
    return None if path is None else open_set(path)


def _json(inputs: ReportInputs, stage: str, name: str) -> dict[str, Any]:
    path = inputs.file(stage, name)
    return {} if path is None else dict(json.loads(path.read_text(encoding="utf-8")))


def _labels(opened: ImageSet) -> Floats:
    name = "condition" if "condition" in opened.columns else "labels"
    return np.asarray(opened.columns[name], np.float64)


def _pictures(opened: ImageSet, chosen: npt.NDArray[np.bool_] | None, title: str, note: str) -> Pictures:
    rows = np.arange(len(opened)) if chosen is None else np.flatnonzero(chosen)
    return Pictures(title, note, _labels(opened)[rows], rows, lambda wanted: opened.take("images", wanted))


def picture_pools(samples: Samples) -> list[Pictures]:
    """What the grids show: real, raw, kept, rejected by density ratio, dropped by the teacher."""
    pools = []
    if samples.real is not None:
        train = np.asarray(samples.real.columns["split"]) == 0
        pools.append(_pictures(samples.real, train, "Real", plural(int(train.sum()), "training image")))
    if samples.examples is not None:
        drawn = len(samples.draws) if samples.draws is not None else len(samples.examples)
        pools.append(_pictures(samples.examples, None, "Raw", f"as drawn, of {plural(drawn, 'draw')}"))
    if samples.synthetic is not None and "images" in samples.synthetic.columns:
        of = "" if samples.candidates is None else f" of {plural(len(samples.candidates), 'candidate')}"
        pools.append(_pictures(samples.synthetic, None, "Kept", f"{count(len(samples.synthetic))}{of}"))
    if samples.examples is not None:
        rejected = np.asarray(samples.examples.columns["accepted"]) == 0
        pools.append(_pictures(samples.examples, rejected, "Rejected by density ratio", "unlikely under the real data"))
    if samples.candidates is not None and samples.kept is not None:
        dropped = ~passed(samples.candidates, samples.selection, samples.kept)
        note = f"the teacher disagrees: {plural(int(dropped.sum()), 'candidate')}"
        pools.append(_pictures(samples.candidates, dropped, "Dropped by the teacher", note))
    return pools


def density_plot(samples: Samples) -> Plot | None:
    """Histogram of the density ratio of all draws."""
    if samples.draws is None:
        return None
    ratios = np.asarray(samples.draws.columns["density_ratio"], np.float64)
    if ratios.size and np.all(ratios == ratios[0]):
        # Without subsampling every ratio is 1, and there is nothing to see.
        return None
    accepted = np.asarray(samples.draws.columns["accepted"]) == 1
    return ratio_plot(ratios, accepted, _numbers(samples.sampling, "bound"))


def teacher_plots(samples: Samples) -> list[Plot]:
    """Histograms of the teacher's error: of all candidates, then one a class where each has its own threshold."""
    kept, space = samples.kept, samples.space
    if samples.candidates is None or kept is None or space is None:
        return []
    errors = np.asarray(filter_of(samples.candidates, samples.selection).errors, np.float64)
    finite = np.isfinite(errors)
    errors, kept, labels = errors[finite], kept[finite], _column(_labels(samples.candidates), 0)[finite]
    if not errors.size:
        return []
    edges = bin_edges(errors, 30)
    thresholds = list(samples.selection.get("thresholds", []))
    limits = _numbers(thresholds, "threshold")
    legend = _error_legend(samples.selection.get("quantile"), limits)
    plots = [error_plot("teacher-error", error_title(samples.selection), errors, kept, limits, legend, edges=edges)]
    if samples.selection.get("scope") != "per_class" or not space.classes <= _MOST_PANELS:
        return plots
    for label, name in enumerate(space.names):
        mine, key = labels == label, f"teacher-error-{label}"
        limits = _numbers([entry for entry in thresholds if entry.get("label") in (label, name)], "threshold")
        plots.append(error_plot(key, name, errors[mine], kept[mine], limits, (), edges=edges, small=True))
    return plots


def _error_legend(quantile: float | None, limits: Floats) -> tuple[tuple[str, str], ...]:
    text = "threshold" if np.unique(limits).size < 2 else "threshold (range over labels)"
    text += "" if quantile is None else f", quantile {quantile:g}"
    return ("grey", "all candidates"), ("series-1", "kept"), ("series-2", text)


def label_parts(space: LabelSpace) -> list[tuple[str, LabelSpace]]:
    """What labels are counted by, as title and label space of that part: the label, or its class and its values."""
    if space.kind in ("class", "scalar"):
        return [("By label", space)]
    parts = [("By class", LabelSpace("class", space.names))] if space.has_classes else []
    for axis in space.dimensions:
        scalar = LabelSpace("scalar", (), axis.name, axis.unit, axis.minimum, axis.maximum)
        parts.append((f"By {axis.name}", scalar))
    return parts


def label_tables(samples: Samples) -> list[tuple[str, list[LabelRow]]]:
    """A table of counts, with its title, for every part of a label; none without candidates."""
    if samples.space is None or samples.candidates is None:
        return []
    return [(title, label_rows(samples, part)) for part, (title, _) in enumerate(label_parts(samples.space))]


def label_rows(samples: Samples, part: int = 0) -> list[LabelRow]:
    """A table of counts: one row a class, or one a range of at most twelve ranges of values.

    Args:
        samples: the sets of a run.
        part: which part of the label, as ``label_parts`` numbers them.
    """
    if samples.space is None or samples.candidates is None:
        return []
    space = label_parts(samples.space)[part][1]
    labels, kept = _column(_labels(samples.candidates), part), samples.kept
    drawn_labels = _column(np.array([entry["label"] for entry in samples.sampling], np.float64), part)
    names, places = _bins(space, np.unique(np.concatenate([drawn_labels, np.unique(labels)])))
    rows = []
    for index, name in enumerate(names):
        mine = places(labels) == index
        chosen = places(drawn_labels) == index
        entries = [entry for entry, is_mine in zip(samples.sampling, chosen, strict=True) if is_mine]
        rows.append(
            LabelRow(
                label=name,
                drawn=_total(entries, "drawn"),
                accepted=_total(entries, "accepted"),
                effective=_total(entries, "effective_sample_size"),
                bound=_range(_numbers(entries, "bound")),
                candidates=int(mine.sum()),
                kept=None if kept is None else int(kept[mine].sum()),
                outcome=outcome_words(entries) if samples.subsampled else "",
            )
        )
    return rows


def _column(labels: Floats, part: int) -> Floats:
    return labels[:, part] if labels.ndim == 2 else labels


def _bins(space: LabelSpace, labels: Floats) -> tuple[list[str], Any]:
    """Names of the rows, and the function that maps labels to row numbers."""
    if space.kind == "class" or labels.size <= _MOST_SCALAR_ROWS:
        names = [describe_label(space, label) for label in labels]
        middles = (labels[1:] + labels[:-1]) / 2
        return names, lambda values: np.digitize(values, middles)
    edges = np.linspace(labels.min(), labels.max(), _MOST_SCALAR_ROWS + 1)
    unit = unit_words(space.unit)
    names = [f"{low:.3g} to {high:.3g}{unit}" for low, high in pairwise(edges)]
    return names, lambda values: np.digitize(values, edges[1:-1])


def _numbers(entries: Sequence[Mapping[str, Any]], name: str) -> Floats:
    return np.array([float(entry[name]) for entry in entries if entry.get(name) is not None], np.float64)


def funnel(rows: Sequence[LabelRow], passed: int | None = None) -> str:
    """How many images were drawn, accepted and kept, in one sentence; empty if nothing is known of it.

    Args:
        rows: the counts of each label.
        passed: candidates that passed the filter, where not all of them were taken (``synthetic.count``).
    """
    drawn, accepted, candidates, kept = (
        sum(value or 0 for value in values)
        for values in (
            [row.drawn for row in rows],
            [row.accepted for row in rows],
            [row.candidates for row in rows],
            [row.kept for row in rows],
        )
    )
    parts = []
    if drawn:
        parts.append(f"{count(drawn)} images were drawn and {count(accepted)} accepted ({share(accepted / drawn)})")
    if candidates and rows[0].kept is not None and passed is not None and passed > kept:
        parts.append(
            f"of {plural(candidates, 'candidate')}, {count(passed)} passed the teacher's filter "
            f"({share(passed / candidates)}), and {count(kept)} of these were taken (synthetic.count)"
        )
    elif candidates and rows[0].kept is not None:
        parts.append(f"of {plural(candidates, 'candidate')}, {count(kept)} were kept ({share(kept / candidates)})")
    return "; ".join(parts)


def _total(entries: Sequence[Mapping[str, Any]], name: str) -> int | None:
    numbers = _numbers(entries, name)
    return round(float(numbers.sum())) if numbers.size else None


def _range(values: Floats) -> str:
    if not values.size:
        return "—"
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"
