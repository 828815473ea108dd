"""Tiny-ImageNet: 110,000 colour photographs of 200 classes, 64x64 pixels, from its unpacked folder or HDF5."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault
from data.labels import LabelSpace
from data.sources import TEST_POOL, TRAINING_POOL, sources
from data.sources._class_arrays import ClassArrays, open_class_arrays
from data.sources._pictures import Damaged, Pictures
from data.sources._wordnet import (
    Listed,
    image_names,
    listed,
    lost_files,
    read_lines,
    read_words,
    spoken_names,
    subfolders,
)

if TYPE_CHECKING:
    from data.image_files import Fit

REMEDY = "get http://cs231n.stanford.edu/tiny-imagenet-200.zip, unpack it, and name the folder tiny-imagenet-200"
_WNIDS, _WORDS, _ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"


@sources.register("tiny_imagenet")
@dataclass(frozen=True)
class TinyImageNet:
    """Photographs of 200 ImageNet classes at 64x64 pixels (Le and Yang, 2015, Stanford CS231n).

    Rows are the 100,000 training images, class by class in the order of the WordNet numbers and by file name within
    a class, then the 10,000 validation images, which serve as the test: the true test images have no labels. Classes
    are in the order of the WordNet numbers, too, as torchvision's ImageFolder has them. Some files are grey and become
    coloured ones. An HDF5 file of the papers has the same parts, and no class names.

    Args:
        folder: the folder tiny-imagenet-200, or an HDF5 file with imgs, labels, imgs_val and labels_val.
        image_size: pixels a side.
        fit: what is done with images of another size: "exact" refuses, "crop" takes the middle, "stretch" distorts.
        damaged: "error" stops at files that cannot be read, "skip" leaves them out.
    """

    folder: str
    image_size: int = 64
    fit: Fit = "crop"
    damaged: Damaged = "error"

    # ImageNet gives access for research and education that is not commercial; it holds no right in the images.
    license: ClassVar[str] = "LicenseRef-ImageNet-Terms-of-Access"
    homepage: ClassVar[str] = "https://www.image-net.org/download.php"

    @property
    def label_space(self) -> LabelSpace:
        """200 classes, e.g. "goldfish (n01443537)".

        Raises:
            DataError: if the folder or its lists are missing.
        """
        if self._arrays is not None:
            return LabelSpace("class", names=tuple(f"class {number}" for number in range(self._arrays.classes)))
        words = read_words(self._root / _WORDS) if (self._root / _WORDS).is_file() else {}
        return LabelSpace("class", names=spoken_names(self._wnids, words))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return 3, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """Digest of all image files, the classes, and the options.

        Raises:
            DataError: if files are missing.
        """
        if self._arrays is not None:
            return {"name": "tiny_imagenet", "file_sha256": self._arrays.digest()}
        return {
            "name": "tiny_imagenet",
            "classes": list(self.label_space.names),
            "files_sha256": self._pictures.digest(self._listed.classes, self._listed.pool),
            "image_size": self.image_size,
            "fit": self.fit,
            "damaged": self.damaged,
        }

    def labels(self) -> npt.NDArray[np.int64]:
        """All labels, training rows first, int64 (N,).

        Raises:
            DataError: if files are missing, or contradict each other.
        """
        return self._listed.classes[self._pictures.kept] if self._arrays is None else self._arrays.labels

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for the training images, 2 for the validation images, shape (N,).

        Raises:
            DataError: as ``labels``.
        """
        return self._listed.pool[self._pictures.kept] if self._arrays is None else self._arrays.pool

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, 3, image_size, image_size).

        Raises:
            UnreadableImages: naming all of them that cannot be read.
            DataError: as ``labels``, or if a row lies outside the data set.
        """
        return self._pictures.read(rows) if self._arrays is None else self._arrays.images(rows)

    def skipped(self) -> tuple[Fault, ...]:
        """The files that ``damaged`` "skip" leaves out; reads all of them once."""
        return self._pictures.skipped() if self._arrays is None else ()

    @cached_property
    def _arrays(self) -> ClassArrays | None:
        path = Path(self.folder).expanduser()
        if not path.is_file():
            return None
        return open_class_arrays(path, "tiny-imagenet", self.image_shape, "tiny_imagenet")

    @cached_property
    def _pictures(self) -> Pictures:
        names = self._listed.names
        lost = lost_files(self._root, names)
        return Pictures("tiny_imagenet", self._root, names, lost, self.image_shape, self.fit, self.damaged)

    @property
    def _root(self) -> Path:
        folder = Path(self.folder).expanduser()
        inner = folder / "tiny-imagenet-200"
        return inner if not (folder / _WNIDS).is_file() and inner.is_dir() else folder

    @cached_property
    def _wnids(self) -> tuple[str, ...]:
        path = self._root / _WNIDS
        if not path.is_file():
            raise DataError(f"tiny_imagenet: {self._root} must hold {_WNIDS}, got none; {REMEDY}.")
        wnids = read_lines(path)
        if len(set(wnids)) != len(wnids) or len(wnids) < 2:
            raise DataError(f"{path}: must hold distinct WordNet numbers, one a line; get it again.")
        return tuple(sorted(wnids))

    @cached_property
    def _listed(self) -> Listed:
        groups: list[tuple[list[str], int, int]] = []
        for number, wnid in enumerate(self._wnids):
            folder = f"train/{wnid}/images"
            if not (self._root / folder).is_dir():
                raise DataError(f"tiny_imagenet: {self._root} must hold {folder}, got none; {REMEDY}.")
            found = image_names(self._root, folder)
            if not found:
                raise DataError(f"tiny_imagenet: {self._root / folder} must hold images, got none; {REMEDY}.")
            groups.append((found, number, TRAINING_POOL))
        tested = self._sorted_by_class() if self._is_sorted else self._annotated()
        return listed([*groups, *(([name], number, TEST_POOL) for name, number in tested)])

    @property
    def _is_sorted(self) -> bool:
        """Whether the validation images lie in class folders; the annotations are often left where they were."""
        if not (self._root / _ANNOTATIONS).is_file():
            return True
        together = self._root / "val/images"
        held = set(subfolders(self._root / "val"))
        return held.issuperset(self._wnids) and not (together.is_dir() and image_names(self._root, "val/images"))

    def _annotated(self) -> list[tuple[str, int]]:
        """Validation images with their class, in the order of their names; as published."""
        path = self._root / _ANNOTATIONS
        numbers = {wnid: number for number, wnid in enumerate(self._wnids)}
        told: dict[str, int] = {}
        for line in read_lines(path):
            name, _, rest = line.partition("\t")
            wnid = rest.partition("\t")[0]
            if wnid not in numbers or name in told:
                raise DataError(
                    f"{path}: each line must be one file and a WordNet number of {_WNIDS}, parted by a tab, got "
                    f"'{line[:80]}'; get it again."
                )
            told[name] = numbers[wnid]
        found = image_names(self._root, "val/images")
        missing = sorted({f"val/images/{name}" for name in told} ^ set(found))
        if missing:
            what = "has no line in it" if missing[0] in found else "is not there"
            raise DataError(f"{path}: must tell of the images in val/images, but {missing[0]} {what}; {REMEDY}.")
        return [(name, told[name.rpartition("/")[2]]) for name in found]

    def _sorted_by_class(self) -> list[tuple[str, int]]:
        """Validation images of a folder in which they were sorted into class folders, as many programs want them."""
        held = set(subfolders(self._root / "val")) if (self._root / "val").is_dir() else set()
        if not held.issuperset(self._wnids):
            raise DataError(f"tiny_imagenet: {self._root} must hold {_ANNOTATIONS}, got none; {REMEDY}.")
        found = []
        for number, wnid in enumerate(self._wnids):
            inner = f"val/{wnid}/images"
            folder = inner if (self._root / inner).is_dir() else f"val/{wnid}"
            found += [(name, number) for name in image_names(self._root, folder)]
        return found
