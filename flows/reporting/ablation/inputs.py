"""What the page of an ablation is made from: its arms, with their students and with what made their images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data.reading import ImageSet
from flows.reporting.inputs import StudentRun
from flows.reporting.wording import ALONE

#: The step that an arm adds to the one before it.
STEPS = {
    "raw": "generated images as they come",
    "subsampled": "rejection sampling",
    "filtered": "the teacher's filter",
    "relabelled": "relabelling",
}
_ROWS = {
    "raw": "+ generated images",
    "subsampled": "+ rejection sampling",
    "filtered": "+ teacher's filter",
    "relabelled": "+ relabelling",
}


@dataclass(frozen=True)
class Arm:
    """One way in which the students' training data were made.

    Args:
        name: alone, raw, subsampled, filtered or relabelled.
        students: trained on its data.
        settings: how its images were chosen and labelled; empty for the student alone.
        candidates: manifest of the images that it chose from; None for the student alone.
        synthetic: manifest of those that it kept; None for the student alone.
    """

    name: str
    students: tuple[StudentRun, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, Any] | None = None
    synthetic: Mapping[str, Any] | None = None

    @property
    def words(self) -> str:
        """What its row in the table is called."""
        student = self.students[0]
        alone = "student alone" if student.method in ALONE else f"real images, {student.shown}"
        return _ROWS.get(self.name, alone)

    @property
    def images(self) -> int:
        """Generated images that its students saw."""
        return 0 if self.synthetic is None else int(self.synthetic["metrics"]["taken"])

    @property
    def kept_share(self) -> float | None:
        """Share of the candidates that was kept; None for the student alone."""
        if self.synthetic is None:
            return None
        return float(self.synthetic["metrics"]["kept"] / self.synthetic["metrics"]["candidates"])

    @property
    def acceptance(self) -> float | None:
        """Share of the draws that the rejection accepted; None where nothing was rejected."""
        if self.candidates is None or not self.settings["subsample"]:
            return None
        return float(self.candidates["metrics"]["acceptance"])

    @property
    def teacher_calls(self) -> int:
        """Teacher answers that it rests on: none where neither choice, nor label, nor method came from the teacher."""
        if self.students[0].method in ALONE and self.settings.get("error", "none") == "none":
            return 0
        return int(self.students[0].manifest["metrics"]["teacher_calls"])


@dataclass(frozen=True)
class AblationInputs:
    """All that the page of an ablation is made from.

    Args:
        name: name of the experiment.
        config: the resolved configuration of the last arm, JSON-ready.
        arms: in order; the first is the student alone.
        left_out: why an arm cannot be, by its name.
        manifests: of every artifact, by its name in the run.
        real: the real images.
    """

    name: str
    config: Mapping[str, Any]
    arms: tuple[Arm, ...]
    left_out: Mapping[str, str]
    manifests: Mapping[str, Mapping[str, Any]]
    real: ImageSet
