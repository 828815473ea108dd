"""Joins sets of images with labels into one, and finds images that would test what they trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.faults import printable
from data.identical_images import Rows, ids_of_images, leaking_rows, repeated_rows
from data.labels import Axis, LabelSpace
from data.quarantine import Quarantine
from data.reading import ImageSet, Selected
from data.schema import COLUMNS, KINDS
from data.untrusted import open_untrusted
from data.writing import write_parts

#: Columns that number rows of another set, which may be another one for each input.
_ROW_NUMBERS = frozenset(("first", "negative", "positive", "second"))
#: Kinds that can be joined: those of which every row is an image with its label, whatever other sets there are.
MERGEABLE = tuple(
    kind for kind, columns in KINDS.items() if {"images", "labels"} <= set(columns) and not _ROW_NUMBERS & set(columns)
)
_PARTS = ("training", "validation", "test")
_PAIRS_TOLD = 5


def merge_sets(
    paths: Sequence[Path | str],
    out: Path | str,
    *,
    license: str | None = None,
    shuffle_seed: int | None = 0,
    drop_duplicates: bool = False,
    drop_leaks: bool = False,
    drop_split: bool = False,
) -> dict[str, Any]:
    """Joins sets, verified and read a block of rows at a time, into one.

    The sets have one label space, except that the ranges of its axes may differ: the joined range spans them all. The
    joined set has the columns that all of them have. Its kind is theirs; of several kinds, it is the one that demands
    most of those columns (candidates and synthetic rows give candidates, either and samples give samples). Its
    ``source_row`` counts the rows of all inputs, one after another in the order of ``provenance["merged"]``.

    Args:
        paths: at least two files.
        out: the file to write, none of them.
        license: SPDX expression of the joined set; None takes that of the inputs, if they have one.
        shuffle_seed: shuffles all rows; None keeps their order.
        drop_duplicates: keeps one row of each image: of equal images the first, but of those in several parts of a
            split the first in the test, else in the validation part.
        drop_leaks: where equal images lie in different parts of the split of different inputs, leaves them out of
            training if they are in another part, and out of validation if they test. Such images are an error without.
        drop_split: joins sets of which some have a split and others none, into one without; an error without, as test
            rows would become training rows.

    Returns:
        JSON-ready: ``path``, ``kind``, ``rows``, ``license``, ``content_sha256``, ``inputs`` (rows and kept rows of
        each), ``left_out`` (columns that not all inputs have), ``identical_images`` (rows whose image an earlier row
        has), ``contradicting_labels`` (those of them with another label), ``dropped_leaks``, ``dropped_duplicates``.

    Raises:
        ConfigError: if fewer than two files are given, or ``out`` is one of them.
        DataError: naming the file that is damaged or does not fit, or the rows that leak.
    """
    places = [Path(path) for path in paths]
    if len(places) < 2:
        raise ConfigError(f"merge must join at least 2 sets, got {len(places)}; give another one.")
    if any(place.resolve() == Path(out).resolve() for place in places):
        raise ConfigError(f"merge must write a new file, got {out}, which is one of its inputs; name another.")
    with Quarantine() as quarantine:
        found = [open_untrusted(place, quarantine, verify=True) for place in places]
    _refuserepeated_rows(found)
    label_space = _joined_space(found)
    kind, names, left_out = _joined_columns(found)
    if "split" in left_out and not drop_split:
        lacking = next(item for item in found if "split" not in item.columns)
        raise DataError(
            f"{lacking.path}: has no split, which other sets have: rows that test would become rows like any; choose "
            "to drop the split (--drop-split), or give this set one."
        )
    spdx = _joined_license(found, license)
    images = ids_of_images([item.columns["images"] for item in found])
    sets = np.repeat(np.arange(len(found)), [len(item) for item in found])
    every = np.ones(len(images), bool)
    keep = every.copy()
    dropped_leaks = 0
    parts = np.concatenate([item.columns["split"] for item in found]) if "split" in names else None
    if parts is not None:
        leaking = _leaking_rows(found, images, sets, parts, drop=drop_leaks)
        keep[leaking] = False
        dropped_leaks = len(leaking)
    identical = np.flatnonzero(repeated_rows(images, every, None))
    if drop_duplicates:
        keep &= ~repeated_rows(images, keep, parts)
    starts = np.concatenate([[0], np.cumsum([len(item) for item in found])])
    chosen = [np.flatnonzero(keep[first:last]) for first, last in pairwise(starts)]
    columns = [
        {name: Selected(item.columns[name], rows) for name in names} | {"source_row": rows + start}
        for item, rows, start in zip(found, chosen, starts[:-1], strict=True)
    ]
    provenance = {
        "merged": [
            {
                "content_sha256": item.content_sha256,
                "kind": item.kind,
                "license": item.license,
                "provenance": _without_older(item.provenance),
                "rows": len(item),
                "kept": len(rows),
            }
            for item, rows in zip(found, chosen, strict=True)
        ],
        "shuffle_seed": shuffle_seed,
        "drop_duplicates": drop_duplicates,
        "drop_leaks": drop_leaks,
        "drop_split": drop_split,
    }
    digest = write_parts(Path(out), columns, kind, label_space, provenance, spdx, shuffle_seed)
    return {
        "path": str(out),
        "kind": kind,
        "rows": int(keep.sum()),
        "license": spdx,
        "content_sha256": digest,
        "inputs": [
            {"path": str(item.path), "rows": len(item), "kept": len(rows)}
            for item, rows in zip(found, chosen, strict=True)
        ],
        "left_out": left_out,
        "identical_images": len(identical),
        "contradicting_labels": _contradicting(found, images, identical),
        "dropped_leaks": dropped_leaks,
        "dropped_duplicates": int(len(keep) - keep.sum()) - dropped_leaks,
    }


def _without_older(provenance: dict[str, Any]) -> dict[str, Any]:
    """The history of an input; of a set that was joined itself, the digests of its inputs stand for their histories.

    Else the history would nest deeper with every merge, and a reader takes only so many levels.
    """
    if not isinstance(provenance.get("merged"), list):
        return provenance
    inputs = [
        {key: value for key, value in item.items() if key != "provenance"} if isinstance(item, dict) else item
        for item in provenance["merged"]
    ]
    return provenance | {"merged": inputs}


def _refuserepeated_rows(found: Sequence[ImageSet]) -> None:
    seen: dict[str, Path] = {}
    for item in found:
        if item.content_sha256 in seen:
            raise DataError(
                f"{item.path}: holds the same rows as {seen[item.content_sha256]} (content digest "
                f"{item.content_sha256[:12]}); give each set once."
            )
        seen[item.content_sha256] = item.path


def _joined_space(found: Sequence[ImageSet]) -> LabelSpace:
    first = found[0]
    for item in found[1:]:
        if _without_ranges(item.label_space) != _without_ranges(first.label_space):
            raise DataError(
                f"{item.path}: must have the label space of {first.path}, got {_difference(first, item)}; give sets "
                "that label the same thing, in the same order and units."
            )
    axes = [
        replace(
            axis,
            minimum=min(item.label_space.dimensions[number].minimum for item in found),
            maximum=max(item.label_space.dimensions[number].maximum for item in found),
        )
        for number, axis in enumerate(first.label_space.dimensions)
    ]
    joined = _with_ranges(first.label_space, axes)
    if first.label_space.kind in ("vector", "class+scalar"):
        for item in found:
            if item.label_space != joined and "teacher_error" in item.columns:
                raise DataError(
                    f"{item.path}: has teacher_error as a share of its label ranges, which differ from those of the "
                    "other sets; write it again with the ranges of the others, or without teacher_error."
                )
    return joined


def _with_ranges(space: LabelSpace, axes: Sequence[Axis]) -> LabelSpace:
    if space.kind == "class":
        return space
    if space.kind == "vector":
        return replace(space, axes=tuple(axes))
    return replace(space, minimum=axes[0].minimum, maximum=axes[0].maximum)


def _without_ranges(space: LabelSpace) -> dict[str, Any]:
    return {
        "kind": space.kind,
        "names": space.names,
        "axes": [(axis.name, axis.unit) for axis in space.dimensions],
    }


def _difference(first: ImageSet, other: ImageSet) -> str:
    here, there = first.label_space, other.label_space
    if here.kind != there.kind:
        return f"{there.kind} labels instead of {here.kind}"
    if here.classes != there.classes:
        return f"{there.classes} classes instead of {here.classes}"
    pairs = list(zip(here.names, there.names, strict=True)) + [
        (f"{a.name} ({a.unit or 'no unit'})", f"{b.name} ({b.unit or 'no unit'})")
        for a, b in zip(here.dimensions, there.dimensions, strict=False)
    ]
    ours, theirs = next(((a, b) for a, b in pairs if a != b), (str(len(here.axes)), f"{len(there.axes)} axes"))
    return f"'{printable(theirs)}' in the place of '{printable(ours)}'"


def _joined_columns(found: Sequence[ImageSet]) -> tuple[str, list[str], list[str]]:
    """Kind and columns of the joined set, without ``source_row``, and the columns that are left out."""
    for item in found:
        if item.kind not in MERGEABLE:
            raise DataError(
                f"{item.path}: must be of a kind whose rows are images with labels ({', '.join(MERGEABLE)}), got "
                f"'{item.kind}'; give the set that it belongs to."
            )
        shape = item.columns["images"].shape[1:]
        if shape != found[0].columns["images"].shape[1:]:
            raise DataError(
                f"{item.path}: images must have the shape {found[0].columns['images'].shape[1:]} of those in "
                f"{found[0].path}, got {shape}; make both sets at one image size."
            )
    shared = {name for name in COLUMNS if all(name in item.columns for item in found)}
    names = sorted(shared - _ROW_NUMBERS - {"source_row"})
    kinds = sorted({item.kind for item in found})
    fitting = [kind for kind in kinds if shared.issuperset(KINDS[kind])]
    if len(kinds) > 1 and "real" in kinds:
        # A real row and a generated one have no kind in common.
        fitting = []
    if not fitting:
        raise DataError(
            f"{found[-1].path}: sets of the kinds {', '.join(kinds)} have no kind in common; give sets of one kind."
        )
    everywhere = {name for item in found for name in item.columns}
    return max(fitting, key=lambda kind: len(KINDS[kind])), names, sorted(everywhere - {*names, "source_row"})


def _joined_license(found: Sequence[ImageSet], license: str | None) -> str:
    if license is not None:
        return license
    for item in found:
        if item.license != found[0].license:
            raise DataError(
                f"{item.path}: must have the license of {found[0].path}, '{printable(found[0].license)}', got "
                f"'{printable(item.license)}'; "
                "name the license of the joined set."
            )
    return found[0].license


def _leaking_rows(
    found: Sequence[ImageSet], images: Rows, sets: Rows, parts: npt.NDArray[np.uint8], *, drop: bool
) -> Rows:
    """Rows to leave out of training or validation, as their image is in a later part of another set's split."""
    leaking = leaking_rows(images, sets, parts)
    if not len(leaking) or drop:
        return leaking
    starts = np.concatenate([[0], np.cumsum([len(item) for item in found])])

    def told(row: int) -> str:
        return f"{found[sets[row]].path} row {row - starts[sets[row]]} ({_PARTS[parts[row]]})"

    def judge(row: int) -> int:
        return int(np.flatnonzero((images == images[row]) & (parts > parts[row]) & (sets != sets[row]))[0])

    pairs = [f"{told(row)} and {told(judge(row))}" for row in leaking[:_PAIRS_TOLD].tolist()]
    more = f" and {len(leaking) - _PAIRS_TOLD} more" if len(leaking) > _PAIRS_TOLD else ""
    raise DataError(
        f"{found[0].path}: {len(leaking)} images of a training or validation part are in a later part of another set, "
        f"which it would be judged by: {'; '.join(pairs)}{more}; choose to drop leaks (--drop-leaks), or split the "
        "sets alike."
    )


def _contradicting(found: Sequence[ImageSet], images: Rows, repeated: Rows) -> int:
    """How many of the rows have another label than the first row of their image."""
    labels = np.concatenate([item.columns["labels"] for item in found])
    differs = labels[repeated] != labels[images[repeated]]
    return int((differs if differs.ndim == 1 else differs.any(axis=1)).sum())
