"""Models on the test images, piece by piece: what is done is kept, so that a killed stage goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.files import replace_durably, write_json
from data.random import derive_seed

if TYPE_CHECKING:
    from data.labels import LabelSpace
    from data.workspace import Workspace
    from flows.stages.common import Part
    from flows.student_config import Assess
    from students.assessment.robustness import Answers

    Loaded = tuple[Answers, Callable[[], dict[str, int] | None]]

NAME = "assess"


@dataclass(frozen=True)
class Subject:
    """A model that is measured.

    Args:
        key: its name, which no other has.
        load: gives what answers, and what tells its size or None; called when it is its turn.
        outputs: for the test images, (N, K), where they are known.
        taught: the teacher's outputs that its own are compared with, or None.
        corrupted: whether it may be asked about corrupted images.
    """

    key: str
    load: Callable[[], Loaded]
    outputs: npt.NDArray[np.float32] | None = None
    taught: npt.NDArray[np.float32] | None = None
    corrupted: bool = True


def remembered(workspace: Workspace, ask: Callable[[], npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """The teacher's outputs for the test images; asked once, however often the stage is killed."""
    path = workspace.state_folder / f"{NAME}-teacher.npy"
    if not path.exists():
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            np.save(file, ask())
        replace_durably(temporary, path)
    found: npt.NDArray[np.float32] = np.load(path)
    return found


def corrupted_places(count: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of the test images that are corrupted: the first of an order that the seed makes; rising.

    Args:
        count: test images.
        wanted: how many are corrupted, if there are so many; fewer are a part of more.
        seed: makes the order.
    """
    order = np.random.default_rng(derive_seed(seed, "corrupted images")).permutation(count)
    return np.sort(order[:wanted])


def measured(
    subjects: Sequence[Subject],
    test: Part,
    places: npt.NDArray[np.int64],
    space: LabelSpace,
    settings: Assess,
    *,
    seed: int,
    held: int,
    block_rows: int,
    workspace: Workspace,
) -> dict[str, dict[str, Any]]:
    """Agreement, calibration, robustness and size of models, by key.

    Args:
        subjects: the models; up to ``held`` of them see each corrupted image when it is made.
        test: the test rows.
        places: of those that are corrupted.
        space: of the labels.
        settings: what is measured.
        seed: of the noise.
        held: models in memory at a time.
        block_rows: images that are corrupted at a time.
        workspace: keeps what is done.
    """
    from students.assessment.robustness import robustness

    pieces = list(_pieces(subjects, settings, held))
    at_work = _AtWork(test, places, space, settings, derive_seed(seed, "corruptions"), block_rows)
    for number, path in workspace.shards(NAME, len(pieces), ".json"):
        write_json(path, at_work.done(pieces[number]))
    found: dict[str, dict[str, Any]] = {}
    by: dict[str, dict[str, dict[int, dict[str, float]]]] = {}
    for piece, path in zip(pieces, workspace.shard_paths(NAME, len(pieces), ".json"), strict=True):
        result = json.loads(path.read_text(encoding="utf-8"))
        if piece.corruption is None:
            found[piece.group[piece.place].key] = result
            continue
        for subject in (subject for subject in piece.group if subject.corrupted):
            by.setdefault(subject.key, {}).setdefault(piece.corruption, {})[piece.severity] = result[subject.key]
    for key, entry in found.items():
        clean = entry.pop("clean")
        entry["robustness"] = robustness(clean, by[key]) if key in by else None
    return found


@dataclass(frozen=True)
class _Piece:
    """One model on the images as they are (no corruption), or a group of models on one corruption of them."""

    group: Sequence[Subject]
    place: int = 0
    corruption: str | None = None
    severity: int = 0


def _pieces(subjects: Sequence[Subject], settings: Assess, held: int) -> Iterator[_Piece]:
    for start in range(0, len(subjects), held):
        group = tuple(subjects[start : start + held])
        yield from (_Piece(group, place) for place in range(len(group)))
        if any(subject.corrupted for subject in group):
            for corruption in settings.corruptions:
                yield from (_Piece(group, 0, corruption, severity) for severity in settings.severities)


class _AtWork:
    """Measures pieces, and holds the models of the group that it is at."""

    def __init__(
        self,
        test: Part,
        places: npt.NDArray[np.int64],
        space: LabelSpace,
        settings: Assess,
        noise: int,
        block_rows: int,
    ) -> None:
        self._test, self._places, self._space, self._settings = test, places, space, settings
        self._images, self._labels, self._rows = test.images[places], test.labels[places], test.rows[places]
        self._noise = noise
        self._block_rows = block_rows
        self._group: Sequence[Subject] = ()
        self._loaded: dict[str, Loaded] = {}

    def done(self, piece: _Piece) -> dict[str, Any]:
        if piece.group is not self._group:
            self._group, self._loaded = piece.group, {}
        if piece.corruption is None:
            return self._as_they_are(piece.group[piece.place])
        return self._corrupted(piece, piece.corruption)

    def _model(self, subject: Subject) -> Loaded:
        if subject.key not in self._loaded:
            self._loaded[subject.key] = subject.load()
        return self._loaded[subject.key]

    def _as_they_are(self, subject: Subject) -> dict[str, Any]:
        from students.assessment.agreement import agreement
        from students.assessment.calibration import calibration
        from students.evaluation import figures, headlines

        answer, size = self._model(subject)
        test, space = self._test, self._space
        outputs = answer(test.images) if subject.outputs is None else subject.outputs
        # What corruption changes is seen on the images that are corrupted.
        clean = headlines(figures(outputs[self._places], self._labels, space))
        return {
            "size": size(),
            "agreement": None if subject.taught is None else agreement(outputs, subject.taught, space),
            "calibration": calibration(outputs, test.labels, space, self._settings.bins),
            "clean": {figure.metric: figure.value for figure in clean},
        }

    def _corrupted(self, piece: _Piece, corruption: str) -> dict[str, Any]:
        from students.assessment.robustness import corrupted_figures

        asked = [subject for subject in piece.group if subject.corrupted]
        found = corrupted_figures(
            [self._model(subject)[0] for subject in asked],
            self._images,
            self._labels,
            self._rows,
            self._space,
            corruption=corruption,
            severity=piece.severity,
            seed=self._noise,
            block_rows=self._block_rows,
        )
        return {subject.key: figures for subject, figures in zip(asked, found, strict=True)}
