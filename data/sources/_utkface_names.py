"""Names of the files of UTKFace, which are all that its labels are kept in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault

# The published files end in .jpg, .jpg.chip.jpg, and, one of them, in jpg.chip.jpg without the first dot.
_NAME = re.compile(r"(?P<face>(?P<age>\d{1,3})_[01]_[0-4]_\d{8,17})(?!\d)[^_]*", re.ASCII)
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Faces:
    """Files of a folder by what their names say.

    Args:
        names: paths relative to the folder whose names are whole, in ascending order.
        ages: in years, int64, one a name.
        faults: image files whose names lack a field, so that nobody knows their age, and links to nothing and such.
        copies: files whose name tells the same age, gender, race and date as one before, with that one's name; they
            are no rows, as one of them might test what the other trained.
    """

    names: tuple[str, ...]
    ages: npt.NDArray[np.int64]
    faults: tuple[Fault, ...]
    copies: tuple[tuple[str, str], ...]


def image_names(folder: Path) -> list[str]:
    """All image files below a folder, relative to it, in ascending order; hidden ones are not looked at.

    Raises:
        DataError: if there are none, or the folder cannot be read.
    """
    if not folder.is_dir():
        raise DataError(
            f"utkface: path must be the folder of the aligned faces, or an HDF5 file, got {folder}; unpack "
            "UTKFace.tar.gz there."
        )
    found: list[str] = []

    def stop(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); check who may read it.") from error

    for place, folders, files in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = Path(place).relative_to(folder)
        found += [
            (inner / name).as_posix() for name in files if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise DataError(f"utkface: {folder} must hold image files, got none; unpack UTKFace.tar.gz there.")
    return sorted(found)


def regular_names(folder: Path) -> list[str]:
    """Those of ``image_names`` that are files; links are followed.

    Raises:
        DataError: as ``image_names``.
    """
    return [name for name in image_names(folder) if os.path.isfile(folder / name)]


def find_faces(folder: Path) -> Faces:
    """Reads the ages off the names ``[age]_[gender]_[race]_[date].jpg``, or ``.jpg.chip.jpg``.

    Raises:
        DataError: as ``image_names``.
    """
    first: dict[str, str] = {}
    ages: list[int] = []
    faults: list[Fault] = []
    copies: list[tuple[str, str]] = []
    for name in image_names(folder):
        match = _NAME.fullmatch(name.rpartition("/")[2])
        if not os.path.isfile(folder / name):
            faults.append(Fault(name, "must be a file, no folder, pipe or link to nothing"))
        elif match is None:
            faults.append(Fault(name, "must be named age_gender_race_date.jpg, gender 0 or 1 and race 0 to 4"))
        elif match["face"] in first:
            copies.append((name, first[match["face"]]))
        else:
            first[match["face"]] = name
            ages.append(int(match["age"]))
    return Faces(tuple(first.values()), np.array(ages, np.int64), tuple(faults), tuple(copies))
