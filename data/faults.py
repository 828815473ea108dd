"""Files that cannot be used: what each is called, why, and the one sentence that tells of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from data.errors import DataError

#: Faults that a message names; the rest is counted.
MOST_NAMED = 8


@dataclass(frozen=True)
class Fault:
    """A file, or an image within one, that cannot be used.

    Args:
        name: what a person finds it by: a path within the data set's folder, or a file and a row.
        reason: why, in a few words.
        remedy: what to do about such a file, in a few words about "it"; empty if there is nothing but another file.
    """

    name: str
    reason: str
    remedy: str = field(default="", compare=False)

    def __str__(self) -> str:
        """``name (reason)``, on one line and without characters that a terminal or UTF-8 cannot take."""
        return f"{printable(self.name)} ({printable(self.reason)})"


class UnreadableImages(DataError):  # noqa: N818
    """Images of a data set that cannot be read, all those that were looked at.

    Args:
        faults: what cannot be read, at least one.
        images: how many images were looked at.
        where: name of the data set.
        remedy: what a person may do, the end of the sentence.
    """

    def __init__(self, faults: Sequence[Fault], images: int, where: str, remedy: str) -> None:
        self.faults = tuple(faults)
        self.images = images
        self.where = where
        self.remedy = remedy
        super().__init__(f"{where}: {len(faults):,} of {images:,} images cannot be read: {in_words(faults)}; {remedy}.")


def in_words(faults: Sequence[Fault]) -> str:
    """The first faults by name, and how many more there are."""
    more = len(faults) - MOST_NAMED
    return ", ".join(map(str, faults[:MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def printable(text: str) -> str:
    """A text on one line: control characters and bytes of names that are no UTF-8 are written as escapes."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in whole)
