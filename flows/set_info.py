"""What ``stillhouse data info`` prints for people: a set at a glance, its columns, and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.faults import printable
from data.labels import Axis, LabelSpace
from data.reading import ImageSet
from flows.reporting.wording import size

#: Classes up to which each has a line of its own.
_MOST_CLASSES = 40
#: Equal ranges in which rows with values are counted.
_RANGES = 6
_COLOURS = {1: "grey", 3: "colour"}


def info_text(found: ImageSet, description: Mapping[str, Any], source: str = "") -> str:
    """A set as a person reads it.

    Args:
        found: the set.
        description: from ``data.describing.describe_set``.
        source: what the real images before it are, where its own provenance does not tell.
    """
    blocks = [
        _facts(found, description, source),
        _columns(description["columns"]),
        _numbers(description["numbers"]),
        *_labels(found),
    ]
    # Names are of whoever made the file, and must not steer the terminal.
    return "\n\n".join("\n".join(map(printable, block)) for block in blocks if block)


def _facts(found: ImageSet, description: Mapping[str, Any], source: str) -> list[str]:
    """The file with its kind, and a line a fact."""
    provenance = description["provenance"]
    named = provenance.get("source")
    indexed = found.kind in ("groups", "mixes", "mixed")
    facts = {
        "rows": f"{len(found):,}",
        "size": size(description["file_bytes"]),
        "images": _pictures(description["images"]),
        "compared": _groups(found),
        "mixed": f"by {provenance.get('kind')}, of two rows each" if found.kind in ("mixes", "mixed") else "",
        "of the set": str(provenance.get("of") or "") if indexed else "",
        "labels": _meaning(found.label_space),
        "parts": ", ".join(f"{count:,} {name}" for name, count in (description["split"] or {}).items()),
        "teacher": _agreement(description["teacher"], found.label_space),
        "license": found.license,
        "source": str(named.get("name", "")) if isinstance(named, Mapping) else source,
        "homepage": str(provenance.get("homepage") or ""),
        "provenance": ", ".join(sorted(map(str, provenance))) + " (--json tells all)" if provenance else "",
        "content": f"SHA-256 {found.content_sha256}",
    }
    width = max(map(len, facts))
    head = f"{found.path}: a set of kind '{found.kind}', format version {description['format_version']}"
    return [head, *(f"  {name:{width}}  {told}" for name, told in facts.items() if told)]


def _pictures(images: Mapping[str, Any] | None) -> str:
    if images is None:
        return ""
    colours = _COLOURS.get(images["channels"], f"{images['channels']} channels")
    told = f"{images['width']} x {images['height']} pixels (width x height), {colours}"
    if "mean" not in images:
        return told
    means = ", ".join(f"{mean:.0f}" for mean in images["mean"])
    return f"{told}, levels {images['minimum']} to {images['maximum']} with mean {means}"


def _agreement(teacher: Mapping[str, Any] | None, space: LabelSpace) -> str:
    """How far the teacher's outputs are from the labels."""
    if teacher is None:
        return ""
    told = [f"{teacher['outputs']} outputs a row"]
    if "same_class" in teacher:
        told.append(f"its class is that of the row in {100 * teacher['same_class']:.1f} %")
    for axis in space.dimensions:
        if axis.name in teacher.get("mean_absolute_difference", {}):
            apart = f"{teacher['mean_absolute_difference'][axis.name]:.3g} {axis.unit}".strip()
            told.append(f"its {axis.name} is {apart} off on average")
    return ", ".join(told)


def _groups(found: ImageSet) -> str:
    sizes = [found.columns[name].shape[1] for name in ("positive", "negative") if name in found.columns]
    return f"{sizes[0]} with {sizes[1]} rows in each comparison" if len(sizes) == 2 else ""


def _meaning(space: LabelSpace) -> str:
    """What labels mean, in words."""
    classes, values = f"{space.classes} classes", ", ".join(_axis(axis) for axis in space.dimensions)
    return " with ".join(part for part in (classes if space.has_classes else "", values) if part)


def _axis(axis: Axis) -> str:
    return f"{axis.name} from {axis.minimum:g} to {axis.describe(axis.maximum)}"


def _columns(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        (name, column["dtype"], " x ".join(map(str, column["shape"])), size(column["bytes"]))
        for name, column in columns.items()
    ]
    return _table(("column", "type", "shape", "size"), rows)


def _numbers(numbers: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = ("minimum", "mean", "maximum")
    rows = [(name, *(f"{told[key]:.4g}" for key in names)) for name, told in numbers.items() if told]
    return _table(("number", *names), rows) if rows else []


def _labels(found: ImageSet) -> list[list[str]]:
    """A table of the classes, and one a continuous dimension; of what was asked for where there are no labels."""
    name = next((name for name in ("labels", "condition") if name in found.columns), None)
    if name is None or not len(found):
        return []
    space, labels = found.label_space, np.asarray(found.columns[name])
    tables = [_classes(space, labels)] if space.has_classes else []
    values = space.continuous_part(labels)
    return [*tables, *(_ranges(axis, values[:, place]) for place, axis in enumerate(space.dimensions))]


def _classes(space: LabelSpace, labels: npt.NDArray[Any]) -> list[str]:
    counts = np.bincount(space.class_part(labels), minlength=space.classes)
    if space.classes > _MOST_CLASSES:
        least, most = int(counts.argmin()), int(counts.argmax())
        return [
            f"{space.classes} classes with {counts[least]:,} ('{space.names[least]}') to {counts[most]:,} "
            f"('{space.names[most]}') rows; --json tells all."
        ]
    rows = [(str(number), name, f"{counts[number]:,}") for number, name in enumerate(space.names)]
    return _table(("class", "name", "rows"), rows)


def _ranges(axis: Axis, values: npt.NDArray[np.float64]) -> list[str]:
    edges = np.linspace(axis.minimum, axis.maximum, _RANGES + 1)
    counts = np.histogram(values, edges)[0]
    rows = [
        (f"{low:.4g} to {high:.4g}", f"{count:,}") for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    name = f"{axis.name} [{axis.unit}]" if axis.unit else axis.name
    return _table((name, "rows"), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns; the last one, of numbers, to the right."""
    widths = [max(len(row[place]) for row in (titles, *rows)) for place in range(len(titles))]
    lines = []
    for row in (titles, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("  ".join([*cells, row[-1].rjust(widths[-1])]))
    return lines
