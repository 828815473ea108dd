"""The data card as Markdown (after Gebru et al., 2021, and Pushkarna et al., 2022): what a stranger asks of a set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.exporting.about import About, description_of, source_of, title_of
from data.exporting.citations import cite_set, papers_of
from data.exporting.label_tables import label_tables, space_in_words
from data.exporting.licenses import license_urls
from data.exporting.markdown import code, fenced, grid, plain, table
from data.exporting.meanings import meaning_of
from data.exporting.rows import rows_by_split
from data.foreign import UNKNOWN_LICENSE
from data.reading import ImageSet

_SYNTHETIC = ("candidates", "examples", "samples", "synthetic")


def card_text(found: ImageSet, about: About, loading: str, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The card of a set, the same text for the same input.

    Args:
        found: any set.
        about: what is told of it beyond its file.
        loading: Markdown that shows how it is opened in the form that the card goes with.
        pictures: name and description of picture files beside the card.
    """
    shown = [f"![{plain(words)}]({name})" for name, words in pictures]
    parts = [
        f"# {plain(title_of(found, about))}",
        plain(description_of(found, about)),
        *shown[:1],
        "## At a glance\n\n" + table(_facts(found, about)),
        "## Loading\n\n" + loading,
        "## Labels\n\n" + "\n\n".join([*label_tables(found), *shown[1:]]),
        "## Columns\n\n" + _columns(found),
        "## How it was made\n\n" + _making(found, about),
        "## Intended use and limits\n\n" + _limits(found, about),
        "## Licence\n\n" + _license(found),
        "## Citation\n\n" + _citation(found, about),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(found: ImageSet, about: About) -> dict[str, str]:
    rows = {"kind": found.kind, "rows": f"{len(found):,}"}
    if "images" in found.columns:
        channels, height, width = found.columns["images"].shape[1:]
        colours = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
        rows["images"] = f"{height} x {width} pixels, {colours}, 8 bits"
    if "split" in found.columns:
        rows["splits"] = ", ".join(f"{name} {len(chosen):,}" for name, chosen in rows_by_split(found).items())
    rows["labels"] = space_in_words(found.label_space)
    size = sum(values.nbytes for values in found.columns.values())
    rows["size"] = f"{size:,} bytes in {len(found.columns)} columns"
    rows["version"] = about.version
    for name, value in (
        ("creators", ", ".join(about.creators)),
        ("publisher", about.publisher),
        ("published", about.published),
        ("page", about.url),
        ("source", source_of(found, about)),
        ("homepage of the source", _homepage(found, about)),
    ):
        if value:
            rows[name] = value
    rows["licence"] = found.license
    rows["content (SHA-256)"] = found.content_sha256
    return rows


def _homepage(found: ImageSet, about: About) -> str:
    told = [step.facts["homepage"] for step in about.history if "homepage" in step.facts]
    return str(found.provenance.get("homepage", told[0] if told else ""))


def _columns(found: ImageSet) -> str:
    lines = [
        [
            f"`{name}`",
            values.dtype.name,
            " x ".join(f"{size:,}" for size in values.shape),
            meaning_of(found, name),
            _range(values),
        ]
        for name, values in sorted(found.columns.items())
    ]
    return grid(["column", "type", "shape", "meaning", "range"], lines, code=(0, 3))


def _range(values: npt.NDArray[Any]) -> str:
    # Images are the one column that is not read for its range: that would read the whole file.
    if values.ndim > 2 or not values.size:
        return "0 to 255" if values.dtype == np.uint8 else ""
    return (
        f"{values.min():.4g} to {values.max():.4g}" if values.dtype.kind == "f" else f"{values.min()} to {values.max()}"
    )


def _making(found: ImageSet, about: About) -> str:
    parts = []
    for number, step in enumerate(about.history, 1):
        parts.append(f"**{number}. {plain(step.title)}**\n\n" + table(step.facts))
    thresholds = _thresholds(found)
    if thresholds:
        parts.append(thresholds)
    told = dict(_flat(found.provenance))
    text = table(told) if told else "Nothing is recorded."
    parts.append(
        "What the file itself records (names of 64 digits are fingerprints of what it was made from):\n\n" + text
    )
    return "\n\n".join(parts)


def _thresholds(found: ImageSet) -> str:
    """What the teacher's filter kept, where a set has been through it."""
    told = found.provenance
    if found.kind != "synthetic" or not {"quantile", "kept", "of", "scope"} <= set(told):
        return ""
    kept, of = told["kept"], told["of"]
    share = f" ({kept / of:.1%})" if isinstance(kept, int) and isinstance(of, int) and of else ""
    errors = found.columns.get("teacher_error")
    largest = (
        f" The largest teacher error in the set is {errors.max():.4g}." if errors is not None and len(errors) else ""
    )
    scope = plain(str(told["scope"]).replace("_", " "))
    how = f"those whose error lies within the quantile {plain(str(told['quantile']))} of all candidates ({scope})"
    if told.get("error") == "none":
        how = (
            f"a share of {plain(str(told['quantile']))}, at random, as a measure of what the teacher's choice is worth"
        )
    relabel = str(told.get("relabel", "none"))
    labels = "Labels are the conditions." if relabel == "none" else f"Labels were changed: `{code(relabel)}`."
    kept, of = plain(str(kept)), plain(str(of))
    return f"The filter kept {kept} of {of} candidates{share}: {how}.{largest} {labels}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, item in sorted(value.items()):
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{name}.")
        else:
            text = "none" if item is None else str(item)
            yield f"{prefix}{name}", text if len(text) <= 300 else text[:299] + "…"


def _limits(found: ImageSet, about: About) -> str:
    source = f" ({source_of(found, about)})" if source_of(found, about) else ""
    lines = []
    if found.kind in _SYNTHETIC:
        lines += [
            "- The images are made by a network. They are meant for training other networks, above all for distilling "
            "a teacher into a smaller student, and not for measuring any: measure on real images.",
            f"- They show what the generator has learnt from real images{source}, with the gaps and biases of these, "
            "and with those of the teacher where it chose or labelled them. Some may be close to a training image.",
            "- Nobody has looked at the labels: a label is what the generator was asked for, or what the teacher said.",
        ]
    elif found.kind == "real":
        lines += [
            "- Train on the training rows, choose on the validation rows, and read the test rows once, at the end.",
            "- The images are the source's own, perhaps resized; whatever its authors say of their use holds here too.",
        ]
    elif found.kind == "mixed":
        lines.append(
            "- Each image is mixed of two training images: it is meant for training only, with both labels in their "
            "shares (`coefficient` of `labels`, the rest of `other_labels`); `labels` alone is only the first of them."
        )
    elif found.kind in ("groups", "mixes", "answers"):
        lines.append(
            "- The rows are about the images of another set, which `provenance` names; they are of no use alone."
        )
    if found.label_space.dimensions:
        lines.append("- Nothing is known outside the range of the values above.")
    if found.label_space.has_classes:
        lines.append("- There are no images of anything but the classes above.")
    return "\n".join(lines) or "- None are known."


def _license(found: ImageSet) -> str:
    if found.license == UNKNOWN_LICENSE:
        return "Nobody has said under which licence the set may be used (`NOASSERTION`); ask before you share it."
    urls = license_urls(found.license)
    links = "" if urls == [found.license] else " (" + ", ".join(f"<{url}>" for url in urls) + ")"
    return (
        f"`{code(found.license)}`{links}, as an SPDX expression. For generated images it is the licence of the real "
        "images behind them; whether it holds for them is a question of your law."
    )


def _citation(found: ImageSet, about: About) -> str:
    text = f"```bibtex\n{fenced(cite_set(found, about))}\n```"
    papers = papers_of(found, about)
    if papers:
        text += "\n\nWhat it rests on:\n\n```bibtex\n" + "\n\n".join(papers) + "\n```"
    return text
