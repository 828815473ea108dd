"""All figures of one set of generated images against one set of real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.labels import LabelSpace
from data.random import derive_seed
from generators.fidelity.agreement import class_accuracy, label_scores
from generators.fidelity.diversity import class_entropy, relative_diversity
from generators.fidelity.extraction import Extract, Images
from generators.fidelity.figures import Measured, figure
from generators.fidelity.groups import class_groups, grouped_distance, label_windows
from generators.fidelity.joint import paired_distance
from generators.fidelity.matching import halves
from generators.fidelity.torch_fidelity_metrics import (
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
)

#: Images uint8 (n, C, H, W) to outputs (n, K) of a network over the label space: logits, then continuous values.
Predict = Callable[[Images], npt.NDArray[np.float32]]
#: Why figures of labels are missing where nobody was asked what the images show.
NOT_ASKED = (
    "Labels were not compared with the teacher, as asking it costs something; teacher.judges true asks it here, too."
)


@dataclass(frozen=True)
class Observed:
    """What two networks say of labelled images.

    Args:
        labels: a column of the label space, (n, ...).
        features: float32 (n, F).
        outputs: float32 (n, K) of a network over the label space: logits, then continuous values in their own units;
            None where none was asked, and then the figures that compare labels with it are not computed.
        logits: float32 (n, S) for the inception score; None where neither network is a classifier.
    """

    labels: npt.NDArray[Any]
    features: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32] | None
    logits: npt.NDArray[np.float32] | None = None


def observe(
    images: Images, labels: npt.NDArray[Any], label_space: LabelSpace, extract: Extract, predict: Predict | None
) -> Observed:
    """Asks both networks about images, once.

    Args:
        images: uint8 (n, C, H, W), n at least 1.
        labels: a column of the label space, (n, ...).
        label_space: what labels mean.
        extract: gives features and, if it can, logits.
        predict: gives the outputs that labels are compared with, whose logits stand in for missing ones; None to ask
            nobody.
    """
    extracted, outputs = extract(images), None if predict is None else predict(images)
    own = outputs[:, : label_space.classes] if outputs is not None and label_space.has_classes else None
    return Observed(labels, extracted.features, outputs, own if extracted.logits is None else extracted.logits)


def assess(
    generated: Observed,
    real: Observed,
    label_space: LabelSpace,
    *,
    partners: npt.NDArray[np.int64] | None = None,
    windows: int = 10,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of generated images, by name; those that few images would make meaningless say why instead.

    Args:
        generated: at labels distributed like those of ``real``, or distances hold the difference of the labels too.
        real: held-out images.
        label_space: of both.
        partners: for each generated image the row of the real one whose label it shares, (n,); None if there is none.
        windows: label windows of the sliding FID along each continuous dimension.
        seed: of subsets.

    Returns:
        JSON-ready. ``generated`` and ``real`` are counts. ``joint``, ``fid``, ``kid``, ``precision``, ``recall`` and
        ``diversity`` are figures with ``value`` and ``std``, or ``not_computed``; ``per_class`` and each of the list
        ``windows`` are what ``grouped_distance`` gives; with all of ``assess_alone``. What labels do not have is
        absent, as is ``joint`` without partners.
    """
    pair = generated.features, real.features
    found: dict[str, Any] = {
        "generated": len(generated.labels),
        "real": len(real.labels),
        "fid": figure(lambda: frechet_distance(*pair)),
        "kid": figure(lambda: kernel_distance(*pair, derive_seed(seed, "kid"))),
    }
    if partners is not None:
        rows, pairs = partners, derive_seed(seed, "joint")
        found["joint"] = figure(lambda: paired_distance(*pair, real.labels, rows, label_space, pairs))
    try:
        precision, recall = precision_recall(*pair, derive_seed(seed, "precision"))
        found |= {"precision": figure(lambda: precision), "recall": figure(lambda: recall)}
    except DataError as error:
        found |= {name: {"value": None, "std": None, "not_computed": str(error)} for name in ("precision", "recall")}
    found |= assess_alone(generated, real.labels, label_space, windows=windows, seed=seed)
    classes = class_groups(generated.labels, real.labels, label_space)
    sliding = label_windows(generated.labels, real.labels, label_space, windows)
    groups = [group for part in sliding for group in part.groups] or list(classes)
    found["diversity"] = figure(lambda: relative_diversity(*pair, groups))
    if classes:
        found["per_class"] = grouped_distance(*pair, classes, "class", derive_seed(seed, "class"))
    if sliding:
        found["windows"] = [
            {
                "axis": part.axis,
                "unit": part.unit,
                "radius": part.radius,
                **grouped_distance(*pair, part.groups, f"window of {part.axis}", derive_seed(seed, part.axis)),
            }
            for part in sliding
        ]
    return found


def assess_alone(
    observed: Observed, reference: npt.NDArray[Any], label_space: LabelSpace, *, windows: int = 10, seed: int = 0
) -> dict[str, Any]:
    """The figures that need no other images: whether labels are right, and how many classes are seen.

    Args:
        observed: generated or real images.
        reference: labels whose range the label windows cover, (m, ...).
        label_space: of all labels.
        windows: label windows along each continuous dimension.
        seed: of subsets.

    Returns:
        JSON-ready: ``accuracy`` in percent where labels have a class; ``label_score``, a list of figures with axis
        and unit, where they have continuous values; ``class_entropy`` where they have both; ``inception_score``
        where there are logits.
    """
    found: dict[str, Any] = {}
    if observed.logits is not None:
        logits = observed.logits
        found["inception_score"] = figure(lambda: inception_score(logits, derive_seed(seed, "score")))
    outputs = observed.outputs
    if outputs is None:
        return found | _not_asked(label_space)
    if label_space.has_classes:
        found["accuracy"] = figure(lambda: Measured(class_accuracy(outputs, observed.labels, label_space)))
    if label_space.dimensions:
        scores = label_scores(outputs, observed.labels, label_space)
        found["label_score"] = [
            {"axis": axis.name, "unit": axis.unit, "value": score, "std": None}
            for axis, score in zip(label_space.dimensions, scores, strict=True)
        ]
    if label_space.has_classes and label_space.dimensions:
        sliding = label_windows(observed.labels, reference, label_space, windows)
        groups = [group.generated for part in sliding for group in part.groups]
        found["class_entropy"] = figure(lambda: class_entropy(outputs[:, : label_space.classes], groups))
    return found


def _not_asked(label_space: LabelSpace) -> dict[str, Any]:
    """The figures that compare labels with a network, where none was asked."""
    none = {"value": None, "std": None, "not_computed": NOT_ASKED}
    found: dict[str, Any] = {"accuracy": none} if label_space.has_classes else {}
    if label_space.dimensions:
        found["label_score"] = [{"axis": axis.name, "unit": axis.unit, **none} for axis in label_space.dimensions]
    return found | ({"class_entropy": none} if label_space.has_classes and label_space.dimensions else {})


def assess_held_out(held_out: Observed, label_space: LabelSpace, *, windows: int = 10, seed: int = 0) -> dict[str, Any]:
    """What real images reach: one half of the held-out ones against the other, and all of them alone.

    Args:
        held_out: real images that no network has seen.
        label_space: of their labels.
        windows: label windows along each continuous dimension.
        seed: of subsets.

    Returns:
        As ``assess``.
    """
    alone = assess_alone(held_out, held_out.labels, label_space, windows=windows, seed=seed)
    rows = halves(held_out.labels, label_space)
    if not len(rows[0]):
        return alone
    first, second = (_rows(held_out, half) for half in rows)
    partners = np.arange(len(rows[0]))
    apart = assess(first, second, label_space, partners=partners, windows=windows, seed=seed)
    return apart | alone


def _rows(observed: Observed, rows: npt.NDArray[np.int64]) -> Observed:
    logits = None if observed.logits is None else observed.logits[rows]
    outputs = None if observed.outputs is None else observed.outputs[rows]
    return Observed(observed.labels[rows], observed.features[rows], outputs, logits)


def headline(found: dict[str, Any]) -> dict[str, float | None]:
    """The main numbers of a comparison by name; None for what was not computed.

    Args:
        found: what ``assess`` gives, with ``memorisation`` if that was audited.
    """
    names = ("joint", "fid", "kid", "precision", "recall", "inception_score", "accuracy", "diversity", "memorisation")
    numbers: dict[str, float | None] = {name: found[name]["value"] for name in names if name in found}
    if "class_entropy" in found:
        numbers["class_entropy"] = found["class_entropy"]["value"]
    for score in found.get("label_score", []):
        numbers[_key("label_score", score, found)] = score["value"]
    if "per_class" in found:
        numbers[f"intra_class_{found['per_class']['metric'] or 'fid'}"] = found["per_class"]["value"]
    for part in found.get("windows", []):
        numbers[_key(f"sliding_{part['metric'] or 'fid'}", part, found)] = part["value"]
    return numbers


def _key(name: str, part: dict[str, Any], found: dict[str, Any]) -> str:
    """The name alone where labels have one continuous dimension, else with that of the dimension."""
    return name if len(found["label_score"]) == 1 else f"{name} ({part['axis']})"


def sentences(found: dict[str, Any]) -> list[str]:
    """What was not computed and what stands in for it, each sentence once, in the order of the figures."""
    spoken: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            spoken.extend([value["not_computed"]] if value.get("not_computed") else [])
            spoken.extend(value.get("notes", []))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(found)
    return list(dict.fromkeys(spoken))
