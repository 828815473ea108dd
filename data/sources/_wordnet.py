"""Folders and lists of ImageNet's kind, in which classes are WordNet numbers, found in a fixed order.

Links are followed, as a choice of 100 classes is mostly a folder of links to those of the whole ImageNet; one that
leads nowhere is an error or a fault, never passed over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault


@dataclass(frozen=True, eq=False)
class Listed:
    """The image files of a data set, one a row.

    Args:
        names: relative to its folder, with slashes.
        classes: class of each, int64 (N,).
        pool: what each may serve for, as ``Source.pool``, uint8 (N,).
    """

    names: tuple[str, ...]
    classes: npt.NDArray[np.int64]
    pool: npt.NDArray[np.uint8]


def listed(groups: Sequence[tuple[Sequence[str], int, int]]) -> Listed:
    """Rows from groups of files: their names, their class, and what they may serve for."""
    sizes = [len(names) for names, _, _ in groups]
    return Listed(
        names=tuple(name for names, _, _ in groups for name in names),
        classes=np.repeat(np.array([number for _, number, _ in groups], np.int64), sizes),
        pool=np.repeat(np.array([value for _, _, value in groups], np.uint8), sizes),
    )


def image_names(root: Path, folder: str) -> list[str]:
    """Names of the image files in a folder, relative to ``root``, sorted by their characters' numbers.

    The order of a file system says nothing, and differs between machines.

    Raises:
        DataError: if the folder cannot be read.
    """
    from data.image_files import SUFFIXES

    with _entries(root / folder) as entries:
        found = [
            entry.name
            for entry in entries
            if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and not entry.is_dir()
        ]
    return [f"{folder}/{name}" for name in sorted(found)]


def lost_files(root: Path, names: Sequence[str]) -> dict[int, Fault]:
    """Those of ``image_names`` that lead to no file, by their place: links to nothing, pipes and such."""
    return {
        place: Fault(name, "must be a file, no pipe or link to nothing")
        for place, name in enumerate(names)
        if not os.path.isfile(root / name)
    }


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, and of links to folders, sorted, without hidden ones.

    Raises:
        DataError: if the folder cannot be read, or a link in it leads nowhere: without it a class would be lost.
    """
    with _entries(folder) as entries:
        seen = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in seen:
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise DataError(f"{entry.path}: must lead to something, got a link to nothing; correct or remove it.")
    return sorted(entry.name for entry in seen if entry.is_dir())


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that say something, without the spaces around them.

    Raises:
        DataError: if it cannot be read, or is no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be a text file that can be read ({error}); copy it again.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def spoken_names(wnids: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """Class names that a person understands and that keep the WordNet number: "goldfish (n01443537)".

    Args:
        wnids: in the order of the classes.
        words: for a number, its names, of which the first, up to a comma, is taken.
    """
    return tuple(f"{words[wnid].partition(',')[0].strip()} ({wnid})" if wnid in words else wnid for wnid in wnids)


def read_words(path: Path) -> dict[str, str]:
    """Names by WordNet number from a file of lines "n01443537<TAB or space>goldfish, Carassius auratus"."""
    pairs = (line.split(None, 1) for line in read_lines(path))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _entries(folder: Path) -> Any:
    try:
        return os.scandir(folder)
    except OSError as error:
        raise DataError(f"{folder}: must be a folder that can be read ({error.strerror}); check its name.") from error
