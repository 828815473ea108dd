"""What several stages share: the compute they run on, and the rows of the real set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError, StageError
from data.labels import LabelSpace
from data.reading import ImageSet, Selected, open_set
from data.splitting import TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from data.compute import Compute
    from data.store import Artifact
    from data.views import ViewRule
    from flows.config import Config
    from flows.execute import StageContext
    from flows.teachers import OpenTeacher
    from generators.external import ExternalSampler
    from generators.sampling import Sampler

#: Blocks of a network that are read and asked about at a time.
_BLOCKS = 4


def compute_of(config: Config) -> Compute:
    """The device and precision that the configuration asks for; sets the number of threads."""
    import torch

    from data.compute import pick_compute

    if config.compute.threads is not None:
        torch.set_num_threads(config.compute.threads)
    return pick_compute(config.compute.device, config.compute.precision)


def sampler_of(context: StageContext, compute: Compute) -> Sampler | ExternalSampler:
    """What makes images: the trained generator, or the function that the configuration names."""
    if context.config.generator.kind == "external":
        return external_sampler(context)
    from generators.sampling import load_generator

    return load_generator(context.inputs["generator"].folder, compute)


def external_sampler(context: StageContext) -> ExternalSampler:
    """The function that the configuration names as its generator.

    It is taken from the configuration alone, never from an artifact, as it is code that runs here.

    Raises:
        StageError: if its source file is not the one that was planned with.
    """
    from data.factories import factory_identity
    from generators.external import load_external

    settings = context.config.generator
    if settings.kind != "external":
        raise ValueError(f"generator.kind must be 'external', got '{settings.kind}'.")
    own = context.node.stage == "generator"
    made = context.node.request.config if own else context.inputs["generator"].manifest["config"]
    if factory_identity(settings.factory, "generator.factory") != made["generator"]["source_sha256"]:
        raise StageError(f"generator.factory '{settings.factory}' has changed since this run was planned; run again.")
    real = RealSet.of(context.inputs["real"])
    channels, height, width = real.images.columns["images"].shape[1:]
    return load_external(settings.factory, settings.options, real.label_space, (channels, height, width))


@dataclass(frozen=True)
class Part:
    """Rows of a set, in memory: row numbers (M,), images (M, C, H, W) uint8 and a column of M labels."""

    rows: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]


@dataclass(frozen=True)
class UnreadPart:
    """The same with images that are read when they are asked for, so that a set may be larger than memory."""

    rows: npt.NDArray[np.int64]
    images: Selected
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

    def rows(self, number: int) -> npt.NDArray[np.int64]:
        """Row numbers of one part; no image is read."""
        return np.flatnonzero(np.asarray(self.images.columns["split"]) == number)

    def part(self, number: int) -> Part:
        """The rows of one part, in memory."""
        rows = self.rows(number)
        return Part(rows, self.images.take("images", rows), self.images.take("labels", rows))

    def unread(self, number: int) -> UnreadPart:
        """The rows of one part, whose images stay in the file."""
        rows = self.rows(number)
        return UnreadPart(rows, self.images.select("images", rows), self.images.take("labels", rows))

    @property
    def unread_train(self) -> UnreadPart:
        """Training rows, whose images stay in the file."""
        return self.unread(TRAIN)

    @property
    def train(self) -> Part:
        """Training rows."""
        return self.part(TRAIN)

    @property
    def validation(self) -> Part:
        """Validation rows: they choose steps and settings."""
        return self.part(VALIDATION)

    @property
    def unread_validation(self) -> UnreadPart:
        """Validation rows, whose images stay in the file."""
        return self.unread(VALIDATION)

    @property
    def test(self) -> Part:
        """Test rows: read once, for the final figure."""
        return self.part(TEST)

    @property
    def unread_test(self) -> UnreadPart:
        """Test rows, whose images stay in the file."""
        return self.unread(TEST)


def answered(teacher: OpenTeacher, images: Selected, block_rows: int) -> Iterator[npt.NDArray[np.float32]]:
    """The teacher's outputs for images that are read some blocks at a time, the same as for all of them at once.

    Args:
        teacher: is asked.
        images: uint8 (n, C, H, W).
        block_rows: images that its network takes at a time, so that its blocks stay the same.
    """
    for pictures in read_blocks(images, block_rows):
        yield teacher.answer(pictures)


def read_blocks(images: Selected, block_rows: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Images in pieces of some blocks of a network, read one after the other."""
    size = _BLOCKS * block_rows
    for start in range(0, len(images), size):
        yield images[start : start + size]


def answers_of(artifact: Artifact, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The teacher's outputs for the given rows of the real set, matched by row number, never by order.

    Args:
        artifact: of stage ``answers``.
        rows: row numbers (n,).

    Returns:
        (n, K) for clean images, or (V, n, K) where V views of each were answered; see ``view_rule``.

    Raises:
        DataError: if the teacher has not answered all of them.
    """
    answers = open_set(artifact.path("answers.h5"))
    known = np.asarray(answers.columns["source_row"])
    views = np.asarray(answers.columns["view"]) if "view" in answers.columns else np.zeros(len(known), np.int64)
    found = []
    for view in range(int(views.max(initial=0)) + 1):
        own = np.flatnonzero(views == view)
        order = own[np.argsort(known[own])]
        places = np.searchsorted(known[order], rows)
        if len(own) < len(rows) or not np.array_equal(known[order][np.minimum(places, len(own) - 1)], rows):
            raise DataError(f"{answers.path} does not answer every training row; make it again with --force answers.")
        found.append(answers.take("teacher_outputs", order[places]))
    return np.stack(found) if "view" in answers.columns else found[0]


def view_rule(artifact: Artifact) -> ViewRule | None:
    """How the views were made that a teacher answered; None where it answered the clean images.

    Args:
        artifact: of stage ``answers``.
    """
    from data.views import ViewRule

    told = open_set(artifact.path("answers.h5")).provenance["view"]
    return None if told == "clean" else ViewRule(told["seed"], told["shift_pixels"], told["flip"])


def figures_on_test(context: StageContext, real: RealSet, compute: Compute) -> dict[str, Any]:
    """How good the model in the workspace is on the test part: its first figure, and the list of all."""
    from students.evaluation import predict
    from students.model import load_model

    test = real.unread_test
    model = load_model(context.workspace.folder, compute)
    outputs = predict(model, test.images, compute, context.config.compute.block_rows)
    return figures_of(outputs, test.labels, real.label_space)


def figures_of(outputs: npt.NDArray[np.float32], labels: npt.NDArray[Any], label_space: LabelSpace) -> dict[str, Any]:
    """How good outputs are: their first figure, and the list of all, as metrics of a stage."""
    from students.evaluation import figures

    found = figures(outputs, labels, label_space)
    first = found[0]
    return {
        "metric": first.metric,
        "value": first.value,
        "unit": first.unit,
        "figures": [asdict(figure) for figure in found],
    }
