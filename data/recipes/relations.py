"""Comparative groups of related rows: of one class, of different classes, near in label or alike to the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.random import derive_seed
from data.reading import ImageSet
from data.recipes.drawing import draw_distinct
from data.recipes.groups import Rows, available_groups, sample_groups
from data.recipes.near import NearRows, near_outputs, near_values, near_vectors
from data.recipes.pools import Pools
from data.splitting import TRAIN
from data.writing import write_set

Relation = Literal["uniform", "same_class", "different_class", "near_label", "teacher_similar"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
_BY_LABEL = ("same_class", "different_class", "near_label")


def sample_related(
    relation: Relation,
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    teacher_outputs: npt.NDArray[np.floating[Any]] | None,
    positive: int,
    negative: int,
    count: int,
    seed: int,
    *,
    neighbours: int = 32,
    most_per_row: int | None = None,
) -> tuple[Rows, Rows]:
    """Draws distinct comparisons of two groups of rows that are related; no row is in both groups.

    Extends the sampled tuples of comparative knowledge distillation (Wilf et al., 2023, arXiv 2311.02253), which are
    of any rows. Two comparisons are the same if their first groups have the same rows and their second ones, too.

    ================  ==========================================================================================
    relation          rows of a comparison
    ================  ==========================================================================================
    uniform           any
    same_class        p + q rows of one class
    different_class   p rows of one class against q rows, each of any other class
    near_label        an anchor, the first of the first group, and p + q - 1 rows near to it: rows (with classes, of
                      the anchor's class) whose label is no further from the anchor's than that of the
                      ``neighbours``-th nearest such row; distances are Euclidean between normalised labels, and rows
                      that tie for the last place all count. Not for classes alone.
    teacher_similar   an anchor, the first of the first group, and p + q - 1 of the ``neighbours`` rows to which the
                      teacher's answers are nearest: Euclidean distance of the softmax of its logits, of its other
                      outputs divided by their standard deviation over the rows, or of both together.
    ================  ==========================================================================================

    Every comparison of a relation can come. With the first three relations, and wherever p is 1, each one is as likely
    as any other; with an anchor and p above 1, a draw is a comparison with a probability in proportion to the number
    of its positives that could be its anchor. They are drawn one after the other in random order; what has come
    already is drawn anew, and with ``most_per_row`` what has a row that is full is passed over, until no comparison of
    rows with room is left.

    Args:
        relation: which rows are compared.
        labels: of the rows, a column of the label space, (N, ...).
        label_space: what they mean.
        teacher_outputs: logits and then predictions in the labels' own units, (N, K); needed for "teacher_similar".
        positive: size p of the first group.
        negative: size q of the second group.
        count: comparisons M; fewer come if there are fewer, or if rows are full before.
        seed: makes the choice and its order.
        neighbours: rows that are near to each; for the last two relations.
        most_per_row: comparisons that a row may be in, or None for any number.

    Returns:
        int64 (M, p) and (M, q): places in 0 .. N - 1, rising within a group, after the anchor where there is one.

    Raises:
        ConfigError: for sizes, numbers or labels that the relation cannot have, or if there is no comparison.
        DataError: if an output of the teacher is not finite.
    """
    _check(relation, label_space, positive, negative, count, neighbours, most_per_row)
    rows = len(labels)
    available = available_groups(rows, positive, negative)
    if relation == "uniform" and most_per_row is None and available:
        return sample_groups(rows, positive, negative, min(count, available), seed)
    # Where even any rows make no comparison there may be no rows to search among.
    pools = (
        _pools(relation, labels, label_space, teacher_outputs, positive, negative, neighbours) if available else None
    )
    if pools is None or not pools.available:
        raise ConfigError(
            f"relation {relation} must have at least one comparison of {positive} with {negative} rows, got none among "
            f"{rows} rows; try smaller groups, another relation or a set with more rows."
        )
    rng = np.random.default_rng(derive_seed(seed, "groups", relation))
    members = draw_distinct(pools, rows, count, rng, most_per_row)
    return members[:, :positive].copy(), members[:, positive:].copy()


def write_related(
    path: Path,
    images: ImageSet,
    relation: Relation,
    positive: int,
    negative: int,
    count: int,
    seed: int,
    *,
    teacher_outputs: npt.NDArray[np.floating[Any]] | None = None,
    neighbours: int = 32,
    most_per_row: int | None = None,
) -> tuple[str, int]:
    """Draws comparisons between related rows of a set, and writes them as ``data.recipes.groups`` does.

    Args:
        path: the file to write.
        images: the set; where it is split, its training rows alone are compared.
        relation: see ``sample_related``.
        positive: size of the first group.
        negative: size of the second group.
        count: comparisons, or all if there are fewer.
        seed: makes the choice and its order.
        teacher_outputs: of all rows of the set, (N, K), or of those that are compared; the set's own unless given.
        neighbours: see ``sample_related``.
        most_per_row: see ``sample_related``.

    Returns:
        The content digest of the file, and the number of comparisons in it.

    Raises:
        ConfigError: as ``sample_related``.
        DataError: if the rows are mixed of two labels and the relation goes by one, an output of the teacher is not
            finite, or the file cannot be written.
    """
    if images.kind == "mixed" and relation in _BY_LABEL:
        raise DataError(
            f"{images.path}: relation {relation} must have rows of one label each, got kind 'mixed', whose images are "
            "of two; compare the rows of the set that it was mixed of, or try uniform or teacher_similar."
        )
    rows = np.arange(len(images))
    if "split" in images.columns:
        rows = np.flatnonzero(np.asarray(images.columns["split"]) == TRAIN)
    if teacher_outputs is None and relation == "teacher_similar":
        teacher_outputs = images.columns.get("teacher_outputs")
    if teacher_outputs is not None and len(teacher_outputs) == len(images):
        teacher_outputs = np.asarray(teacher_outputs)[rows]
    first, second = sample_related(
        relation, np.asarray(images.columns["labels"])[rows], images.label_space, teacher_outputs, positive, negative,
        count, seed, neighbours=neighbours, most_per_row=most_per_row,
    )  # fmt: skip
    provenance: dict[str, Any] = {"of": images.content_sha256, "seed": seed}
    if relation != "uniform":
        provenance["relation"] = relation
    if relation in ("near_label", "teacher_similar"):
        provenance["neighbours"] = neighbours
    if most_per_row is not None:
        provenance["most_per_row"] = most_per_row
    digest = write_set(
        path,
        {"positive": rows[first], "negative": rows[second]},
        kind="groups",
        label_space=images.label_space,
        provenance=provenance,
        license=images.license,
    )
    return digest, len(first)


def similarity_points(
    teacher_outputs: npt.NDArray[np.floating[Any]], label_space: LabelSpace
) -> npt.NDArray[np.float64]:
    """What the teacher's answers are compared by: probabilities of classes, other outputs in standard deviations.

    Args:
        teacher_outputs: (N, K), logits and then predictions.
        label_space: of the outputs.

    Returns:
        float64 (N, K).
    """
    points = np.asarray(teacher_outputs).astype(np.float64)
    logits = points[:, : label_space.classes]
    if label_space.has_classes:
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
    values = points[:, label_space.classes :]
    spread = values.std(axis=0)
    values /= np.where(spread > 0.0, spread, 1.0)
    return points


def _check(
    relation: str,
    label_space: LabelSpace,
    positive: int,
    negative: int,
    count: int,
    neighbours: int,
    most_per_row: int | None,
) -> None:
    if relation not in RELATIONS:
        raise ConfigError(f"relation must be one of {', '.join(RELATIONS)}, got '{relation}'.")
    if positive < 1 or negative < 1:
        raise ConfigError(f"groups must have at least one row each, got {positive} and {negative}; try 1 and 1.")
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count}; try 100000.")
    if most_per_row is not None and most_per_row < 1:
        raise ConfigError(f"most_per_row must be at least 1, got {most_per_row}; leave it out for any number.")
    if relation in ("same_class", "different_class") and not label_space.has_classes:
        raise ConfigError(
            f"relation {relation} must have labels with classes, got a {label_space.kind} label space; try near_label."
        )
    if relation == "near_label" and not label_space.dimensions:
        raise ConfigError(
            "relation near_label must have labels with values, got classes alone, which have no distance; try "
            "same_class or teacher_similar."
        )
    if relation in ("near_label", "teacher_similar") and neighbours < positive + negative - 1:
        raise ConfigError(
            f"neighbours must be at least {positive + negative - 1}, the other rows of a comparison of {positive} with "
            f"{negative}, got {neighbours}."
        )


def _pools(
    relation: Relation,
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    teacher_outputs: npt.NDArray[np.floating[Any]] | None,
    positive: int,
    negative: int,
    neighbours: int,
) -> Pools:
    rows = len(labels)
    if relation == "uniform":
        return Pools(np.arange(rows), np.zeros(1, np.int64), np.full(1, rows), positive, negative)
    if relation in ("same_class", "different_class"):
        classes = label_space.class_part(labels)
        size = np.bincount(classes, minlength=label_space.classes)
        order = np.argsort(classes, kind="stable")
        return Pools(order, np.cumsum(size) - size, size, positive, negative, apart=relation == "different_class")
    near = _near(relation, labels, label_space, teacher_outputs, neighbours)
    return Pools(near.rows, near.start, near.size, positive, negative, anchor=np.arange(rows), own=near.own)


def _near(
    relation: Relation,
    labels: npt.NDArray[Any],
    label_space: LabelSpace,
    teacher_outputs: npt.NDArray[np.floating[Any]] | None,
    neighbours: int,
) -> NearRows:
    if relation == "teacher_similar":
        if teacher_outputs is None or teacher_outputs.shape != (len(labels), label_space.outputs):
            got = "none" if teacher_outputs is None else str(teacher_outputs.shape)
            raise ConfigError(
                f"relation teacher_similar must have the teacher's outputs, shape {(len(labels), label_space.outputs)},"
                f" got {got}; ask the teacher first."
            )
        finite = np.isfinite(teacher_outputs).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            got = np.asarray(teacher_outputs)[row].tolist()
            raise DataError(f"teacher's outputs must be finite, got {got} at row {row}; ask the teacher again.")
        return near_outputs(similarity_points(teacher_outputs, label_space), neighbours)
    axes = label_space.dimensions
    low, span = (np.array(bound) for bound in ([a.minimum for a in axes], [a.maximum - a.minimum for a in axes]))
    values = (label_space.continuous_part(labels) - low) / span
    if len(axes) > 1:
        return near_vectors(values, neighbours)
    return near_values(values[:, 0], label_space.class_part(labels) if label_space.has_classes else None, neighbours)
