"""Opens the teacher of a run, whatever its kind: as something that answers, or as a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from data.errors import ConfigError, StageError
from flows.teacher_cards import interface_of, member_folder, read_card
from flows.teacher_config import (
    CheckpointTeacher,
    EnsembleTeacher,
    FactoryTeacher,
    HttpTeacher,
    OnnxTeacher,
    PretrainedTeacher,
    Teacher,
)
from flows.teacher_identity import (
    has_network,
    is_paid,
    judges,
    ledger_identity,
    teacher_gives,
    teacher_identity,
    uses_ledger,
    why_not_live,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.compute import Compute
    from data.labels import LabelSpace
    from flows.execute import StageContext
    from students.ledger import Ledger
    from students.model import ImageModel
    from students.teachers import Teacher as Answering

__all__ = [
    "OpenTeacher",
    "has_network",
    "is_paid",
    "judging_teacher",
    "open_teacher",
    "teacher_gives",
    "teacher_network",
]


class OpenTeacher:
    """A teacher that a stage asks; a ``students.teachers.Teacher``, closed when the stage is done.

    Args:
        teacher: answers.
        ledgers: where what was paid for is counted.
        closing: what is closed with it.
        limited: whether any of it has a budget.
    """

    def __init__(self, teacher: Answering, ledgers: list[Ledger], closing: ExitStack, *, limited: bool = False) -> None:
        self._limited = limited
        self._teacher = teacher
        self._ledgers = ledgers
        self._closing = closing

    def __enter__(self) -> OpenTeacher:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes connections, and frees what it has reserved in ledgers."""
        self._closing.close()

    @property
    def label_space(self) -> LabelSpace:
        """What its outputs mean."""
        return self._teacher.label_space

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs for uint8 images (n, C, H, W), float32 (n, K) in the labels' units."""
        return self._teacher.answer(images)

    def check_budget(self, pictures: Iterable[npt.NDArray[np.uint8]]) -> None:
        """Checks that budgets allow all that a stage will ask for, before it asks for the first.

        Args:
            pictures: sets of uint8 images (n, C, H, W); looked at only where there is a budget.

        Raises:
            StageError: if one does not.
        """
        from students.teachers.recorded import Counted, Tally

        if not isinstance(self._teacher, Counted) or not self._limited:
            return
        tally = Tally()
        for images in pictures:
            self._teacher.count(images, tally)
        tally.check()

    def paid(self) -> dict[str, int]:
        """``paid_calls``: images that were newly paid for in the making of this artifact, over all its attempts.

        Members that share a ledger are counted once. Nothing for a teacher without a ledger.
        """
        if not self._ledgers:
            return {}
        return {"paid_calls": sum({ledger.path: ledger.paid() for ledger in self._ledgers}.values())}


def open_teacher(context: StageContext, compute: Compute) -> OpenTeacher:
    """The teacher of a stage that has it as its input, with ledger and budget where it has these.

    Args:
        context: of a stage with the input "teacher".
        compute: where networks run, and in what precision.

    Raises:
        DataError: if its artifact is damaged.
        ConfigError: if the token is not there.
        StageError: if a file or a factory is not the one that was planned with.
    """
    opener = _Opener(context, compute)
    with ExitStack() as closing:
        teacher = opener.open(context.config.teacher, context.inputs["teacher"].folder, closing)
        return OpenTeacher(teacher, opener.ledgers, closing.pop_all(), limited=opener.limited)


def open_unrecorded(context: StageContext, folder: Path, compute: Compute) -> OpenTeacher:
    """A teacher that costs nothing, from the folder of its artifact to be, past any ledger.

    Args:
        context: of the stage that makes it.
        folder: where it lies.
        compute: where networks run, and in what precision.

    Raises:
        ValueError: for an endpoint.
    """
    with ExitStack() as closing:
        teacher = _Opener(context, compute, recorded=False).open(context.config.teacher, folder, closing)
        return OpenTeacher(teacher, [], closing.pop_all())


def judging_teacher(context: StageContext, compute: Compute) -> AbstractContextManager[OpenTeacher | None]:
    """The teacher, for stages that only judge; None where asking it costs something and ``judges`` is not set."""
    return open_teacher(context, compute) if judges(context.config.teacher) else nullcontext()


def teacher_network(context: StageContext, compute: Compute) -> ImageModel:
    """The teacher as a network, for whatever runs it itself.

    Args:
        context: of a stage with the input "teacher".
        compute: where.

    Raises:
        ConfigError: if it is none, or may not be asked past its ledger.
        DataError: if its artifact is damaged.
        StageError: if a factory is not the one that was planned with.
    """
    teacher = context.config.teacher
    if not has_network(teacher):
        raise ConfigError(
            f"{context.node.stage} needs the teacher as a network, but {why_not_live(teacher)}; "
            "'stillhouse list methods' shows which methods need its answers alone."
        )
    return _Opener(context, compute).network(teacher, context.inputs["teacher"].folder)


class _Opener:
    """Opens teachers and the members of ensembles, and keeps the ledgers that count what was paid for."""

    def __init__(self, context: StageContext, compute: Compute, *, recorded: bool = True) -> None:
        self.ledgers: list[Ledger] = []
        self.limited = False
        self._recorded = recorded
        self._context = context
        self._compute = compute
        self._block_rows = context.config.compute.block_rows

    def open(self, teacher: Teacher, folder: Path, closing: ExitStack) -> Answering:
        if isinstance(teacher, HttpTeacher):
            if not self._recorded:
                raise ValueError("an endpoint must be asked through its ledger.")
            return self._endpoint(teacher, folder, closing)
        before = len(self.ledgers)
        answering = self._local(teacher, folder, closing)
        inside = len(self.ledgers) > before
        if not uses_ledger(teacher) or not self._recorded:
            return answering
        from students.teachers.recorded import recorded_teacher

        ledger = self._ledger(teacher, self._local_identity(teacher, folder), self._block_rows, closing)
        if not inside:  # else what an ensemble answers is paid for in the ledgers of its members
            self.ledgers.append(ledger)
        return recorded_teacher(ledger, answering)

    def _local_identity(self, teacher: Teacher, folder: Path) -> dict[str, Any]:
        """What a ledger of an artifact's teacher is known by: also its files, as one that is made again may differ."""
        artifact = self._context.inputs["teacher"]
        part = "" if folder == artifact.folder else f"{folder.relative_to(artifact.folder).as_posix()}/"
        files = {
            name: entry["sha256"]
            for name, entry in sorted(artifact.manifest["files"].items())
            # The log of a training holds times.
            if name.startswith(part) and not name.endswith(".jsonl")
        }
        identity = {"kind": teacher.kind, "artifact": artifact.fingerprint, "files": files}
        return identity | ({"part": folder.name} if part else {})

    def network(self, teacher: Teacher, folder: Path) -> ImageModel:
        from students.model import load_model

        if isinstance(teacher, EnsembleTeacher):
            return self._ensemble_network(teacher, folder)
        if isinstance(teacher, FactoryTeacher):
            return self._factory_network(teacher, folder)
        card = read_card(folder) if isinstance(teacher, CheckpointTeacher | PretrainedTeacher) else {}
        if not card.get("adapted"):
            return load_model(folder, self._compute)
        from students.model import CARD as MODEL_CARD
        from students.teachers.checkpoint import checkpoint_network
        from students.teachers.network import reopened

        model = json.loads((folder / MODEL_CARD).read_text(encoding="utf-8"))
        interface = interface_of(card)
        network = checkpoint_network(model["network"], model["options"], interface, int(card["raw_outputs"]))
        return reopened(network, interface, folder, f"teacher {model['network']}", self._compute)

    def _local(self, teacher: Teacher, folder: Path, closing: ExitStack) -> Answering:
        from students.teachers.network import NetworkAnswers

        if isinstance(teacher, EnsembleTeacher):
            from students.teachers.ensemble import EnsembleAnswers

            members = [
                self.open(member, member_folder(folder, place), closing) for place, member in enumerate(teacher.members)
            ]
            return EnsembleAnswers(members, teacher.weights or [1.0] * len(members))
        if isinstance(teacher, OnnxTeacher):
            from students.teachers.onnx import open_onnx

            card = read_card(folder)
            self._check_unchanged(teacher, card)
            return open_onnx(Path(teacher.path), interface_of(card), self._compute, self._block_rows)
        if isinstance(teacher, FactoryTeacher) and not read_card(folder)["network"]:
            from students.teachers.function import FunctionAnswers

            card = read_card(folder)
            return FunctionAnswers(
                self._called(teacher, card), interface_of(card), f"teacher {teacher.factory}", self._block_rows
            )
        return NetworkAnswers(self.network(teacher, folder), self._compute, self._block_rows)

    def _endpoint(self, teacher: HttpTeacher, folder: Path, closing: ExitStack) -> Answering:
        from students.teachers.http import Endpoint, HttpClient
        from students.teachers.recorded import recorded_endpoint

        client = HttpClient(
            Endpoint(
                url=teacher.url,
                encoding=teacher.encoding,
                timeout_seconds=teacher.timeout_seconds,
                attempts=teacher.attempts,
                backoff_seconds=teacher.backoff_seconds,
                requests_per_second=teacher.requests_per_second,
                token_variable=teacher.token_variable,
            )
        )
        closing.callback(client.close)
        ledger = self._ledger(
            teacher,
            ledger_identity(teacher),
            teacher.batch_images,
            closing,
            encoding=teacher.encoding,
            give_up_unanswered=teacher.give_up_unanswered,
        )
        self.ledgers.append(ledger)
        return recorded_endpoint(ledger, client, interface_of(read_card(folder)))

    def _ledger(
        self, teacher: Teacher, identity: dict[str, Any], rows: int, closing: ExitStack, **settings: Any
    ) -> Ledger:
        from students.ledger import Ledger

        folder, request = self._context.ledgers, self._context.node.request
        if folder is None:
            raise StageError(f"teacher.kind '{teacher.kind}' with a ledger needs a folder for it; run it with a store.")
        ledger = Ledger(
            folder,
            identity,
            stage=request.stage,
            artifact=request.fingerprint,
            max_calls=teacher.max_calls,
            request_images=rows,
            warn=self._context.warn,
            **settings,
        )
        closing.callback(ledger.close)
        self.limited |= teacher.max_calls is not None
        return ledger

    def _called(self, teacher: FactoryTeacher, card: dict[str, Any]) -> Callable[..., Any]:
        from students.teachers.factory import call_factory

        self._check_unchanged(teacher, card)
        return call_factory(teacher.factory, teacher.options, int(card["seed"]))

    def _factory_network(self, teacher: FactoryTeacher, folder: Path) -> ImageModel:
        from torch import nn

        from students.teachers.network import reopened

        card, who = read_card(folder), f"teacher {teacher.factory}"
        made = self._called(teacher, card)
        if not isinstance(made, nn.Module):
            raise StageError(
                f"{who} must make a torch network to be run in every step or for its features, got a "
                f"{type(made).__name__}; choose methods that need its answers alone, and other ratio.features."
            )
        return reopened(made, interface_of(card), folder, who, self._compute)

    def _ensemble_network(self, teacher: EnsembleTeacher, folder: Path) -> ImageModel:
        import numpy as np

        from students.model import ImageModel
        from students.teachers.ensemble import EnsembleNetwork

        members = [self.network(member, member_folder(folder, place)) for place, member in enumerate(teacher.members)]
        network = EnsembleNetwork(members, teacher.weights or [1.0] * len(members))
        first = members[0].card
        card = {"network": "ensemble", "options": {}, **{name: first[name] for name in ("image_shape", "label_space")}}
        channels = int(first["image_shape"][0])
        model = ImageModel(network, card, np.zeros(channels), np.ones(channels))
        self._compute.place(model)
        return model.eval()

    def _check_unchanged(self, teacher: Teacher, card: dict[str, Any]) -> None:
        if teacher_identity(teacher) != card["identity"]:
            what = getattr(teacher, "path", None) or getattr(teacher, "factory", teacher.kind)
            raise StageError(f"teacher '{what}' has changed since this run was planned; start the run again.")
