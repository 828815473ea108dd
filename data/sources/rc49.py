"""RC-49: renderings of 49 chairs at 899 yaw angles, from the papers' HDF5 files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.file_digests import digest_of
from data.foreign.published_labels import in_own_units, whole
from data.labels import LabelSpace
from data.sources import TEST_POOL, TRAINING_POOL, sources

if TYPE_CHECKING:
    from data.foreign.published import PublishedFile

Rc49Label = Literal["yaw", "type+yaw"]
Rc49Split = Literal["standard", "unimodal", "dualmodal", "trimodal"]

LARGEST_ANGLE_DEGREES = 90.0
CHAIRS = 49


@sources.register("rc49")
@dataclass(frozen=True)
class Rc49:
    """Rendered chairs with their yaw, or their model and yaw (Ding, Wang, Xu, Welch and Wang, 2021, arXiv 2011.07466).

    The training pool is that of the file: ``indx_train``, ``indx_odd_train``, or the list that ``split`` names. A file
    with no list is split as the papers do: angles whose last digit is odd may train (they take up to 25 images an
    angle, ``prepare.images_per_label``). All other rows test. Rows are in the order of the file; in the layout of
    cGAN-KD those of odd angles come first.

    Args:
        path: HDF5 file in the layout of CcGAN or of cGAN-KD.
        label: "yaw" (a scalar) or "type+yaw" (class+scalar; class k is "chair k").
        split: which list of an imbalanced file trains; None takes ``indx_train``.

    Raises:
        ConfigError: if an option is unknown.
    """

    path: str
    label: Rc49Label = "yaw"
    split: Rc49Split | None = None

    # The renderings carry no license; the chair models are ShapeNet's, for research and education only.
    license: ClassVar[str] = "NOASSERTION"
    homepage: ClassVar[str] = "https://github.com/UBCDingXin/improved_CcGAN"

    def __post_init__(self) -> None:
        if self.label not in get_args(Rc49Label):
            raise ConfigError(f"rc49: label must be one of {', '.join(get_args(Rc49Label))}, got '{self.label}'.")
        if self.split is not None and self.split not in get_args(Rc49Split):
            raise ConfigError(f"rc49: split must be one of {', '.join(get_args(Rc49Split))}, got '{self.split}'.")

    @property
    def label_space(self) -> LabelSpace:
        """The yaw angle, 0 to 90 degrees, alone or with the chair."""
        names = tuple(f"chair {number}" for number in range(self._types.max() + 1)) if self.label == "type+yaw" else ()
        kind: Literal["scalar", "class+scalar"] = "class+scalar" if names else "scalar"
        return LabelSpace(kind, names, "yaw angle", "degree", 0.0, LARGEST_ANGLE_DEGREES)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the file's images."""
        return self._file.layout.image_shape

    def identity(self) -> dict[str, Any]:
        """The digest of the file, and the options.

        Raises:
            DataError: if the file is missing.
        """
        identity = {"name": "rc49", "file_sha256": digest_of(Path(self.path).expanduser()), "label": self.label}
        return identity if self.split is None else {**identity, "split": self.split}

    def labels(self) -> npt.NDArray[np.float32]:
        """Labels of all rows, float32: yaw (N,), or chair and yaw (N, 2); in degrees.

        Raises:
            DataError: if the file does not fit, or a label lies outside its range.
        """
        angles = self._angles.astype(np.float32)
        return angles if self.label == "yaw" else np.stack([self._types.astype(np.float32), angles], axis=1)

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for rows that may train, 2 for the others, shape (N,).

        Raises:
            DataError: if the file has no list that ``split`` names, or the lists contradict each other.
        """
        pool = np.full(len(self._file), TEST_POOL, np.uint8)
        pool[self._training_rows()] = TRAINING_POOL
        return pool

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, 3, H, W).

        Raises:
            DataError: if a row lies outside the data set, or the file is damaged.
        """
        return self._file.images(rows)

    def notes(self) -> tuple[str, ...]:
        """Arrays of the file that are not read, in words."""
        return self._file.notes()

    @cached_property
    def _file(self) -> PublishedFile:
        # To be identified it needs no HDF5.
        from data.foreign.published import open_published

        return open_published(self.path, ("rc49", "rc49-kd"), "source rc49")

    @property
    def _angles(self) -> npt.NDArray[np.float64]:
        where = f"{self.path}: labels"
        angles = in_own_units(self._file.column("labels"), where, "degree")
        if angles.min() < 0 or angles.max() > LARGEST_ANGLE_DEGREES:
            raise DataError(f"{where} must lie between 0 and 90 degrees, got {angles.min():g} to {angles.max():g}.")
        return angles

    @property
    def _types(self) -> npt.NDArray[np.int64]:
        if not self._file.layout.has("types"):
            raise DataError(f"{self.path}: must have types for the labels type+yaw; try source.label yaw.")
        types = whole(self._file.column("types").astype(np.float64), f"{self.path}: types")
        # Each chair up to the last becomes a class with a name.
        if types.min() < 0 or types.max() >= CHAIRS:
            wrong = types.min() if types.min() < 0 else types.max()
            raise DataError(f"{self.path}: types must be chairs 0, 1 .. {CHAIRS - 1}, got {wrong}; correct them.")
        return types

    def _training_rows(self) -> npt.NDArray[np.int64]:
        layout = self._file.layout
        if layout.name == "rc49-kd":
            return self._of_kd()
        lists = {key.removeprefix("indx_train_"): key for key in layout.indices}
        if self.split is not None:
            if self.split not in lists:
                raise DataError(
                    f"{self.path}: must have indx_train_{self.split} for source.split, got "
                    f"{', '.join(layout.indices) or 'no list of training rows'}; leave source.split unset."
                )
            return self._file.row_numbers(lists[self.split], "all")
        if "indx_train" in layout.indices:
            return self._file.row_numbers("indx_train", "all")
        if layout.indices:
            raise ConfigError(f"{self.path}: has several lists of training rows; set source.split to {_or(lists)}.")
        tenths = self._angles * 10
        if np.abs(tenths - np.round(tenths)).max() > 1e-3:
            raise DataError(
                f"{self.path}: angles must be multiples of 0.1 degree to be split by their last digit; add indx_train."
            )
        return np.flatnonzero(np.round(tenths).astype(np.int64) % 2 == 1)

    def _of_kd(self) -> npt.NDArray[np.int64]:
        if self.split is not None:
            raise DataError(f"{self.path}: the layout of cGAN-KD has one split; leave source.split unset.")
        train = self._file.row_numbers("indx_odd_train", "odd")
        for key, inside in (("indx_odd_subtrain", True), ("indx_odd_subvalid", True), ("indx_odd_rest", False)):
            if key not in self._file.layout.indices:
                continue
            shared = np.isin(self._file.row_numbers(key, "odd"), train)
            if not (shared.all() if inside else not shared.any()):
                raise DataError(
                    f"{self.path}: {key} must name {'only' if inside else 'no'} rows of indx_odd_train; correct it."
                )
        return train


def _or(names: dict[str, str]) -> str:
    return " or ".join(names)
