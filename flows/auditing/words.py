"""What the audit found, in sentences: for the warnings of a run and for its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.reporting.wording import count, plural

if TYPE_CHECKING:
    from filters.audit.bound import Bound


def copy_verdicts(copies: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One sentence a part of the real set, and one for each part that shares images with the training part.

    Args:
        copies: what ``flows.auditing.copies.audit_copies`` returned.

    Returns:
        JSON-ready: ``part``, ``sentence``, and ``warn``, whether a person should be told during the run.
    """
    found = []
    for name, part in copies["parts"].items():
        alarming = part["more_than_control"] or (part["exact"] > 0 and name != "training")
        found.append({"part": name, "sentence": _copies(name, part), "warn": bool(alarming)})
    for name, part in copies["parts"].items():
        if part["repeated"]:
            sentence = (
                f"{count(part['repeated'])} of {plural(part['rows'], f'{name} image')} {_are(part['repeated'])} in the "
                "training part too, byte for byte: figures on them are too good; remove duplicates from the data."
            )
            found.append({"part": name, "sentence": sentence, "warn": True})
    return found


def _copies(name: str, part: Mapping[str, Any]) -> str:
    exact, compared, control = part["exact"], part["compared"], part["control"]
    number = "No synthetic image" if not exact else plural(exact, "synthetic image")
    whole = f"exact copies of {name} images" if exact > 1 else f"an exact copy of a {name} image"
    near = f"{count(compared['near'])} of {count(compared['images'])} compared {_are(compared['near'])} near to one"
    if control["images"]:
        other = "validation" if name == "training" else "training"
        near += f", of {plural(control['images'], f'{other} image')} {count(control['near'])} {_are(control['near'])}"
    if part["more_than_control"]:
        verdict = "more than chance gives, so look at the pairs"
    elif exact:
        verdict = "look at the copies"
    else:
        verdict = "no sign of copying" if control["images"] else "there is nothing to compare that with"
    return f"{number} {'are' if exact > 1 else 'is'} {whole}; {near}: {verdict}."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def advice(bound: Bound, noise: Mapping[str, Any], gap: Mapping[str, Any]) -> str:
    """Which term of the bound is largest, and what to work on.

    Args:
        bound: the three terms.
        noise: what ``label_noise`` returned.
        gap: the measured gap with its noise, or why it was not measured.
    """
    if bound.largest == "images":
        sentence = "The number of images limits most: "
        if bound.enough_synthetic:
            sentence += (
                f"{count(bound.effective)} of the {count(bound.reachable)} effective images that this share of real "
                "ones can reach are there, so more candidates would hardly help; label more real images, or lower "
                "distill.real_fraction"
            )
        else:
            sentence += "make more candidates a label (candidates.per_label), or keep more (synthetic.quantile)"
    elif bound.largest == "gap":
        others = max(bound.images, bound.labels)
        weight = (bound.gap or 0.0) / gap["value"]
        sure = weight * (gap["value"] - 2 * gap["error"]) > others
        sentence = (
            f"The distance between synthetic and real images {'limits' if sure else 'probably limits'} most: train the "
            "generator longer or larger, and the density ratio longer, or raise distill.real_fraction"
        )
    elif noise["teacher"] is None or noise["label_against_teacher"] >= noise["teacher"]:
        sentence = "Labels that the teacher disagrees with limit most: lower synthetic.quantile, or relabel the images"
    else:
        sentence = "The teacher's own errors limit most, as it judges the labels: train a better teacher"
    if gap["value"] is None:
        return f"{sentence}. {gap['reason']}"
    if gap["value"] <= gap["null_high"]:
        return f"{sentence}. The distance cannot be told from that of real images to each other."
    return f"{sentence}."
