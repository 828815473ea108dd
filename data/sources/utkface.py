"""UTKFace: faces with their age, from the files' own names or the papers' HDF5 files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.faults import Fault, UnreadableImages, printable
from data.file_digests import digest_of, digest_of_files
from data.foreign.published_labels import in_own_units, whole
from data.image_files import Fit, find_faults, read_image_files
from data.labels import LabelSpace
from data.sources import EITHER_POOL, TEST_POOL, TRAINING_POOL, check_rows, sources
from data.sources._parts import pool_of_parts
from data.sources._utkface_names import find_faces, regular_names

if TYPE_CHECKING:
    from data.foreign.published import PublishedFile

_LEFT_OUT = 255


@dataclass(frozen=True, eq=False)
class _Faces:
    """The rows of the source: where each is in the file or folder, and what is not among them."""

    places: npt.NDArray[np.int64]
    ages: npt.NDArray[np.int64]
    pool: npt.NDArray[np.uint8]
    names: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


@sources.register("utkface")
@dataclass(frozen=True)
class UtkFace:
    """Aligned faces with their age in years (Zhang, Song and Qi, 2017, CVPR, arXiv 1702.08423).

    Rows are those of the ages asked for, in the order of the file, or of the names. The papers take 1 to 60 years (Ding
    et al., 2021). A file with ``indx_train`` or ``images_train`` brings its own training and test rows (rows that are
    in neither list are left out); of the folder and of CcGAN's file any row may train or test. Of files in a folder
    whose names tell the same age, gender, race and date the first is a row: the same face must not train and test.

    Args:
        path: folder of the aligned faces, ``[age]_[gender]_[race]_[date].jpg`` or ``.jpg.chip.jpg``, or an HDF5 file in
            the layout of CcGAN or of cGAN-KD.
        image_size: pixels a side; of an HDF5 file it must be the file's own.
        fit: how images of the folder are brought to that size; see ``read_image_files``.
        damaged: whether files of the folder that cannot be read, or whose names lack a field, stop the run ("error"),
            or are left out ("skip").
        minimum_age: youngest age taken, in years.
        maximum_age: oldest age taken, in years.

    Raises:
        ConfigError: if an option lies outside its range.
    """

    path: str
    image_size: int = 64
    fit: Fit = "crop"
    damaged: Literal["error", "skip"] = "error"
    minimum_age: int = 1
    maximum_age: int = 60

    # The faces are for non-commercial research only, and remain their owners'; SPDX has no name for that.
    license: ClassVar[str] = "LicenseRef-UTKFace-non-commercial-research"
    homepage: ClassVar[str] = "https://susanqq.github.io/UTKFace/"

    def __post_init__(self) -> None:
        if not 0 <= self.minimum_age < self.maximum_age:
            raise ConfigError(
                f"utkface: minimum_age must be 0 or more and below maximum_age, got {self.minimum_age} and "
                f"{self.maximum_age}; try 1 and 60."
            )
        if self.image_size < 4:
            raise ConfigError(f"utkface: image_size must be at least 4 pixels, got {self.image_size}; try 64.")
        if self.fit not in get_args(Fit):
            raise ConfigError(f"utkface: fit must be one of {', '.join(get_args(Fit))}, got '{self.fit}'.")
        if self.damaged not in ("error", "skip"):
            raise ConfigError(f"utkface: damaged must be error or skip, got '{self.damaged}'.")

    @property
    def label_space(self) -> LabelSpace:
        """The age in years, of the range that is taken."""
        low, high = float(self.minimum_age), float(self.maximum_age)
        return LabelSpace("scalar", name="age", unit="year", minimum=low, maximum=high)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width.

        Raises:
            DataError: if an HDF5 file has images of another size.
        """
        return self._file.layout.image_shape if self._path.is_file() else self._wanted_shape

    def identity(self) -> dict[str, Any]:
        """The digest of the file, or of all image files of the folder, and the options that change the data.

        Raises:
            DataError: if the file or folder is missing.
        """
        identity = {"name": "utkface", "minimum_age": self.minimum_age, "maximum_age": self.maximum_age}
        if not self._is_folder:
            return {**identity, "file_sha256": digest_of(self._path)}
        files = digest_of_files(self._path, regular_names(self._path))
        options = {"image_size": self.image_size, "fit": self.fit, "damaged": self.damaged}
        return {**identity, **options, "files_sha256": files}

    def labels(self) -> npt.NDArray[np.float32]:
        """Ages of all rows in years, float32 (N,).

        Raises:
            UnreadableImages: naming the files whose names lack a field, unless they are skipped.
            DataError: if an HDF5 file does not fit, or no face is of the ages asked for.
        """
        return self._faces.ages.astype(np.float32)

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for training and 2 for test rows where the file keeps them apart, else 0, shape (N,)."""
        return self._faces.pool.copy()

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, 3, image_size, image_size).

        Raises:
            UnreadableImages: naming the files that cannot be read.
            DataError: if a row lies outside the data set, or the HDF5 file is damaged.
        """
        faces = self._faces
        places = faces.places[check_rows(rows, len(faces.places), "utkface")]
        if not self._is_folder:
            return self._file.images(places)
        names = [faces.names[place] for place in places]
        return read_image_files(
            [self._path / name for name in names], self.image_shape, fit=self.fit, where="utkface", names=names
        )

    def skipped(self) -> tuple[Fault, ...]:
        """Files left out because their names lack a field or they cannot be read; with damaged "skip" only."""
        return self._faces.faults

    def notes(self) -> tuple[str, ...]:
        """How many faces are left out, and why; arrays of the file that are not read."""
        return self._faces.notes

    @property
    def _path(self) -> Path:
        return Path(self.path).expanduser()

    @property
    def _wanted_shape(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size

    @property
    def _is_folder(self) -> bool:
        return self._path.is_dir()

    @cached_property
    def _faces(self) -> _Faces:
        faces = self._of_folder() if self._is_folder else self._of_file()
        if not len(faces.places):
            raise DataError(
                f"utkface: {self.path} must have faces of {self.minimum_age} to {self.maximum_age} years, got none; "
                "try another minimum_age or maximum_age."
            )
        return faces

    def _of_folder(self) -> _Faces:
        found = find_faces(self._path)
        if found.faults and self.damaged == "error":
            raise UnreadableImages(
                found.faults,
                len(found.names) + len(found.faults),
                "utkface",
                "rename or remove them, or set source.damaged to skip",
            )
        places, notes = self._of_age(found.ages)
        faults = dict[int, Fault]()
        if self.damaged == "skip":
            names = [found.names[place] for place in places]
            faults = find_faults([self._path / name for name in names], self.image_shape, fit=self.fit, names=names)
            places = np.delete(places, list(faults))
        if found.copies:
            copy, kept = found.copies[0]
            notes += (
                f"{len(found.copies):,} files are left out as copies: their names tell the same age, gender, race and "
                f"date as another file, such as {printable(copy)} and {printable(kept)}.",
            )
        pool = np.full(len(places), EITHER_POOL, np.uint8)
        return _Faces(places, found.ages[places], pool, found.names, (*found.faults, *faults.values()), notes)

    def _of_file(self) -> _Faces:
        where = f"{self.path}: labels"
        ages = whole(in_own_units(self._file.column("labels"), where, "year"), where)
        if ages.min() < 0:
            raise DataError(f"{where} must be ages of 0 or more, got {ages.min()} in row {ages.argmin()}; correct it.")
        places, notes = self._of_age(ages)
        pool = self._pool_of_file()
        if unused := int((pool[places] == _LEFT_OUT).sum()):
            notes += (f"{unused:,} faces are left out that are in neither indx_train nor indx_test.",)
        places = places[pool[places] != _LEFT_OUT]
        return _Faces(places, ages[places], pool[places], notes=notes + self._file.notes())

    def _of_age(self, ages: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        """Places of the ages asked for, and what is to be said of the others."""
        inside = (ages >= self.minimum_age) & (ages <= self.maximum_age)
        outside = int((~inside).sum())
        if not outside:
            return np.flatnonzero(inside), ()
        return np.flatnonzero(inside), (
            f"{outside:,} of {len(ages):,} faces are left out: their age is not within {self.minimum_age} to "
            f"{self.maximum_age} years.",
        )

    @cached_property
    def _file(self) -> PublishedFile:
        # To be identified it needs no HDF5.
        from data.foreign.published import open_published

        file = open_published(self.path, ("utkface", "train-test", "plain"), "source utkface")
        if file.layout.image_shape != self._wanted_shape:
            channels, height, width = file.layout.image_shape
            remedy = f"set source.image_size to {height}" if height == width and channels == 3 else "give another file"
            raise DataError(
                f"utkface: {self.path} has images of {channels} x {height} x {width}, which are not resized, and "
                f"source.image_size is {self.image_size}; {remedy}."
            )
        return file

    def _pool_of_file(self) -> npt.NDArray[np.uint8]:
        file = self._file
        if "indx_train" not in file.layout.indices:
            return pool_of_parts(file)
        train = file.row_numbers("indx_train", "all")
        pool = np.full(len(file), TEST_POOL, np.uint8)
        if "indx_test" in file.layout.indices:
            test = file.row_numbers("indx_test", "all")
            if shared := len(np.intersect1d(train, test)):
                raise DataError(f"{self.path}: indx_test must name no row of indx_train, got {shared}; correct it.")
            pool[:] = _LEFT_OUT
            pool[test] = TEST_POOL
        pool[train] = TRAINING_POOL
        return pool
