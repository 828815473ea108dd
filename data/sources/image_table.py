"""Your images with a CSV of labels: a class, a number, several numbers, or a class with a number."""

from __future__ import annotations

import glob
import os
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault
from data.files import path_within
from data.labels import LabelSpace
from data.sources import sources
from data.sources._labelling import (
    PART_NAMES,
    make_pool,
    make_space,
    order_classes,
    order_note,
    outside,
    plain,
    read_values,
    unused_parts,
)
from data.sources._pictures import Damaged, Pictures, open_root
from data.splitting import TEST, VALIDATION
from data.tables import MOST_NAMED, Table, read_table


@dataclass(frozen=True)
class _Rows:
    """A table as understood.

    Args:
        table: as read.
        names: file of every row, relative to the folder.
        lost: rows whose file is missing or no file.
        space: what the labels mean.
        labels: a column of the space.
        parts: 0 training, 1 validation, 2 test, by row; None without such a column.
    """

    table: Table
    names: list[str]
    lost: dict[int, Fault]
    space: LabelSpace
    labels: npt.NDArray[Any]
    parts: npt.NDArray[np.uint8] | None


@sources.register("image_table")
@dataclass(frozen=True)
class ImageTable:
    """Images that a CSV names, a line an image, with what is to be predicted of each.

    Args:
        folder: of the images.
        image_size: pixels a side.
        fit: what is done with images of another size, see ``image_files.read_image_files``.
        damaged: "error" or "skip", for files that are missing or cannot be read.
        name: name of the data set.
        license: SPDX expression.
        homepage: where it is described.
        table: the CSV, relative to the folder.
        file_column: column of the files, relative to the folder.
        file_suffix: what is added to the names in that column.
        class_column: column of the classes; None without.
        classes: class names in the order of the teacher's outputs; empty sorts them, whole numbers by value.
        values: columns of numbers, each a mapping with the fields of ``_labelling.Value``.
        split_column: column that says train, validation or test; None leaves the split open.
        channels: 1 or 3.

    Raises:
        ConfigError: if neither a class nor a value is named, or a class with several values.
    """

    folder: str
    image_size: int = 64
    fit: str = "crop"
    damaged: Damaged = "error"
    name: str = "own"
    license: str = "NOASSERTION"
    homepage: str = ""
    table: str = "labels.csv"
    file_column: str = "file"
    file_suffix: str = ""
    class_column: str | None = None
    classes: tuple[str, ...] = ()
    values: tuple[Mapping[str, Any], ...] = field(default=())
    split_column: str | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        read_values("image_table", self.values, self.class_column is not None)

    @property
    def label_space(self) -> LabelSpace:
        """What the columns mean, with the ends of the data where none are told.

        Raises:
            DataError: if the table cannot be used.
        """
        return self._rows.space

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """The options, the label space, and the digest of labels, parts and files.

        Raises:
            DataError: if the table cannot be used, or files are missing that are not left out by choice.
        """
        rows = self._rows
        parts = np.zeros(0, np.uint8) if rows.parts is None else rows.parts
        return {
            "name": self.name,
            "kind": "image_table",
            "image_shape": list(self.image_shape),
            "fit": self.fit,
            "damaged": self.damaged,
            "license": self.license,
            "homepage": self.homepage,
            "label_space": rows.space.to_dict(),
            "sha256": self._pictures.digest(rows.labels, parts),
        }

    def labels(self) -> npt.NDArray[Any]:
        """A column of the label space, in the order of the table.

        Raises:
            DataError: as ``identity``.
        """
        return self._rows.labels[self._pictures.kept]

    def pool(self) -> npt.NDArray[np.uint8]:
        """By the split column; 0 without one. Shape (N,)."""
        kept = self._pictures.kept
        return make_pool(None if self._rows.parts is None else self._rows.parts[kept], len(kept))

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, C, H, W).

        Raises:
            UnreadableImages: naming all of them that cannot be read.
            DataError: if a row lies outside the data set.
        """
        return self._pictures.read(rows)

    def row_names(self, rows: npt.NDArray[np.integer]) -> list[str]:
        """What a person finds rows by: files relative to the folder."""
        return self._pictures.names_of(rows)

    def skipped(self) -> tuple[Fault, ...]:
        """Files that are left out by choice; reads them all."""
        return self._pictures.skipped()

    def notes(self) -> tuple[str, ...]:
        """How the table was understood where that was a guess."""
        rows = self._rows
        told = []
        if rows.table.separator != ",":
            told.append(f"{rows.table.path}: is read as a table separated by {rows.table.separated_by}.")
        told += order_note(rows.space.names, self.classes, str(rows.table.path))
        if rows.parts is None:
            used = [self.file_column, self.class_column or "", *(str(value["column"]) for value in self.values)]
            columns = [column.casefold() for column in used]
            told += unused_parts(rows.table.columns, columns, str(rows.table.path), "source.split_column")
        if rows.parts is not None:
            for part, word in ((VALIDATION, "validation"), (TEST, "test")):
                if not (rows.parts == part).any():
                    told.append(f"{rows.table.path}: names no {word} rows; these images are taken from train.")
        return tuple(told)

    @cached_property
    def _rows(self) -> _Rows:
        root = open_root("image_table", self.folder)
        path = Path(self.table).expanduser()
        table = read_table(path if path.is_absolute() else root / path)
        if not table.lines:
            raise DataError(f"{table.path}: must have a line for each image, got none; add them.")
        names, lost = self._files(root, table)
        values = read_values("image_table", self.values, self.class_column is not None)
        numbers = np.stack(
            [table.numbers(value.column, "source.values") for value in values] or [np.zeros(len(names))], axis=1
        )[:, : len(values)]
        texts = None if self.class_column is None else self._classes(table, self.class_column)
        found = None
        if texts is not None:
            found = order_classes(texts, self.classes, str(table.path), numerically=True)
        space = make_space(found, values, numbers, str(table.path))
        for axis, column in zip(space.dimensions, numbers.T, strict=True):
            bad = outside(axis, column)
            if bad.size:
                rule = f"{axis.name} must lie between {axis.describe(axis.minimum)} and {axis.describe(axis.maximum)}"
                shown = [f"{column[row]:g}" for row in bad]
                table.refuse(rule, bad, shown, "correct them, or change minimum and maximum in source.values")
        classes = None
        if texts is not None and found is not None:
            places = {name: place for place, name in enumerate(found)}
            classes = np.array([places[text] for text in texts], np.int64)
        parts = None if self.split_column is None else _parts(table, self.split_column)
        return _Rows(table, names, lost, space, space.join(classes, numbers), parts)

    def _classes(self, table: Table, column: str) -> list[str]:
        texts = table.column(column, "source.class_column")
        empty = [row for row, text in enumerate(texts) if not text]
        if empty:
            table.refuse(f"column {column} must name a class", empty, ["nothing"] * len(empty), "fill it in")
        return [plain(text) for text in texts]

    def _files(self, root: Path, table: Table) -> tuple[list[str], dict[int, Fault]]:
        """The files of a table, and which of them are not there."""
        written = table.column(self.file_column, "source.file_column")
        names = [str(PurePosixPath(f"{text}{self.file_suffix}")) if text else "" for text in written]
        odd: dict[int, str] = {}
        lost: dict[int, Fault] = {}
        first: dict[str, int] = {}
        sound: dict[str, bool] = {}
        for row, name in enumerate(names):
            folder, slash, _ = name.rpartition("/")
            # A folder is looked at once, not for each of its files.
            if not slash or folder not in sound:
                sound[folder] = _stays_in(root, name)
            if name.startswith("/") or not sound[folder] or name.endswith("/.."):
                odd[row] = repr(written[row]) if name else "nothing"
                continue
            names[row], reason = _look_for(root, name, guess=len(lost) < MOST_NAMED)
            # Names in two forms of Unicode may be one file.
            if names[row] in first:
                odd[row] = f"{name} again, after line {table.lines[first[names[row]]]}"
                continue
            first[names[row]] = row
            if reason:
                lost[row] = Fault(f"{name}, line {table.lines[row]}", reason)
        if odd:
            rule = f"column {self.file_column} must name each file once, by a path that stays in {root}"
            table.refuse(rule, list(odd), list(odd.values()), "correct or remove them")
        return names, lost

    @cached_property
    def _pictures(self) -> Pictures:
        rows = self._rows
        root = Path(self.folder).expanduser()
        return Pictures(str(rows.table.path), root, rows.names, rows.lost, self.image_shape, self.fit, self.damaged)


def _stays_in(root: Path, name: str) -> bool:
    try:
        path_within(root, name)
    except DataError:
        return False
    return True


def _look_for(root: Path, name: str, *, guess: bool) -> tuple[str, str]:
    """The name that a file has on the disk, and why it cannot be opened or nothing; it is not opened."""
    # A Mac may store names in another form of Unicode than a table has them.
    forms = [name] if name.isascii() else [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    for form in forms:
        try:
            mode = os.lstat(root / form).st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISLNK(mode):
            return form, "a link, which is not followed"
        return form, "" if stat.S_ISREG(mode) else "no file"
    path = root / name
    if guess and "\\" in name and (root / name.replace("\\", "/")).is_file():
        return name, "missing: write paths with / instead of \\"
    if guess and not path.suffix and path.parent.is_dir():
        near = sorted(path.parent.glob(f"{glob.escape(path.name)}.*"))
        if near:
            return name, f"missing, but {near[0].name} is there: try source.file_suffix"
    return name, "missing"


def _parts(table: Table, column: str) -> npt.NDArray[np.uint8]:
    texts = table.column(column, "source.split_column")
    found = [PART_NAMES.get(text.casefold()) for text in texts]
    odd = [row for row, part in enumerate(found) if part is None]
    if odd:
        shown = [f"'{texts[row]}'" if texts[row] else "nothing" for row in odd]
        table.refuse(f"column {column} must say train, validation or test", odd, shown, "correct them")
    return np.array([part or 0 for part in found], np.uint8)
