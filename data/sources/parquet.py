"""Your images and labels as Parquet files, as Hugging Face data sets keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault, UnreadableImages
from data.file_digests import digest_of, digest_of_files
from data.labels import LabelSpace
from data.sources import check_rows, sources
from data.sources._labelling import (
    make_pool,
    make_space,
    order_classes,
    order_note,
    outside,
    plain,
    read_values,
    some,
    unused_parts,
)
from data.sources._parquet import ImageBytes, ParquetFiles, find_parquet
from data.sources._pictures import Damaged
from data.splitting import TEST, VALIDATION

# Images whose encoded bytes are in memory at a time.
_IMAGES_AT_A_TIME = 64


@dataclass(frozen=True)
class _Rows:
    """What the columns of labels tell: the space, a column of it, the parts or None, whether the files name classes."""

    space: LabelSpace
    labels: npt.NDArray[Any]
    parts: npt.NDArray[np.uint8] | None
    named: bool


@sources.register("parquet")
@dataclass(frozen=True)
class Parquet:
    """Encoded images in a column of Parquet files, with columns of labels.

    Files are read once, a few images at a time, into a file without a name that lasts as long as the process, since
    rows of Parquet cannot be picked out.

    Args:
        path: a file, or a folder of files whose names, or folders, begin with train, validation (val) or test.
        image_size: pixels a side.
        fit: what is done with images of another size, see ``image_files.read_image_files``.
        damaged: "error" or "skip", for images that cannot be read.
        name: name of the data set.
        license: SPDX expression.
        homepage: where it is described.
        classes: class names in the order of the teacher's outputs; empty takes the file's own, or sorts them.
        image_column: column of encoded images, bytes or a struct with ``bytes``.
        class_column: column of classes, numbers or names; None without.
        values: columns of numbers, each a mapping with the fields of ``_labelling.Value``.
        channels: 1 or 3.

    Raises:
        ConfigError: if neither a class nor a value is named, or a class with several values.
    """

    path: str
    image_size: int = 64
    fit: Any = "crop"
    damaged: Damaged = "error"
    name: str = "own"
    license: str = "NOASSERTION"
    homepage: str = ""
    classes: tuple[str, ...] = ()
    image_column: str = "image"
    class_column: str | None = None
    values: tuple[Mapping[str, Any], ...] = field(default=())
    channels: int = 3

    def __post_init__(self) -> None:
        read_values("parquet", self.values, self.class_column is not None)

    @property
    def label_space(self) -> LabelSpace:
        """What the columns mean; the images are not read.

        Raises:
            DataError: if the files cannot be used.
        """
        return self._rows.space

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """The options and the digest of the files.

        Raises:
            DataError: if there are no such files.
        """
        root, parts = find_parquet(self.path)
        names = list(parts)
        # Of a single file the name tells nothing.
        digest = digest_of(root / names[0]) if list(parts.values()) == [None] else digest_of_files(root, names)
        return {
            "name": self.name,
            "kind": "parquet",
            "image_shape": list(self.image_shape),
            "fit": self.fit,
            "damaged": self.damaged,
            "image_column": self.image_column,
            "class_column": self.class_column,
            "classes": list(self.classes),
            "values": [dict(value) for value in self.values],
            "license": self.license,
            "homepage": self.homepage,
            "sha256": digest,
        }

    def labels(self) -> npt.NDArray[Any]:
        """A column of the label space, by file and row.

        Raises:
            DataError: as ``label_space``.
        """
        return self._rows.labels[self._kept]

    def pool(self) -> npt.NDArray[np.uint8]:
        """By the files' names; 0 where they tell nothing. Shape (N,)."""
        parts = self._rows.parts
        return make_pool(None if parts is None else parts[self._kept], len(self._kept))

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, C, H, W).

        Raises:
            UnreadableImages: naming all of them that cannot be read.
            DataError: if a row lies outside the data set, or the files cannot be read.
        """
        from data.image_files import read_image_files, remedy_of

        chosen = self._kept[check_rows(rows, len(self._kept), self.path)]
        images = np.empty((len(chosen), *self.image_shape), np.uint8)
        faults: list[Fault] = []
        # Encoded photographs may take much more memory than the images that are made of them.
        for first in range(0, len(chosen), _IMAGES_AT_A_TIME):
            block = slice(first, first + _IMAGES_AT_A_TIME)
            files, names = self._bytes.take(chosen[block])
            try:
                images[block] = read_image_files(files, self.image_shape, fit=self.fit, where=self.path, names=names)
            except UnreadableImages as error:
                faults += error.faults
        if faults:
            raise UnreadableImages(faults, len(chosen), self.path, remedy_of(faults))
        return images

    def row_names(self, rows: npt.NDArray[np.integer]) -> list[str]:
        """What a person finds rows by: file and number."""
        return [self._files.name_of(int(row)) for row in self._kept[rows]]

    def skipped(self) -> tuple[Fault, ...]:
        """Images that are left out by choice; reads them all."""
        return tuple(self._faults.values())

    def notes(self) -> tuple[str, ...]:
        """What the files' names leave open, columns of parts that are not used, and how numbers are understood."""
        parts = self._rows.parts
        told = [*unused_parts(self._files.columns, self._used, self.path)] if parts is None else []
        if not self._rows.named:
            told += order_note(self.label_space.names, self.classes, self.path)
        if parts is None:
            return tuple(told)
        missing = [word for part, word in ((VALIDATION, "validation"), (TEST, "test")) if not (parts == part).any()]
        return (*told, *(f"{self.path}: has no {word} file; these images are taken from train." for word in missing))

    @property
    def _used(self) -> set[str]:
        columns = [self.image_column, self.class_column or "", *(str(value["column"]) for value in self.values)]
        return {column.casefold() for column in columns}

    @cached_property
    def _files(self) -> ParquetFiles:
        return ParquetFiles(self.path)

    @cached_property
    def _bytes(self) -> ImageBytes:
        return self._files.image_bytes(self.image_column)

    @cached_property
    def _faults(self) -> dict[int, Fault]:
        from data.image_files import find_faults

        faults: dict[int, Fault] = {}
        if self.damaged == "error":
            return faults
        for first in range(0, len(self._bytes), _IMAGES_AT_A_TIME):
            files, names = self._bytes.take(np.arange(first, min(first + _IMAGES_AT_A_TIME, len(self._bytes))))
            found = find_faults(files, self.image_shape, fit=self.fit, names=names)
            faults |= {first + place: fault for place, fault in found.items()}
        if len(faults) == len(self._bytes):
            raise UnreadableImages(list(faults.values()), len(faults), self.path, "check source.image_column")
        return faults

    @cached_property
    def _kept(self) -> npt.NDArray[np.int64]:
        return np.setdiff1d(np.arange(len(self._rows.labels)), np.array(list(self._faults), np.int64))

    @cached_property
    def _rows(self) -> _Rows:
        files = self._files
        values = read_values("parquet", self.values, self.class_column is not None)
        files.check_column(self.image_column, "source.image_column")
        numbers = np.zeros((files.rows, len(values)))
        for place, value in enumerate(values):
            numbers[:, place] = files.numbers(value.column, "source.values")
        classes, names, named = (None, None, False) if self.class_column is None else self._classes(self.class_column)
        space = make_space(names, values, numbers, self.path)
        for axis, column in zip(space.dimensions, numbers.T, strict=True):
            bad = outside(axis, column)
            if bad.size:
                told = [f"{files.name_of(int(row))}: {column[row]:g}" for row in bad]
                raise DataError(
                    f"{self.path}: {axis.name} must lie between {axis.describe(axis.minimum)} and "
                    f"{axis.describe(axis.maximum)}, but {bad.size:,} do not: {some(told)}; correct them, or "
                    "source.values."
                )
        return _Rows(space, space.join(classes, numbers), files.parts, named)

    def _classes(self, column: str) -> tuple[npt.NDArray[np.int64], tuple[str, ...], bool]:
        """Classes by row, their names, and whether the files have named them."""
        files = self._files
        found, names = files.classes(column, "source.class_column")
        if names:
            if not self.classes:
                return np.asarray(found, np.int64), names, True
            found = [names[place] for place in found]
        texts = [plain(str(text)) for text in found]
        ordered = order_classes(texts, self.classes, self.path, numerically=True)
        places = {name: place for place, name in enumerate(ordered)}
        return np.array([places[text] for text in texts], np.int64), ordered, bool(names)
