"""Sections of the recipes: which images are compared with which, and which are mixed with which."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from flows.section import Section


class Groups(Section):
    """Comparisons for methods that compare groups; their sizes are the method's own."""

    relation: Literal["uniform", "same_class", "different_class", "near_label", "teacher_similar"] = Field(
        "uniform",
        description="Which rows are compared: any, of one class, of different classes, with near labels, or with "
        "similar answers of the teacher.",
    )
    count: int = Field(100_000, ge=1, description="Distinct comparisons, or all if there are fewer.")
    neighbours: int = Field(
        32, ge=1, description="Rows that count as near or similar to each row; for those two relations."
    )
    most_per_row: int | None = Field(None, ge=1, description="Comparisons that a row may be in; unset for any number.")
    seed: int = Field(0, ge=0, description="Makes the choice and its order.")


class Mixes(Section):
    """Images mixed from two training images each, for distill.data real+mixed."""

    kind: Literal["mixup", "cutmix"] = Field("cutmix", description="Blend whole images, or paste a box.")
    alpha: float = Field(1.0, gt=0, description="Coefficients follow Beta(alpha, alpha).")
    count: int = Field(20_000, ge=1, description="Mixed images.")
    pick: int = Field(
        1,
        ge=1,
        le=16,
        description="Mixes drawn for each one kept, those of highest entropy by the teacher; 1: all.",
    )
    labels: Literal["teacher", "mixed"] = Field(
        "teacher", description="Labels of mixed images: the teacher's answers, or the mixture of both labels."
    )
    seed: int = Field(0, ge=0, description="Makes the choice and its order.")


class Recipes(Section):
    """Index lists over the training rows, made once and used by every student."""

    groups: Groups = Groups()
    mixes: Mixes = Mixes()


#: Relations that look at a number of neighbours of every row.
NEAR = ("near_label", "teacher_similar")
#: What a method may need of the teacher's answers to the mixed images.
_ANSWERS = frozenset({"teacher_outputs"})


def groups_section(groups: Groups, sizes: tuple[int, int]) -> dict[str, Any]:
    """What decides the comparisons of one part, JSON-ready: without options that its relation does not read.

    Args:
        groups: the section.
        sizes: rows of the two groups of a comparison.
    """
    section = groups.model_dump(mode="json")
    if groups.relation not in NEAR:
        section.pop("neighbours")
    return {"recipes": {"groups": {**section, "positive": sizes[0], "negative": sizes[1]}}}


def drawn_in_training(groups: Groups) -> bool:
    """Whether comparisons are drawn as students train, as those of the defaults are: what nothing reads may differ."""
    return groups_section(groups, (1, 1)) == groups_section(Groups(), (1, 1))


def mixes_section(mixes: Mixes) -> dict[str, Any]:
    """What decides which images are mixed, JSON-ready; which labels are learnt is a matter of the students."""
    return {"recipes": {"mixes": mixes.model_dump(mode="json", exclude={"labels"})}}


def asks_about_mixes(mixes: Mixes, needs: frozenset[str]) -> bool:
    """Whether the teacher is asked about mixed images.

    Args:
        mixes: the section.
        needs: what the method of the students reads of a batch.
    """
    return mixes.labels == "teacher" or mixes.pick > 1 or bool(needs & _ANSWERS)
