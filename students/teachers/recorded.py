"""A teacher whose every answer goes through the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from students.ledger import Ledger, Outputs, Send, image_digests
from students.ledger_requests import Images
from students.teachers import Teacher
from students.teachers.http import HttpClient
from students.teachers.interface import Interface

if TYPE_CHECKING:
    from data.labels import LabelSpace


class Tally:
    """Counts what many images would cost, before any is asked for; equal images of one ledger cost once."""

    def __init__(self) -> None:
        self._wanted: dict[Path, set[bytes]] = {}
        self._ledgers: list[Ledger] = []

    def add(self, ledger: Ledger, digests: list[bytes]) -> list[bytes]:
        """Counts images that are still to be paid for in a ledger, and returns them."""
        if all(ledger is not other for other in self._ledgers):
            self._ledgers.append(ledger)
        new = ledger.unspent(list(dict.fromkeys(digests)))
        self._wanted.setdefault(ledger.path, set()).update(new)
        return new

    def check(self) -> None:
        """Checks the budgets.

        Raises:
            StageError: if one does not allow what was counted.
        """
        for ledger in self._ledgers:
            if self._wanted[ledger.path]:
                ledger.require(len(self._wanted[ledger.path]))


@runtime_checkable
class Counted(Protocol):
    """A teacher that can tell what answers would cost."""

    def count(self, images: Images, tally: Tally) -> None:
        """Counts what answers for uint8 images (n, C, H, W) would cost."""


class RecordedAnswers:
    """Answers out of a ledger, and new ones into it; a ``Teacher``.

    Args:
        ledger: of what ``send`` asks.
        label_space: what the outputs mean.
        send: asks the teacher; see ``students.ledger.Send``.
        convert: what was recorded to answers.
        variant: what images become before they are sent; see ``students.ledger.Ledger.ask``.
        prepare: makes that of them.
        inside: the teacher that ``send`` asks, if that may cost something.
    """

    def __init__(
        self,
        ledger: Ledger,
        label_space: LabelSpace,
        send: Send,
        convert: Callable[[Outputs], Outputs] = lambda outputs: outputs,
        *,
        variant: str = "",
        prepare: Callable[[Images], Images] = lambda images: images,
        inside: Teacher | None = None,
    ) -> None:
        self.ledger = ledger
        self.label_space = label_space
        self._send = send
        self._convert = convert
        self._variant = variant
        self._prepare = prepare
        self._inside = inside

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs for uint8 images (n, C, H, W), float32 (n, K), each asked for at most once in the ledger's life."""
        if not len(images):
            return np.empty((0, self.label_space.outputs), np.float32)
        return self._convert(self.ledger.ask(images, self._send, variant=self._variant, prepare=self._prepare))

    def count(self, images: Images, tally: Tally) -> None:
        """Counts what answers for uint8 images (n, C, H, W) would cost."""
        digests = image_digests(images, self._variant)
        new = set(tally.add(self.ledger, digests))
        if isinstance(self._inside, Counted) and new:
            self._inside.count(images[[digest in new for digest in digests]], tally)


def recorded_endpoint(ledger: Ledger, client: HttpClient, interface: Interface) -> RecordedAnswers:
    """An endpoint with its ledger, which holds what the server gave, before columns are picked and units changed.

    Another choice of columns or units therefore asks for nothing anew, and a choice that does not fit costs nothing
    but a correction.

    Args:
        ledger: of the endpoint and the version of its model.
        client: asks it.
        interface: what it takes and gives.
    """
    who = f"teacher {client.endpoint.url}"
    return RecordedAnswers(
        ledger,
        interface.label_space,
        client,
        lambda outputs: interface.to_answers(outputs, who),
        variant=interface.variant,
        prepare=interface.bytes,
    )


def recorded_teacher(ledger: Ledger, teacher: Teacher) -> RecordedAnswers:
    """A teacher of any other kind with a ledger.

    Args:
        ledger: of the teacher's artifact.
        teacher: answers.
    """
    return RecordedAnswers(
        ledger, teacher.label_space, lambda images, key, encoding: teacher.answer(images), inside=teacher
    )
