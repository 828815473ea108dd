"""Tables of text: CSV with commas, semicolons or tabs, read whole and checked line by line."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.files import check_regular

#: Faults of a table that a message names; the rest is counted.
MOST_NAMED = 8
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Table:
    """A table as read.

    Args:
        path: its file.
        separator: what stands between the fields.
        columns: texts by the column's name as written, one a row, without blanks around them.
        lines: line of the file on which each row ends, from 1.
    """

    path: Path
    separator: str
    columns: dict[str, list[str]]
    lines: list[int]

    @property
    def separated_by(self) -> str:
        """The separator in words."""
        return _SEPARATORS[self.separator]

    def column(self, name: str, option: str) -> list[str]:
        """The texts of a column; upper and lower case matter only where names differ by it.

        Args:
            name: the column's name.
            option: where a person wrote that name, for the message.

        Raises:
            DataError: naming the nearest column.
        """
        return self.columns[nearest(name, list(self.columns), str(self.path), option)]

    def numbers(self, name: str, option: str) -> npt.NDArray[np.float64]:
        """A column of finite numbers, float64 (N,).

        Args:
            name: the column's name.
            option: where a person wrote that name, for the message.

        Raises:
            DataError: naming the lines with anything else.
        """
        texts = self.column(name, option)
        values = np.array([_number(text) for text in texts], np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            comma = any("," in texts[row] for row in bad)
            remedy = "write numbers with a point, such as 3.5" if comma else "correct them, or remove their lines"
            self.refuse(f"column {name} must hold numbers", bad, [_quoted(texts[row]) for row in bad], remedy)
        return values

    def refuse(
        self, rule: str, rows: Sequence[int] | npt.NDArray[np.integer], found: Sequence[str], remedy: str
    ) -> NoReturn:
        """Raises DataError: the rule, then the first lines that break it with what they hold, then the remedy."""
        told = [f"line {self.lines[row]}: {text}" for row, text in zip(rows, found, strict=True)]
        more = f" and {len(told) - MOST_NAMED:,} more" if len(told) > MOST_NAMED else ""
        lines = f"{len(told):,} line{'' if len(told) == 1 else 's'}"
        raise DataError(
            f"{self.path}: {rule}, but {lines} do{'es' if len(told) == 1 else ''} not: "
            f"{', '.join(told[:MOST_NAMED])}{more}; {remedy}."
        )


def read_table(path: Path) -> Table:
    """Reads a CSV: a line of names, then a line a row, in UTF-8; empty lines are passed over.

    The separator is the comma, or, where the first line has none, the semicolon or the tab.

    Args:
        path: a regular file, no link.

    Raises:
        DataError: if it is missing or no such table, naming the lines at fault.
    """
    check_regular(path)
    try:
        # spreadsheets write a byte order mark
        with path.open(encoding="utf-8-sig", newline="") as file:
            # empty lines before the names are passed over, too
            first = next((line for line in iter(file.readline, "") if line.strip()), "")
            file.seek(0)
            separator = next((mark for mark in _SEPARATORS if mark in first), ",")
            rows = _filled(csv.reader(file, strict=True, delimiter=separator))
            names = [name.strip() for name in next(rows, ([], 0))[0]]
            columns: list[list[str]] = [[] for _ in names]
            lines: list[int] = []
            odd: list[str] = []
            for row, line in rows:
                if len(row) != len(names):
                    odd.append(f"line {line} must have {len(names)} fields, got {len(row)}")
                    continue
                lines.append(line)
                for column, text in zip(columns, row, strict=True):
                    column.append(text.strip())
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: must be a CSV in UTF-8 ({error.reason} at byte {error.start}); save it as 'CSV UTF-8'."
        ) from error
    except (OSError, csv.Error, ValueError) as error:
        raise DataError(f"{path}: must be a CSV in UTF-8 with commas ({error}); write it again.") from error
    if odd:
        more = f" and {len(odd) - MOST_NAMED:,} more" if len(odd) > MOST_NAMED else ""
        raise DataError(
            f"{path}: {', '.join(odd[:MOST_NAMED])}{more}; put quotes around texts with {_SEPARATORS[separator]}."
        )
    if len(set(names)) != len(names):
        raise DataError(f"{path}: the columns must have distinct names, got {', '.join(names)}; correct it.")
    return Table(path, separator, dict(zip(names, columns, strict=True)), lines)


def nearest(name: str, names: Sequence[str], where: str, option: str) -> str:
    """The one of ``names`` that a person meant; upper and lower case matter only where names differ by it.

    Args:
        name: as a person wrote it.
        names: what there is.
        where: the file, for the message.
        option: where a person wrote it, for the message.

    Raises:
        DataError: naming the nearest one.
    """
    if name in names:
        return name
    folded = [other for other in names if other.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"set {option} to one of them."
    raise DataError(f"{where}: must have '{name}' ({option}), got {', '.join(names) or 'nothing'}; {hint}")


def _filled(rows: Iterator[list[str]]) -> Iterator[tuple[list[str], int]]:
    """Rows that are not empty, with their line."""
    for row in rows:
        if row:
            yield row, rows.line_num  # type: ignore[attr-defined]


def _number(text: str) -> float:
    """The number that a text writes, or NaN; Python's underscores and words for infinity are no numbers here."""
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _quoted(text: str) -> str:
    return f"'{text[:40]}'" if text else "nothing"
