"""Which rows come in which batch: singly, or in comparisons of groups; and how many of each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.block_order import BLOCK, batch_order, rows_of_block
from data.digests import bytes_a_row
from data.errors import ConfigError
from data.recipes.groups import available_groups, sample_groups
from data.row_order import BatchOrder
from students.rows import Rows

#: Distinct comparisons that are drawn before training, as in the release of comparative knowledge distillation.
MOST_GROUPS = 100_000


def batch_shares(batch_size: int, real_fraction: float, parts: int, group_size: int = 1) -> list[int]:
    """Rows, or comparisons, of each part in every batch.

    Args:
        batch_size: images a batch; with groups, as many of them as fill whole comparisons are used.
        real_fraction: share of real rows where there are synthetic ones, in (0, 1).
        parts: 1 (real rows only) or 2.
        group_size: rows of a comparison; 1 where rows come singly.

    Raises:
        ConfigError: if a part would get no row.
    """
    items, key = batch_size // group_size, "distill.training.batch_size"
    if items < parts:
        each = "a row" if group_size == 1 else f"a comparison of {group_size} rows"
        kinds = "" if parts == 1 else " of each kind of data"
        least = group_size * _least_items(real_fraction, parts)
        raise ConfigError(f"{key} must hold {each}{kinds}, got {batch_size}; try {least}.")
    if parts == 1:
        return [items]
    real = round(items * real_fraction)
    if not 0 < real < items:
        least = group_size * _least_items(real_fraction, parts)
        other = f" or {key}={least}" if least > batch_size else ""
        raise ConfigError(
            f"distill.real_fraction must leave both kinds of rows in a batch of {batch_size}"
            f"{'' if group_size == 1 else f' in groups of {group_size}'}, got {real_fraction}; try 0.5{other}."
        )
    return [real, items - real]


def _least_items(real_fraction: float, parts: int) -> int:
    """Fewest rows, or comparisons, of which every part gets one; ``parts`` where it would be thousands."""
    if parts == 1:
        return 1
    return next((items for items in range(2, 4096) if 0 < round(items * real_fraction) < items), parts)


def check_shared(shares: Sequence[int], processes: int, group_size: int = 1) -> None:
    """Checks that processes can take equal shares of every part of a batch.

    Args:
        shares: from ``batch_shares``.
        processes: how many.
        group_size: rows of a comparison.

    Raises:
        ConfigError: if they cannot.
    """
    if any(share % processes for share in shares):
        raise ConfigError(
            f"each part of a batch must be a multiple of {processes} processes, got {' and '.join(map(str, shares))}; "
            f"try a batch_size of {2 * processes * group_size} times a number."
        )


class RowOrder:
    """Rows of one part in every batch: singly, or comparison by comparison.

    Args:
        rows: of the part.
        count: rows, or comparisons, a batch.
        groups: sizes (p, q) of the groups that are compared; None where rows come singly.
        seed: makes the order, and the comparisons where the rows do not have them.
        name: of the part, for messages.
        order: whether rows, or comparisons, are shuffled one by one ("rows") or in runs of consecutive ones ("blocks").

    Raises:
        ConfigError: if groups do not fit.
    """

    def __init__(
        self,
        rows: Rows,
        count: int,
        groups: tuple[int, int] | None,
        seed: int,
        name: str,
        order: Literal["rows", "blocks"] = "rows",
    ) -> None:
        self._members: npt.NDArray[np.int64] | None = None
        #: How many rows the part has.
        self.rows = len(rows)
        items = self.rows
        if groups is not None:
            self._members = _comparisons(rows, groups, seed, name)
            items = len(self._members)
        # Only rows that come singly are read in runs, and held.
        singly = groups is None and rows.mixes is None
        length = rows_of_block(bytes_a_row(rows.images.dtype, rows.images.shape)) if singly else BLOCK
        self._batches = batch_order(order, items, count, seed, length)

    @property
    def singly(self) -> BatchOrder | None:
        """The order of the rows themselves; None where they come in comparisons."""
        return self._batches if self._members is None else None

    def at(self, step: int) -> npt.NDArray[np.int64]:
        """Row numbers, int64."""
        items = self._batches.at(step)
        return items if self._members is None else self._members[items].reshape(-1)


def _comparisons(rows: Rows, groups: tuple[int, int], seed: int, name: str) -> npt.NDArray[np.int64]:
    """Members of all comparisons of a part, positive before negative, int64 (M, p + q)."""
    positive, negative = groups
    if rows.mixes is not None:
        raise ConfigError(
            "distill.data 'real+mixed' must go with methods whose rows come singly, got one that compares groups; "
            "try real or real+synthetic for it."
        )
    given = rows.groups
    if given is None:
        available = available_groups(len(rows.images), positive, negative)
        if not available:
            raise ConfigError(
                f"{name} rows must be at least {positive + negative} for groups of {positive} and {negative}, "
                f"got {len(rows.images)}."
            )
        given = sample_groups(len(rows.images), positive, negative, min(available, MOST_GROUPS), seed)
    elif (given[0].shape[1], given[1].shape[1]) != groups:
        raise ConfigError(
            f"groups of the recipe must have {positive} and {negative} rows for this method, got "
            f"{given[0].shape[1]} and {given[1].shape[1]}; make a recipe of these sizes."
        )
    return np.concatenate(given, axis=1)
