"""What the teacher was asked, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flows.reporting.inputs import ReportInputs
from flows.reporting.wording import count

#: Stages that ask the teacher, in their order, and what they ask about.
_STAGES = {
    "answers": "training images",
    "ratio": "images of the density ratio",
    "candidates": "candidate images",
    "fidelity": "generated and test images",
    "tuning": "images of the short runs",
    "audit": "real and synthetic images",
    "recipes": "mixed images",
    "assess": "test images, as they are and corrupted",
}
_USED = ("teacher_calls", "teacher_calls_to_judge")


@dataclass(frozen=True)
class StageCalls:
    """Answers that one stage used.

    Args:
        stage: its name.
        words: what was asked about.
        used: answers, each image counted as often as it was asked about.
        paid: those that were newly paid; None where nothing is paid, as the teacher runs here without a record.
    """

    stage: str
    words: str
    used: int
    paid: int | None


@dataclass(frozen=True)
class Calls:
    """Calls of all stages, and the budget; None for none."""

    stages: tuple[StageCalls, ...]
    budget: int | None

    @property
    def paid(self) -> bool:
        """Whether answers are paid at all."""
        return any(stage.paid is not None for stage in self.stages)

    @property
    def note(self) -> str:
        """What the numbers mean."""
        if not self.paid:
            return "The teacher runs here: its answers cost computing time and nothing else."
        limit = "There is no budget" if self.budget is None else f"The budget is {count(self.budget)} calls"
        return (
            "Newly paid: answers that were in no record and were asked for while the artifact was made; an answer in "
            f"the ledger is never paid for again. {limit} (teacher.max_calls, over all runs of a store)."
        )

    def to_dict(self) -> dict[str, Any]:
        """``calls`` of report.json."""
        return {"budget": self.budget, "stages": [asdict(stage) for stage in self.stages]}


def _stage(manifest: Mapping[str, Any]) -> str:
    return str(manifest.get("stage", ""))


def stage_calls(inputs: ReportInputs) -> Calls:
    """What every stage asked, from the metrics of the manifests; stages that asked nothing are left out.

    Students ask nothing here: the count among their results is what their data rest on, and a teacher that is run in
    every step is none whose answers are counted.
    """
    found = []
    for stage, words in _STAGES.items():
        nodes = [manifest.get("metrics", {}) for manifest in inputs.manifests.values() if _stage(manifest) == stage]
        paid = [int(metrics["paid_calls"]) for metrics in nodes if metrics.get("paid_calls") is not None]
        asked = sum(int(metrics.get(name) or 0) for metrics in nodes for name in _USED)
        used = max(asked, sum(paid))
        if used:
            found.append(StageCalls(stage, words, used, sum(paid) if paid else None))
    teacher: Mapping[str, Any] = inputs.config.get("teacher") or {}
    return Calls(tuple(found), teacher.get("max_calls"))
