"""Short student runs, each a shard of the stage that makes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.compute import Compute
from data.files import write_json
from data.reading import open_set
from data.recipes.relations import sample_related
from data.workspace import Workspace
from flows.execute import StageContext
from flows.filtering import CandidateFilter, Rows
from flows.stages.common import RealSet, UnreadPart, compute_of
from flows.stages.distill import live_teacher, real_rows
from flows.tuning import short_training
from students import training_data
from students.data_parallel import train_in_processes
from students.model import ImageModel

Groups = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class ShortRuns:
    """The first student of the configuration with its first method, in few steps, on different synthetic sets.

    Runs of one seed start from the same weights and take the same real rows in the same order, but that a student
    alone fills its whole batches with them.

    Args:
        context: of the stage ``tuning``.
    """

    context: StageContext

    @cached_property
    def filter(self) -> CandidateFilter:
        """The filter over the candidates."""
        path = self.context.inputs["candidates"].path("candidates.h5")
        return CandidateFilter(open_set(path), self.context.config.synthetic)

    @cached_property
    def real(self) -> RealSet:
        """The real rows; those of the test part are never read here."""
        return RealSet.of(self.context.inputs["real"])

    @cached_property
    def _parts(self) -> tuple[training_data.Rows, UnreadPart]:
        """Training rows with what the method reads of the teacher, and validation rows."""
        return real_rows(self.context, self.real), self.real.unread_validation

    @cached_property
    def _compute(self) -> Compute:
        return compute_of(self.context.config)

    @cached_property
    def _teacher(self) -> ImageModel | None:
        """The teacher's network, for a method that asks it in every step."""
        return live_teacher(self.context, self._compute)

    def scores(self, name: str, sets: Sequence[Rows | None]) -> list[list[float]]:
        """Validation scores of short runs with all seeds, one list a set.

        Every run is a shard of this name; those that are there already are not made again.

        Args:
            name: names the shards.
            sets: candidates to train on beside the real rows, relabelled; None for the real rows alone.
        """
        seeds, workspace = self.context.node.request.config["tuning"]["seeds"], self.context.workspace
        jobs = [(place, seed) for place in range(len(sets)) for seed in seeds]
        loaded: dict[int, training_data.TrainingData] = {}
        for number, path in workspace.shards(name, len(jobs), ".json"):
            place, seed = jobs[number]
            if place not in loaded:
                # Only one set is held at a time, also while the next one is read.
                loaded.clear()
                loaded[place] = self._training_data(sets[place])
            write_json(path, {"validation": self._score(loaded[place], seed, path.with_suffix(""))})
        paths = workspace.shard_paths(name, len(jobs), ".json")
        values = [float(json.loads(path.read_text(encoding="utf-8"))["validation"]) for path in paths]
        return [values[start : start + len(seeds)] for start in range(0, len(values), len(seeds))]

    def _training_data(self, rows: Rows | None) -> training_data.TrainingData:
        if rows is None:
            return training_data.TrainingData(self._parts[0])
        chosen = self.filter
        labels, outputs = chosen.labels(rows), chosen.candidates.take("teacher_outputs", rows)
        synthetic = training_data.Rows(
            chosen.candidates.select("images", rows),
            labels,
            outputs,
            soft_labels=chosen.relabelling == "soft",
            groups=self._groups(labels, outputs),
        )
        return training_data.TrainingData(self._parts[0], synthetic)

    def _groups(self, labels: npt.NDArray[Any], outputs: npt.NDArray[np.float32]) -> Groups | None:
        """Comparisons of a synthetic set as the stage ``recipes`` makes them; None where training draws them itself."""
        asked = self.context.node.request.config.get("recipes")
        if asked is None:
            return None
        return sample_related(
            labels=labels, label_space=self.real.label_space, teacher_outputs=outputs, **asked["groups"]
        )

    def _score(self, data: training_data.TrainingData, seed: int, folder: Path) -> float:
        """What ``students.evaluation.score`` gives for the last weights of one run on the validation rows."""
        section: dict[str, Any] = self.context.node.request.config["distill"]
        validation = self._parts[1]
        found = train_in_processes(
            self.context.config.compute.processes,
            data,
            (validation.images, validation.labels),
            self.real.label_space,
            network=section["student"]["network"],
            options=section["student"]["options"],
            method=section["method"]["name"],
            method_options=section["method"]["options"],
            image_memory=self.context.config.compute.image_memory,
            **short_training(section["training"], self.context.node.request.config["tuning"]["steps"]),
            teacher=self._teacher,
            real_fraction=section["real_fraction"],
            synthetic_weight=section["synthetic_weight"],
            seed=seed,
            initial_seed=seed,
            compute=self._compute,
            workspace=Workspace(folder, checkpoint_seconds=self.context.workspace.checkpoint_seconds),
        )
        shutil.rmtree(folder)
        return found["validation"]
