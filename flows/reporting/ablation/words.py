"""An ablation in words: what helped, given the noise, and what each arm is."""

from __future__ import annotations

from collections.abc import Sequence

from data.labels import LabelSpace
from flows.reporting.ablation.inputs import STEPS, Arm
from flows.reporting.ablation.rows import ArmRow, FigureRows
from flows.reporting.verdict import Comparison
from flows.reporting.wording import (
    ALONE,
    count,
    decimals,
    difference_words,
    mean_and_deviation,
    metric_words,
    plural,
    share,
    unit_words,
)

_SCOPES = {
    "per_class": "in each class",
    "per_window": "in each window of the label",
    "global": "over all of them",
}
_ERRORS = {
    "cross_entropy": "cross entropy",
    "one_minus_p": "1 \N{MINUS SIGN} p of the class",
    "margin": "margin to the next class",
    "absolute": "absolute error",
}


def ablation_sentences(figures: Sequence[FigureRows]) -> list[str]:
    """What helped: a sentence for every figure of every student, naming them where there are several."""
    sentences = []
    for figure in figures:
        for rows in figure.students:
            openings = []
            if len(figure.students) > 1:
                openings.append(f"for {rows[0].summary.student}")
            if len(figures) > 1:
                openings.append(f"by {metric_words(figure.metric)}")
            text = ", ".join([*openings, _sentence(rows)])
            sentences.append(f"{text[0].upper()}{text[1:]}.")
    return sentences


def _sentence(rows: Sequence[ArmRow]) -> str:
    first, last = rows[0].summary, rows[-1].summary
    places, seeds = decimals(first.mean), plural(len(first.seeds), "seed")
    steps: dict[str, list[tuple[str, Comparison]]] = {"better": [], "worse": [], "noise": [], "unknown": []}
    for row in rows[1:]:
        if row.against_previous is not None:
            steps[row.against_previous.verdict].append((STEPS[row.arm.name], row.against_previous))

    def named(verdict: str) -> str:
        return _joined(
            [f"{name} ({difference_words(made.difference, first.unit, places)})" for name, made in steps[verdict]]
        )

    clauses = []
    if steps["better"]:
        clauses.append(f"{named('better')} helped")
    if steps["worse"]:
        clauses.append(f"{named('worse')} hurt")
    unclear = steps["noise"] + steps["unknown"]
    noise = f"the noise of {seeds}"
    if not clauses:
        clauses.append(f"no single step helped or hurt beyond {noise}")
        noise = "that noise"
    elif unclear:
        effect = "effect" if len(unclear) == 1 else "effects"
        verb = "is" if len(unclear) == 1 else "are"
        clauses.append(f"the {effect} of {_joined([name for name, _ in unclear])} {verb} within {noise}")
        noise = "that noise"
    whole = rows[-1].against_alone
    if whole is not None:
        start, end = (f"{mean_and_deviation(row.mean, row.std, places)}{unit_words(row.unit)}" for row in (first, last))
        change = difference_words(whole.difference, first.unit, places)
        side = "beyond" if whole.verdict in ("better", "worse") else "within"
        article = "an" if first.metric == "accuracy" else "a"
        clauses.append(
            f"all {len(rows) - 1} steps together take the student from {article} {metric_words(first.metric)} of "
            f"{start} to {end} ({change}, {side} {noise})"
        )
    return "; ".join(clauses)


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def describe_arm(arm: Arm, space: LabelSpace) -> str:
    """What the training data of an arm are, in a sentence or two."""
    if arm.name == "alone":
        student = arm.students[0]
        taught = f"The real images, with {student.shown}."
        return "The real images with their own labels." if student.method in ALONE else taught
    settings, metrics = arm.settings, (arm.candidates or {}).get("metrics", {})
    kept, scope = share(settings["quantile"]), _SCOPES[settings["scope"]]
    if arm.name == "raw":
        text = (
            "The real images, and generated ones for the labels that they were made for: of the "
            f"{count(metrics.get('accepted'))} candidates a random {kept}, so that every arm has as many."
        )
    elif arm.name == "subsampled":
        text = (
            f"The {count(metrics.get('accepted'))} candidates are those of {count(metrics.get('drawn'))} draws that "
            f"pass the rejection by their density ratio; again a random {kept} of them."
        )
        for number, what in (
            (metrics.get("not_subsampled", 0), "took their first draws as they are, without rejection"),
            (metrics.get("resampled", 0), "were filled up by resampling, as rejection accepted too few"),
        ):
            if number:
                text += f" But {count(number)} of {plural(metrics['labels'], 'label')} {what}."
    elif arm.name == "filtered":
        error = _error_words(settings["error"], space)
        text = f"In place of the random share, the {kept} with the least teacher error ({error}), {scope}."
    else:
        text = f"The same images, with labels from the teacher: {_label_words(settings['relabel'], space)}."
    if settings.get("count") is not None and arm.name == "raw":
        text += f" At most {count(settings['count'])} of them are taken, evenly over the labels."
    return text


def left_out_words(name: str, why: str) -> str:
    """Why an arm is not there."""
    return f"{STEPS[name][0].upper()}{STEPS[name][1:]} was left out: {why}."


def _error_words(error: str, space: LabelSpace) -> str:
    if error != "auto":
        return _ERRORS[error]
    if space.kind == "class+scalar":
        return "cross entropy of the class plus error of the value"
    return _ERRORS["cross_entropy" if space.has_classes else "absolute"]


def _label_words(relabel: str, space: LabelSpace) -> str:
    values = "its value" if len(space.dimensions) == 1 else "its values"
    if not space.has_classes:
        return values
    tail = f" and {values}" if space.dimensions else ""
    if relabel == "soft":
        return f"its probabilities of all classes{tail}"
    if relabel == "hard":
        return f"its most probable class{tail}"
    return f"{values}, while the class stays"
