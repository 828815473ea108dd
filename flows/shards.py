"""The shards of stage ``candidates``: which labels, and which part of their images, each of them draws.

A shard depends on no other: what it needs of a label's burn-in it finds beside it, or makes again, equal to the bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.files import write_json
from data.labels import LabelSpace
from filters.rejection import Calibration
from flows.draws import Draws, Outcome

#: Most accepted images of a shard.
ROWS = 4096
#: Most draws of the first round of a shard, unless one label takes more: the images of a burn-in are held together.
_FIRST_DRAWS = 16_384
#: From the best outcome of a chunk to that which the whole label is told of.
_OUTCOMES: tuple[Outcome, ...] = ("rejection", "resampled", "not subsampled")


@dataclass(frozen=True)
class Shard:
    """A part of the work.

    Args:
        first: number of its first label in the whole run.
        labels: how many labels it draws; 1 unless it draws all images of its labels.
        per_label: accepted images of each of them.
        chunk: which part of the images of its one label it draws, from 0.
    """

    first: int
    labels: int
    per_label: int
    chunk: int = 0

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Numbers of its labels in the whole run, (k,)."""
        return np.arange(self.first, self.first + self.labels)


def plan_shards(labels: int, per_label: int, burn_in: int) -> list[Shard]:
    """Divides the images of all labels into shards of at most ``ROWS``, in the order of labels.

    Args:
        labels: number of labels.
        per_label: accepted images a label; where it is above ``ROWS``, they are cut into chunks.
        burn_in: first draws of a label; 0 without subsampling.
    """
    if per_label > ROWS:
        sizes = [min(ROWS, per_label - start) for start in range(0, per_label, ROWS)]
        return [Shard(label, 1, size, chunk) for label in range(labels) for chunk, size in enumerate(sizes)]
    together = max(1, min(ROWS // per_label, _FIRST_DRAWS // max(burn_in, 1)))
    return [Shard(first, min(together, labels - first), per_label) for first in range(0, labels, together)]


def shared_calibration(path: Path, make: Callable[[], Calibration]) -> Calibration:
    """What another chunk of the same label wrote to ``path``, or, where there is nothing yet, what ``make`` makes."""
    if not path.exists():
        write_calibration(path, make())
    columns = json.loads(path.read_text(encoding="utf-8"))
    return Calibration(**{name: np.array(values) for name, values in columns.items()})


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration as JSON, which keeps every bit of a number."""
    write_json(path, {name: values.tolist() for name, values in asdict(calibration).items()})


def statistics(labels: npt.NDArray[Any], draws: Draws, space: LabelSpace) -> list[dict[str, Any]]:
    """What the sampling of each label cost and how even its weights are, JSON-ready.

    Args:
        labels: the labels of a shard, (k, ...).
        draws: what was drawn of them.
        space: what they mean.
    """
    count, calibration = len(labels), draws.calibration
    drawn = np.bincount(draws.groups, minlength=count).tolist()
    accepted = np.bincount(draws.groups[draws.accepted], minlength=count).tolist()
    return [
        {
            "label": label.tolist(),
            "name": space.describe(label),
            "drawn": drawn[place],
            "accepted": accepted[place],
            "acceptance": accepted[place] / drawn[place],
            "rounds": int(draws.rounds[place]),
            "outcome": draws.outcomes[place],
            "subsampled": draws.outcomes[place] != "not subsampled",
            "bound": float(draws.bounds[place]),
            "scale": 1.0 if calibration is None else float(calibration.scale[place]),
            "effective_sample_size": drawn[place]
            * (1.0 if calibration is None else float(calibration.effective_share[place])),
        }
        for place, label in enumerate(labels)
    ]


def merge_statistics(shards: Iterable[tuple[Shard, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """One row a label, from the rows of all shards; of a label in chunks, counts are summed.

    Its bound is the largest of a chunk, its rounds are the most of a chunk, its outcome is the farthest from rejection.
    """
    merged: dict[int, dict[str, Any]] = {}
    for shard, rows in shards:
        for number, row in zip(shard.numbers.tolist(), rows, strict=True):
            if number not in merged:
                merged[number] = dict(row)
                continue
            whole = merged[number]
            for name in ("drawn", "accepted", "effective_sample_size"):
                whole[name] += row[name]
            for name in ("rounds", "bound"):
                whole[name] = max(whole[name], row[name])
            whole["outcome"] = max(whole["outcome"], row["outcome"], key=_OUTCOMES.index)
            whole["subsampled"] = whole["outcome"] != "not subsampled"
            whole["acceptance"] = whole["accepted"] / whole["drawn"]
    return list(merged.values())


def outcome_warnings(rows: list[dict[str, Any]]) -> list[str]:
    """One sentence for each kind of label that rejection did not serve: how many, which, and what to do."""
    told = []
    for outcome, words in (
        ("resampled", "got what they lacked by resampling their draws by weight, as too few were accepted"),
        ("not subsampled", "got images as they were drawn, as their density ratio accepts too few of them"),
    ):
        names = [row["name"] for row in rows if row["outcome"] == outcome]
        if names:
            first = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            told.append(
                f"{len(names)} of {len(rows)} labels {words} ({first}); train the generator or the ratio longer, "
                f"or raise candidates.max_draws."
            )
    return told
