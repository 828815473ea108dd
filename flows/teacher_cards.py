"""What the artifact of the stage ``teacher`` tells of a teacher from elsewhere: who it is, what it takes and gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import DataError
from flows.teacher_config import EnsembleTeacher, FactoryTeacher, HttpTeacher, Imported, Teacher

if TYPE_CHECKING:
    from data.labels import LabelSpace
    from students.teachers.interface import Interface

CARD = "teacher.json"


def member_folder(folder: Path, place: int) -> Path:
    """Where the artifact of an ensemble keeps a member."""
    return folder / f"member-{place}"


def read_card(folder: Path) -> dict[str, Any]:
    """What the stage ``teacher`` wrote of a teacher from elsewhere.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        _ = card["identity"], card["interface"], card["network"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"teacher card {folder / CARD} must be readable, got {type(error).__name__}; make it again with "
            "--force teacher."
        ) from error
    return card


def makes_network(teacher: Teacher, folder: Path) -> bool:
    """Whether the factories of a teacher, or of the members of an ensemble, have all made networks; others see to it.

    Args:
        teacher: its section.
        folder: of its artifact.

    Raises:
        DataError: if the artifact is damaged.
    """
    if isinstance(teacher, EnsembleTeacher):
        return all(makes_network(member, member_folder(folder, place)) for place, member in enumerate(teacher.members))
    return not isinstance(teacher, FactoryTeacher) or bool(read_card(folder)["network"])


def runs_here(teacher: Teacher, folder: Path) -> bool:
    """Whether a teacher is weights or files that are here, so that asking it can cost nothing but time.

    Args:
        teacher: its section.
        folder: of its artifact.

    Raises:
        DataError: if the artifact is damaged.
    """
    members = teacher.members if isinstance(teacher, EnsembleTeacher) else (teacher,)
    return not any(isinstance(member, HttpTeacher) for member in members) and makes_network(teacher, folder)


def interface_of(card: dict[str, Any]) -> Interface:
    """What a teacher from elsewhere takes and gives, from its card."""
    from data.labels import LabelSpace
    from students.teachers.interface import Interface

    told = dict(card["interface"])
    for name in ("mean", "std", "outputs"):
        told[name] = None if told[name] is None else tuple(told[name])
    channels, height, width = card["image_shape"]
    return Interface(LabelSpace.from_dict(card["label_space"]), (channels, height, width), **told)


def configured_interface(
    teacher: Imported, space: LabelSpace, image_shape: tuple[int, int, int], **more: Any
) -> Interface:
    """What a teacher from elsewhere takes and gives, from its section.

    Args:
        teacher: the section.
        space: of this run.
        image_shape: of the images of this run.
        more: what the section leaves open.
    """
    from students.teachers.interface import Interface

    names = ("input_size", "input_channels", "mean", "std", "gives", "values", "outputs")
    told = {name: getattr(teacher, name) for name in names if hasattr(teacher, name)}
    return Interface(space, image_shape, **{**more, **{name: item for name, item in told.items() if item is not None}})
