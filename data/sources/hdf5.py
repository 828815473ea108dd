"""Your images and labels in an HDF5 file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.file_digests import digest_of
from data.files import FileState
from data.labels import LabelSpace
from data.sources import sources
from data.sources._labelling import read_values, unused_parts
from data.sources._numbered import Labels, check_images, image_shape_of, make_labels, read_rows
from data.tables import nearest

if TYPE_CHECKING:
    from data.untrusted import StoredArray

_COLUMN = re.compile(r"(?P<name>.+)\[(?P<place>[0-9]{1,6})\]")


@sources.register("hdf5")
@dataclass(frozen=True)
class Hdf5:
    """Data sets of one HDF5 file, which is parsed, checked and unpacked in a process of its own.

    Args:
        path: the file.
        image_key: name of the uint8 data set of images; "group/name" within a group.
        class_key: name of the data set of class numbers; None without.
        values: data sets of numbers, or columns ``NAME[0]`` of one, mappings with the fields of ``_labelling.Value``.
        split_key: name of a data set of 0 training, 1 validation, 2 test; None leaves the split open.
        layout: order of the axes of images, NCHW, NHWC or NHW.
        classes: class names in the order of the numbers; empty calls each by its number.
        name: name of the data set.
        license: SPDX expression.
        homepage: where it is described.

    Raises:
        ConfigError: if neither a class nor a value is named, or a class with several values.
    """

    path: str
    image_key: str = "images"
    class_key: str | None = None
    values: tuple[Mapping[str, Any], ...] = field(default=())
    split_key: str | None = None
    layout: str = "NCHW"
    classes: tuple[str, ...] = ()
    name: str = "own"
    license: str = "NOASSERTION"
    homepage: str = ""

    def __post_init__(self) -> None:
        read_values("hdf5", self.values, self.class_key is not None)
        if self.classes and self.class_key is None:
            raise ConfigError("source.classes names classes, but there are none; set source.class_key.")

    @property
    def label_space(self) -> LabelSpace:
        """What the labels mean, with the ends of the data where none are told.

        Raises:
            DataError: if the file cannot be used.
        """
        return self._labels.space

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return image_shape_of(self._there[self._image_key].shape, self.layout)

    def identity(self) -> dict[str, Any]:
        """The options and the digest of the file.

        Raises:
            DataError: if the file is missing.
        """
        return {
            "name": self.name,
            "kind": "hdf5",
            "image_key": self.image_key,
            "class_key": self.class_key,
            "values": [dict(value) for value in self.values],
            "split_key": self.split_key,
            "layout": self.layout,
            "classes": list(self.classes),
            "license": self.license,
            "homepage": self.homepage,
            "sha256": digest_of(Path(self.path).expanduser()),
        }

    def labels(self) -> npt.NDArray[Any]:
        """A column of the label space.

        Raises:
            DataError: as ``label_space``.
        """
        return self._labels.labels.copy()

    def pool(self) -> npt.NDArray[np.uint8]:
        """By the split; 0 without one. Shape (N,)."""
        return self._labels.pool.copy()

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, C, H, W).

        Raises:
            DataError: as ``label_space``, or if a row lies outside the data set.
        """
        return read_rows(self._stored, self.layout, rows, self.path)

    def notes(self) -> tuple[str, ...]:
        """Data sets that by their name tell a split, and are not used."""
        if self.split_key is not None:
            return ()
        used = [self.image_key, self.class_key or "", *(str(value["column"]) for value in self.values)]
        return unused_parts(self._there, [name.casefold() for name in used], self.path, "source.split_key")

    @cached_property
    def _there(self) -> Mapping[str, StoredArray]:
        from data.untrusted import list_arrays

        _ = self._state
        return list_arrays(self._place)

    @property
    def _place(self) -> Path:
        """A link that a person names is followed; what the file itself links to is not."""
        return Path(self.path).expanduser().resolve()

    @cached_property
    def _state(self) -> FileState:
        """The file as it lay there at the first look; labels and images must be of one file."""
        try:
            return FileState.of(self._place.stat())
        except OSError as error:
            raise DataError(f"{self.path}: the file cannot be found ({error}); check its name.") from error

    @cached_property
    def _image_key(self) -> str:
        key = self._find(self.image_key, "source.image_key")
        check_images(self._there[key].dtype, self._there[key].shape, self.layout, f"{self.path}: {key}")
        return key

    def _find(self, wanted: str, option: str) -> str:
        return nearest(wanted, list(self._there), self.path, option)

    def _unpack(self, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        from data.untrusted import unpack_arrays

        return unpack_arrays(self._place, list(dict.fromkeys(names)), unchanged=self._state)

    @cached_property
    def _stored(self) -> npt.NDArray[np.uint8]:
        return self._unpack([self._image_key])[self._image_key]

    @cached_property
    def _labels(self) -> Labels:
        """The labels; the images are not unpacked for them."""
        rows = self._there[self._image_key].shape[0]
        values = read_values("hdf5", self.values, self.class_key is not None)
        class_key = None if self.class_key is None else self._find(self.class_key, "source.class_key")
        split_key = None if self.split_key is None else self._find(self.split_key, "source.split_key")
        columns = [_column(value.column, self._there, self.path) for value in values]
        wanted = [class_key, split_key, *(name for name, _ in columns)]
        arrays = self._unpack([name for name in wanted if name is not None])
        numbers = np.zeros((rows, len(columns)))
        for place, (name, part) in enumerate(columns):
            found = np.asarray(arrays[name])
            found = found if part is None else found[:, part]
            if found.size != rows:
                raise DataError(
                    f"{self.path}: {name} must have one number for each of {rows:,} images, got shape {found.shape}; "
                    f"set source.values to a column of it, such as {name}[0]."
                )
            numbers[:, place] = found.reshape(-1)
        return make_labels(
            rows,
            None if class_key is None else arrays[class_key],
            self.classes,
            values,
            numbers,
            None if split_key is None else arrays[split_key],
            self.path,
        )


def _column(wanted: str, there: Mapping[str, StoredArray], path: str) -> tuple[str, int | None]:
    """The data set that a value names, and the column of it or None."""
    found = None if wanted in there else _COLUMN.fullmatch(wanted)
    if found is None:
        return nearest(wanted, list(there), path, "source.values"), None
    name, place = nearest(found["name"], list(there), path, "source.values"), int(found["place"])
    shape = there[name].shape
    if len(shape) != 2 or place >= shape[1]:
        raise DataError(f"{path}: {name} must have a column {place} for source.values, got shape {shape}; correct it.")
    return name, place
