"""The filter as a configuration asks for it, over a set of candidates: which rows it keeps, and with which labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, StageError
from data.labels import LabelSpace
from data.schema import blocks
from filters.amount import even_rows, even_sizes
from filters.relabelling import Relabelling, check_relabelling, relabel
from filters.teacher_filter import (
    ErrorKind,
    Floats,
    Scope,
    check_error,
    check_scope,
    kept_rows,
    teacher_error,
    thresholds,
)
from flows.filter_config import Synthetic
from flows.label_bins import Groups, label_groups, label_windows

if TYPE_CHECKING:
    from data.reading import ImageSet

Rows = npt.NDArray[np.int64]

#: What ``relabel: auto`` stands for: a class is kept, a value becomes the teacher's.
_RELABEL: dict[str, Relabelling] = {"class": "none", "scalar": "hard", "vector": "hard", "class+scalar": "values"}


def scope_of(options: Synthetic, space: LabelSpace) -> Scope:
    """Where the quantile is taken.

    Raises:
        ConfigError: if labels of this space have no such groups.
    """
    if options.scope == "auto":
        return "per_class" if space.has_classes else "global"
    check_scope(space, options.scope)
    return options.scope


def relabelling_of(options: Synthetic, space: LabelSpace) -> Relabelling:
    """What becomes of the labels.

    Raises:
        ConfigError: if it does not fit the labels.
    """
    if options.relabel == "auto":
        return _RELABEL[space.kind]
    check_relabelling(space, options.relabel)
    return options.relabel


def error_of(options: Synthetic, space: LabelSpace) -> ErrorKind:
    """What counts as the teacher's error.

    Raises:
        ConfigError: if it does not fit the labels.
    """
    check_error(space, options.error)
    return options.error


def check_filter(options: Synthetic, space: LabelSpace) -> None:
    """Checks error, scope and relabelling against the labels, and that something will be kept, before anything trains.

    Raises:
        ConfigError: naming the key, and what fits.
        StageError: if the quantile is 0.
    """
    if options.quantile == 0:
        raise StageError("synthetic: quantile 0 keeps no candidate at all; raise synthetic.quantile.")
    if isinstance(options.count, int) and options.count < space.classes:
        raise ConfigError(
            f"synthetic.count must be at least the number of classes, {space.classes}, got {options.count}."
        )
    for key, check in (("error", error_of), ("scope", scope_of), ("relabel", relabelling_of)):
        try:
            check(options, space)
        except ConfigError as error:
            raise ConfigError(f"synthetic.{key}: {error}") from error


@dataclass(frozen=True)
class CandidateFilter:
    """The teacher's filter over the candidates of a run; it reads their scores and never their images.

    Args:
        candidates: the set.
        options: section ``synthetic``; its quantile and count are arguments of the methods, as they may be auto.

    Raises:
        ConfigError: if the options do not fit the labels.
    """

    candidates: ImageSet
    options: Synthetic

    @property
    def space(self) -> LabelSpace:
        """Space of the labels."""
        return self.candidates.label_space

    @cached_property
    def scope(self) -> Scope:
        """Where the quantile is taken."""
        return scope_of(self.options, self.space)

    @cached_property
    def relabelling(self) -> Relabelling:
        """What becomes of the labels."""
        return relabelling_of(self.options, self.space)

    @cached_property
    def condition(self) -> npt.NDArray[Any]:
        """The labels that the images were made for, (N, ...)."""
        return np.asarray(self.candidates.columns["condition"])

    @cached_property
    def errors(self) -> Floats:
        """The teacher's error of every candidate, (N,)."""
        kind = error_of(self.options, self.space)
        if kind == "auto":
            return np.asarray(self.candidates.columns["teacher_error"])
        seeds = self.candidates.columns["seed"]
        return self._in_blocks(
            np.arange(len(self.candidates)),
            lambda rows, outputs: teacher_error(outputs, self.condition[rows], self.space, kind, seeds[rows]),
        )

    @cached_property
    def groups(self) -> tuple[Groups, list[str]]:
        """Class, bin or cell of every candidate, (N,), and the groups in words; those of the thresholds."""
        make = label_windows if self.scope == "per_window" else label_groups
        return make(self.condition, self.space, self.options.windows)

    def keep(self, quantile: float) -> tuple[Rows, npt.NDArray[np.float64]]:
        """The candidates under the quantile of the error.

        Returns:
            Their row numbers, rising, and the threshold of each group, (G,).

        Raises:
            StageError: if nothing, or nothing of some class, is kept.
        """
        groups, names = self.groups
        limits, kept = np.full(len(names), -np.inf), np.zeros(0, np.int64)
        if quantile > 0:
            limits = thresholds(self.errors, groups, len(names), quantile, self.scope)
            kept = np.flatnonzero(kept_rows(self.errors, groups, limits))
        lost = self._lost_classes(kept)
        if not len(kept) or lost:
            what = f"no candidate of {', '.join(lost)}" if len(kept) else "no candidate at all"
            scope = "per_class" if self.space.has_classes else "per_window"
            other = f", or set synthetic.scope to {scope}" if self.scope != scope else ""
            raise StageError(
                f"synthetic: quantile {quantile:g} ({self.scope}) keeps {what}; raise synthetic.quantile{other}."
            )
        return kept, limits

    def take(self, kept: Rows, count: int | None) -> Rows:
        """So many of the kept candidates, evenly over classes, and over the windows of each; all for None.

        Within a window those with the smallest row number are taken: candidates are shuffled already.

        Raises:
            StageError: if some class gets none.
        """
        if count is None or count >= len(kept):
            return kept
        labels = self.condition[kept]
        windows, names = label_windows(labels, self.space, self.options.windows)
        classes = self.space.class_part(labels) if self.space.has_classes else np.zeros(len(kept), np.int64)
        parts = []
        for number, size in enumerate(even_sizes(np.bincount(classes), count).tolist()):
            mine = np.flatnonzero(classes == number)
            parts.append(mine[even_rows(windows[mine], len(names), size)])
        taken = kept[np.sort(np.concatenate(parts))]
        lost = self._lost_classes(taken)
        if lost:
            raise StageError(
                f"synthetic: count {count} leaves no image of {', '.join(lost)}; "
                f"set synthetic.count to {self.space.classes} or more."
            )
        return taken

    def labels(self, rows: Rows) -> npt.NDArray[Any]:
        """The labels that students see of some candidates, (n, ...)."""
        return self._in_blocks(
            rows, lambda block, outputs: relabel(self.condition[block], outputs, self.space, self.relabelling)
        )

    def _lost_classes(self, rows: Rows) -> list[str]:
        """Classes that have candidates, but none of these rows."""
        if not self.space.has_classes:
            return []
        classes = self.space.class_part(self.condition)
        there, left = (np.bincount(part, minlength=self.space.classes) for part in (classes, classes[rows]))
        return [self.space.names[number] for number in np.flatnonzero((there > 0) & (left == 0))]

    def _in_blocks(self, rows: Rows, make: Callable[[Rows, Floats], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """A function of rows and the teacher's outputs for them, computed block by block."""
        outputs = self.candidates.columns["teacher_outputs"]
        return np.concatenate([make(rows[start:stop], outputs[rows[start:stop]]) for start, stop in blocks(len(rows))])
