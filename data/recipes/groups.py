"""Comparative groups: which rows of a set are compared with which."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.random import derive_seed
from data.reading import ImageSet, open_set, verify_set
from data.recipes.places import BLOCK, leave_out
from data.splitting import TRAIN
from data.writing import write_set

Rows = npt.NDArray[np.int64]

#: Comparisons that are numbered one by one; those of larger sets are drawn member by member.
_MOST_NUMBERED = 2**62


@dataclass(frozen=True)
class Groups:
    """Comparisons between rows of a set.

    Args:
        positive: rows of the first groups, int64 (M, p).
        negative: rows of the second groups, int64 (M, q).
        of: content digest of the set that the rows are of.
        content_sha256: content digest of the comparisons themselves.
    """

    positive: Rows
    negative: Rows
    of: str
    content_sha256: str


def write_groups(path: Path, images: ImageSet, positive: int, negative: int, count: int, seed: int) -> str:
    """Draws comparisons between rows of a set, and writes them; see ``sample_groups``.

    Args:
        path: the file to write.
        images: the set; where it is split, its training rows alone are compared.
        positive: size of the first group.
        negative: size of the second group.
        count: comparisons.
        seed: makes the choice and its order.

    Returns:
        The content digest of the file.

    Raises:
        ConfigError: for sizes that cannot be, or more comparisons than there are.
    """
    rows = np.arange(len(images))
    if "split" in images.columns:
        rows = np.flatnonzero(np.asarray(images.columns["split"]) == TRAIN)
    first, second = sample_groups(len(rows), positive, negative, count, seed)
    return write_set(
        path,
        {"positive": rows[first], "negative": rows[second]},
        kind="groups",
        label_space=images.label_space,
        provenance={"of": images.content_sha256, "seed": seed},
        license=images.license,
    )


def read_groups(path: Path) -> Groups:
    """Reads a file of comparisons, and compares all its digests.

    Raises:
        DataError: if it is damaged or no such file, or a row stands twice in a comparison.
    """
    verify_set(path)
    return groups_in(open_set(path))


def groups_in(found: ImageSet) -> Groups:
    """The comparisons of an opened file, whose digests have been compared already.

    Raises:
        DataError: if it holds none, or a row stands twice in a comparison.
    """
    path = found.path
    if found.kind != "groups" or not isinstance(found.provenance.get("of"), str):
        raise DataError(
            f"{path} must hold comparative groups, got a set of kind '{found.kind}'; "
            f"make one by 'stillhouse data pairs'."
        )
    positive, negative = (np.array(found.columns[name]) for name in ("positive", "negative"))
    ordered = np.sort(np.concatenate([positive, negative], axis=1), axis=1)
    if not len(ordered) or bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        raise DataError(f"{path}: every comparison must be of different rows, and there must be one; make it again.")
    return Groups(positive, negative, found.provenance["of"], found.content_sha256)


def groups_of_rows(groups: Groups, images: ImageSet, rows: Rows, where: str) -> tuple[Rows, Rows]:
    """Comparisons between rows of a set as comparisons between places in a selection of its rows.

    Args:
        groups: of ``images``.
        images: the set.
        rows: the selection, rising, int64 (N,).
        where: names the recipe in messages.

    Returns:
        Places in 0 .. N - 1: int64 (M, p) and (M, q).

    Raises:
        DataError: if the comparisons are of another set or of rows that are not selected.
    """
    if groups.of != images.content_sha256:
        raise DataError(
            f"{where} must be of the set {images.content_sha256[:12]} ({images.path}), got one of {groups.of[:12]}; "
            f"make it anew by 'stillhouse data pairs'."
        )
    if not len(rows):
        raise DataError(f"{where} must compare training rows, of which {images.path} has none; name a set with some.")
    both = []
    for members in (groups.positive, groups.negative):
        places = np.minimum(np.searchsorted(rows, members), len(rows) - 1)
        if not np.array_equal(rows[places], members):
            raise DataError(f"{where} must compare training rows alone; make it anew by 'stillhouse data pairs'.")
        both.append(places)
    return both[0], both[1]


def available_groups(rows: int, positive: int, negative: int) -> int:
    """Number of distinct comparisons: C(rows, positive) C(rows - positive, negative)."""
    return math.comb(rows, positive) * math.comb(rows - positive, negative) if positive <= rows else 0


def sample_groups(rows: int, positive: int, negative: int, count: int, seed: int) -> tuple[Rows, Rows]:
    """Draws distinct comparisons of two disjoint groups, each one as likely as any other.

    The sampled tuples of comparative knowledge distillation (Wilf et al., 2023, arXiv 2311.02253). Differs from its
    release in: comparisons are numbered, distinct numbers are drawn and each is turned into its rows (combinatorial
    number system, Lehmer, 1964), so that nothing is enumerated and nothing drawn twice, however few are left out.

    Args:
        rows: number of rows of the set.
        positive: size of the first group.
        negative: size of the second group.
        count: comparisons, at most as many as there are.
        seed: makes the choice and its order.

    Returns:
        int64 (count, positive) and (count, negative): row numbers, rising within a group.

    Raises:
        ConfigError: for sizes that cannot be, or more comparisons than there are.
    """
    if positive < 1 or negative < 1:
        raise ConfigError(f"groups must have at least one row each, got {positive} and {negative}; try 1 and 1.")
    available = available_groups(rows, positive, negative)
    if not 1 <= count <= available:
        raise ConfigError(
            f"count must lie between 1 and the {available} distinct comparisons of {positive} with {negative} of "
            f"{rows} rows, got {count}; try {max(1, min(available, 100_000))}."
        )
    rng = np.random.default_rng(derive_seed(seed, "groups"))
    if available <= _MOST_NUMBERED:
        numbers = distinct_numbers(available, count, rng)
        first, second = np.divmod(numbers, math.comb(rows - positive, negative))
        chosen = combinations(first, rows, positive)
        return chosen, beside(chosen, combinations(second, rows - positive, negative))
    members = _distinct_members(rows, positive, negative, count, rng)
    return members[:, :positive].copy(), members[:, positive:].copy()


def distinct_numbers(available: int, count: int, rng: np.random.Generator) -> Rows:
    """Distinct numbers below ``available`` in random order, int64 (count,); ``count`` is at most ``available``."""
    if 3 * count > available:
        return rng.permutation(available)[:count]
    numbers = rng.integers(0, available, count + count // 8 + 16)
    while True:
        first = np.unique(numbers, return_index=True)[1]
        if len(first) >= count:
            return numbers[np.sort(first)[:count]]
        numbers = np.r_[numbers, rng.integers(0, available, count)]


def combinations(numbers: Rows, rows: int, size: int) -> Rows:
    """The combination of ``size`` rows with each number, in the combinatorial number system; rising."""
    members = np.empty((len(numbers), size), np.int64)
    rest = numbers.copy()
    for place in range(size, 0, -1):
        # C(row, place) for all rows; those beyond the largest number are never reached.
        table = np.array([min(math.comb(row, place), _MOST_NUMBERED * 2 - 1) for row in range(rows)], np.int64)
        members[:, place - 1] = np.searchsorted(table, rest, side="right") - 1
        rest -= table[members[:, place - 1]]
    return members


def beside(chosen: Rows, others: Rows) -> Rows:
    """Places among the rows that are not chosen as row numbers; both arguments rise within a row."""
    rows = others.copy()
    for place in range(chosen.shape[1]):
        rows += rows >= chosen[:, place : place + 1]
    return rows


def _distinct_members(rows: int, positive: int, negative: int, count: int, rng: np.random.Generator) -> Rows:
    """Comparisons drawn member by member without replacement; those that come twice are drawn again."""
    size = positive + negative
    found = np.empty((0, size), np.int64)
    mixer = rng.integers(1, 2**63, size, dtype=np.uint64) | np.uint64(1)
    narrow = np.int32 if rows < 2**31 else np.int64
    while len(found) < count:
        drawn = np.empty((count - len(found), size), np.int64)
        for place in range(size):
            drawn[:, place] = rng.integers(0, rows - place, len(drawn))
        for start in range(0, len(drawn), BLOCK):
            block = drawn[start : start + BLOCK].T.astype(narrow)
            leave_out(block)
            drawn[start : start + BLOCK] = block.T
        drawn[:, :positive].sort(axis=1)
        drawn[:, positive:].sort(axis=1)
        found = np.r_[found, drawn] if len(found) else drawn
        # Equal comparisons have equal sums; unequal ones hardly ever, and then one of them is drawn anew.
        sums = np.zeros(len(found), np.uint64)
        with np.errstate(over="ignore"):
            for place in range(size):
                sums += found[:, place].astype(np.uint64) * mixer[place]
        first = np.unique(sums, return_index=True)[1]
        if len(first) < len(found):
            found = found[np.sort(first)]
    return found
