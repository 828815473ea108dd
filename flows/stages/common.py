"""What several stages share: the compute they run on, and the rows of the real set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from data.reading import ImageSet, open_set
from data.splitting import TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from data.compute import Compute
    from data.store import Artifact
    from flows.config import Config
    from flows.execute import StageContext


def compute_of(config: Config) -> Compute:
    """The device and precision that the configuration asks for; sets the number of threads."""
    import torch

    from data.compute import pick_compute

    if config.compute.threads is not None:
        torch.set_num_threads(config.compute.threads)
    return pick_compute(config.compute.device, config.compute.precision)


@dataclass(frozen=True)
class Part:
    """Rows of a set, in memory: row numbers (M,), images (M, C, H, W) uint8 and labels (M,)."""

    rows: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]


@dataclass(frozen=True)
class RealSet:
    """The real set of a run and its three parts."""

    images: ImageSet

    @classmethod
    def of(cls, artifact: Artifact) -> RealSet:
        """Opens the set of a ``prepare`` artifact."""
        return cls(open_set(artifact.path("real.h5")))

    @property
    def label_space(self) -> LabelSpace:
        """Space of the labels."""
        return self.images.label_space

    def part(self, number: int) -> Part:
        """The rows of one part."""
        rows = np.flatnonzero(self.images.columns["split"] == number)
        return Part(rows, self.images.take("images", rows), self.images.take("labels", rows))

    @property
    def train(self) -> Part:
        """Training rows."""
        return self.part(TRAIN)

    @property
    def validation(self) -> Part:
        """Validation rows: they choose steps and settings."""
        return self.part(VALIDATION)

    @property
    def test(self) -> Part:
        """Test rows: read once, for the final figure."""
        return self.part(TEST)


def figure_on_test(context: StageContext, real: RealSet, compute: Compute) -> dict[str, Any]:
    """The figure of the model in the workspace on the test part, with its metric and unit."""
    from students.evaluation import predict, score
    from students.model import load_model

    test = real.test
    model = load_model(context.workspace.folder, compute)
    outputs = predict(model, test.images, compute, context.config.compute.block_rows)
    metric, value = score(outputs, test.labels, real.label_space)
    unit = "%" if metric == "accuracy" else real.label_space.unit
    return {"metric": metric, "value": value, "unit": unit}
