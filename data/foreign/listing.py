"""The CSV of a folder of images: which files there are, and what stands beside each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from data.errors import DataError
from data.files import check_regular, path_within
from data.tables import read_table

LISTING = "labels.csv"
FILE_COLUMNS = ("file", "image", "filename", "file_name")


@dataclass(frozen=True)
class Listing:
    """A CSV as read.

    Args:
        path: the CSV.
        names: the file of every row, as the CSV names it.
        paths: the same file, a regular one within the folder.
        columns: the other columns by name in lower case, one text a row.
    """

    path: Path
    names: list[str]
    paths: list[Path]
    columns: dict[str, list[str]]


def read_listing(folder: Path) -> Listing:
    """Reads ``labels.csv``: a line of names, then a line an image; the images themselves are not opened.

    Raises:
        DataError: if it is missing or no such table, or names a file that is missing or leads out of the folder.
    """
    path = folder / LISTING
    table = read_table(path)
    columns = {name.lower(): texts for name, texts in table.columns.items()}
    if len(columns) != len(table.columns):
        _refuse(path, f"the columns must have distinct names, got {', '.join(table.columns)}")
    column = next((name for name in FILE_COLUMNS if name in columns), None)
    if column is None:
        _refuse(path, f"must have a column {' or '.join(FILE_COLUMNS)}, got {', '.join(columns) or 'nothing'}")
    names = columns.pop(column)
    return Listing(path, names, [_inside(folder, name, path) for name in names], columns)


def _inside(folder: Path, name: str, listing: Path) -> Path:
    try:
        path = path_within(folder, name)
    except DataError as error:
        _refuse(listing, str(error))
    check_regular(path)
    return path


def _refuse(path: Path, fault: str) -> NoReturn:
    raise DataError(f"{path}: {fault}; correct it.")
