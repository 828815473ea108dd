"""The CSV of a folder of images: which files there are, and what stands beside each."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from data.errors import DataError
from data.files import check_regular

LISTING = "labels.csv"
FILE_COLUMNS = ("file", "image", "filename", "file_name")


@dataclass(frozen=True)
class Listing:
    """A CSV as read.

    Args:
        path: the CSV.
        paths: the image of every row, a regular file within the folder.
        columns: the other columns by name in lower case, one text a row.
    """

    path: Path
    paths: list[Path]
    columns: dict[str, list[str]]


def read_listing(folder: Path) -> Listing:
    """Reads ``labels.csv``: a line of names, then a line an image; the images themselves are not opened.

    Raises:
        DataError: if it is missing or no such table, or names a file that is missing or leads out of the folder.
    """
    path = folder / LISTING
    check_regular(path)
    try:
        # spreadsheets write a byte order mark
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            names = [name.strip().lower() for name in next(rows, [])]
            table = []
            for row in rows:
                if row and len(row) != len(names):
                    _refuse(path, f"line {rows.line_num} must have {len(names)} fields, got {len(row)}")
                if row:
                    table.append(row)
    except (OSError, csv.Error, ValueError) as error:
        raise DataError(f"{path}: must be a CSV in UTF-8 with commas ({error}); write it again.") from error
    if len(set(names)) != len(names):
        _refuse(path, f"the columns must have distinct names, got {', '.join(names)}")
    column = next((name for name in FILE_COLUMNS if name in names), None)
    if column is None:
        _refuse(path, f"must have a column {' or '.join(FILE_COLUMNS)}, got {', '.join(names) or 'nothing'}")
    columns = {name: [row[place] for row in table] for place, name in enumerate(names)}
    return Listing(path, [_inside(folder, name, path) for name in columns.pop(column)], columns)


def _inside(folder: Path, name: str, listing: Path) -> Path:
    """The path of a file that a CSV names, if no part of it is a link and it does not leave the folder."""
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in name:
        _refuse(listing, f"files must be named relative to the folder and lie in it, got {name!r}")
    path = folder
    for part in pure.parts[:-1]:
        path = path / part
        if path.is_symlink():
            _refuse(listing, f"{name!r} must not lead over a link, but {path} is one")
    path = folder / pure
    check_regular(path)
    return path


def _refuse(path: Path, fault: str) -> NoReturn:
    raise DataError(f"{path}: {fault}; correct it.")
