"""The report's section on the audit: what limits the students, label noise, balance, and copies with pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.reporting.audit_copies import Part, copied_parts
from flows.reporting.audit_plots import balance_plots, terms_plot
from flows.reporting.drawing import Plot
from flows.reporting.inputs import ReportInputs
from flows.reporting.samples import Samples
from flows.reporting.wording import count, share, unbroken, unit_words

_MOST_MISSING = 8

TableRow = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class AuditSection:
    """All that the section shows; a row of a table is its name and a cell a column.

    Args:
        advice: which term to work on.
        copies: the verdict on copies, a sentence each.
        terms: the three terms beside those of a student alone.
        measured: how the terms were measured, in sentences.
        noise: label noise as generated, as students see it, and of the teacher on validation images.
        classes: the same by class; empty where labels have none.
        noise_note: what the noise is estimated to be.
        balance: how even the labels are, in words.
        balance_plots: of the labels, and of the bins of each value where labels have several parts.
        parts: training, validation and test images, as far as the run has them.
        near: how near is near.
    """

    advice: str
    copies: tuple[str, ...]
    terms: Plot
    measured: tuple[str, ...]
    noise: tuple[TableRow, ...]
    classes: tuple[TableRow, ...]
    noise_note: str
    balance: str
    balance_plots: tuple[Plot, ...]
    parts: tuple[Part, ...]
    near: str


def audit_section(inputs: ReportInputs) -> AuditSection | None:
    """The section of a run; None if the stage was not part of it."""
    path = inputs.file("audit", "audit.json")
    if path is None:
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return AuditSection(
        advice=unbroken(found["advice"]),
        copies=tuple(_copies(found)),
        terms=terms_plot(found),
        measured=tuple(unbroken(sentence) for sentence in _measured(found)),
        noise=tuple(_noise_rows(found["noise"])),
        classes=tuple(_class_rows(found["noise"])),
        noise_note=unbroken(_noise_note(found["noise"])),
        balance=unbroken(_balance(found["balance"])),
        balance_plots=tuple(balance_plots(found["balance"])),
        parts=copied_parts(found["copies"], Samples(inputs)),
        near=unbroken(_near(found)),
    )


def _copies(found: Mapping[str, Any]) -> list[str]:
    """What a person should be told; the sentence on training images where there is nothing of the kind."""
    verdicts = found["verdicts"]
    told = [verdict for verdict in verdicts if verdict["warn"]] or verdicts[:1]
    return [unbroken(verdict["sentence"]) for verdict in told]


def _near(found: Mapping[str, Any]) -> str:
    made, distinct = found["rows"]["synthetic"], found["copies"]["distinct"]
    sentence = (
        "Distances are root mean square differences of the pixels in grey levels, medians over the images. A synthetic "
        "image is near if its nearest real image is less than half as far from it as from the next image of the same "
        "part. Control: real images of another part; where labels lie densely many of them are near too, so compare "
        "the shares. Shifted, mirrored or recoloured copies are not found this way."
    )
    if distinct < made:
        sentence += f" {count(made - distinct)} of {count(made)} synthetic images repeat another one."
    return sentence


def _balance(found: Mapping[str, Any]) -> str:
    least, most = found["smallest"], found["largest"]
    if found["ratio"] == 1:
        sentence = f"Every label that training has makes up {share(least['share'])} of the synthetic images. "
    else:
        ratio = "" if found["ratio"] is None else f", {found['ratio']:.3g} times as much"
        sentence = (
            f"The smallest share is {share(least['share'])} ({least['label']}), the largest {share(most['share'])} "
            f"({most['label']}){ratio}. "
        )
    sentence += (
        f"The entropy of the shares is {found['entropy']:.3f} of its largest value, that of the training images "
        f"{found['training_entropy']:.3f}. "
    )
    lost = [*found["missing"], *(f"{axis['axis']} {name}" for axis in found["axes"] for name in axis["missing"])]
    if not lost:
        return f"{sentence}No label that training has is missing."
    more = f" and {count(len(lost) - _MOST_MISSING)} more" if len(lost) > _MOST_MISSING else ""
    return f"{sentence}Training has labels that the synthetic set lacks: {', '.join(lost[:_MOST_MISSING])}{more}."


def _noise_rows(found: Mapping[str, Any]) -> list[TableRow]:
    columns = [found[name] for name in ("before", "after", "validation")]
    rows: list[TableRow] = []
    if "other_guess" in columns[0]:
        guesses, doubts = (
            tuple(share(None if part is None else part[key]) for part in columns) for key in ("other_guess", "doubt")
        )
        rows += [
            ("Another class is the first guess of the teacher", guesses),
            ("Mean of 1 − p(label) of the teacher", doubts),
        ]
    for place, axis in enumerate(columns[0]["values"]):
        unit = unit_words(axis["unit"])
        cells = tuple(
            share(None)
            if part is None
            else f"{part['values'][place]['mean_absolute']:.3g}{unit}, {share(part['values'][place]['of_range'])}"
            for part in columns
        )
        rows.append((f"{axis['axis']}: mean difference, and as a share of the range", tuple(map(unbroken, cells))))
    return rows


def _class_rows(found: Mapping[str, Any]) -> list[TableRow]:
    held_out = {row["label"]: row for row in (found["validation"] or {}).get("per_class", [])}
    rows: list[TableRow] = []
    for made in found["after"].get("per_class", []):
        real = held_out.get(made["label"], {"rows": 0, "other_guess": None, "doubt": None})
        cells = [
            text
            for row in (made, real)
            for text in (count(row["rows"]), share(row["other_guess"]), share(row["doubt"]))
        ]
        rows.append((made["label"], tuple(cells)))
    return rows


def _noise_note(found: Mapping[str, Any]) -> str:
    estimate = found["estimate"]
    soft = ", as soft labels are those of the teacher" if found["soft"] else ""
    if estimate["teacher"] is None:
        return (
            f"Labels differ from the teacher by {share(estimate['label_against_teacher'])}{soft}. How often the "
            "teacher itself is wrong is not known: it was not asked about validation images, as asking it costs "
            "something; teacher.judges true asks it here, too."
        )
    return (
        f"Estimate from above: labels differ from the teacher by {share(estimate['label_against_teacher'])}{soft}, and "
        f"the teacher from the truth by {share(estimate['teacher'])} on validation images, together "
        f"{share(estimate['total'])}. It takes the teacher to be no worse on the synthetic images that were kept."
    )


def _measured(found: Mapping[str, Any]) -> list[str]:
    gap, bound = found["gap"], found["bound"]
    sentences = [
        f"Number of images: with {share(found['real_fraction'])} real images in a batch, "
        f"{count(found['rows']['training'])} real and {count(found['copies']['distinct'])} synthetic images weigh like "
        f"{count(bound['effective'])} equal ones; {count(bound['reachable'])} is the most that this share can reach."
    ]
    if gap["value"] is None:
        sentences.append(f"Distance: {gap['reason'][0].lower()}{gap['reason'][1:]}")
    else:
        sentences.append(
            f"Distance: a classifier on {gap['dimensions']} features tells {count(gap['validation'])} validation "
            f"images from {count(gap['synthetic'])} synthetic ones of the same labels so well that their total "
            f"variation distance is at least about {share(gap['value'])} ± {share(gap['error'])} (standard error; the "
            f"line is two of them); random halves of the validation images reach "
            f"{share(max(0.0, gap['null_high']))} (dotted). The plot shows it times the share of synthetic images in a "
            f"batch, {share(1 - found['real_fraction'])}, as it does with the noise of the labels."
        )
    sentences.append(
        "A guide, not a guarantee: what the student can learn at all and the constants of the bound are left out, the "
        "distance is an estimate from below, the label noise one from above."
    )
    return sentences
