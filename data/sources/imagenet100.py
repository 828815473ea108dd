"""ImageNet-100: 100 classes of ImageNet, from class folders in a fixed order or from the papers' HDF5 file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault
from data.labels import LabelSpace
from data.sources import EITHER_POOL, TEST_POOL, TRAINING_POOL, sources
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

REMEDY = (
    "get ImageNet (ILSVRC 2012) from https://www.image-net.org/download.php, or a choice of 100 classes of it, and "
    "name the folder that holds train/<WordNet number> and val/<WordNet number>"
)
#: Files of class names that may lie beside the folders.
_NAMED_BY = ("Labels.json", "LOC_synset_mapping.txt", "words.txt")
_TRAINING, _TEST = re.compile(r"train(\..+)?"), re.compile(r"val(\..+)?")


@sources.register("imagenet100")
@dataclass(frozen=True)
class ImageNet100:
    """Photographs of 100 classes of ImageNet (Russakovsky et al., 2015, IJCV 115; the choice is the user's).

    Rows are the training images, class by class and by file name within a class, then those of val, which serve as
    the test; without val each row may serve for anything. Classes are in the order of the classes file, or sorted by
    folder name. Folders may also be spread over train.X1, train.X2 and so on, and val.X. The papers (cGAN-KD) take
    10,000 of the training images for the test in the order of the file system; their HDF5 file keeps that choice,
    and no class names: those are the lines of the classes file, or "class 0" and so on.

    Args:
        folder: folder with train and perhaps val, or the papers' HDF5 file.
        image_size: pixels a side.
        fit: what is done with images of another size: "exact" refuses, "crop" takes the middle, "stretch" distorts.
        damaged: "error" stops at files that cannot be read, "skip" leaves them out.
        classes: text file of class folders, one a line, perhaps followed by the class name: choice and order.
    """

    folder: str
    image_size: int = 128
    fit: Fit = "crop"
    damaged: Damaged = "error"
    classes: str | None = None

    license: ClassVar[str] = "LicenseRef-ImageNet-Terms-of-Access"
    homepage: ClassVar[str] = "https://www.image-net.org/download.php"

    @property
    def label_space(self) -> LabelSpace:
        """The classes, e.g. "tench (n01440764)".

        Raises:
            DataError: if the folder or its lists are missing.
        """
        if self._arrays is not None:
            lines = [" ".join(pair).strip() for pair in self._chosen] or [
                f"class {number}" for number in range(self._arrays.classes)
            ]
            if len(lines) != self._arrays.classes:
                raise DataError(
                    f"{self.classes}: must have a line for each of the {self._arrays.classes} classes of "
                    f"{self.folder}, got {len(lines)}; correct it, or leave source.classes unset."
                )
            return LabelSpace("class", names=tuple(lines))
        words = self._words() | {wnid: name for wnid, name in self._chosen if name}
        return LabelSpace("class", names=spoken_names(self._wnids, words))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return 3, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """Digest of all files, the classes, and the options.

        Raises:
            DataError: if files are missing.
        """
        names = list(self.label_space.names)
        if self._arrays is not None:
            return {"name": "imagenet100", "file_sha256": self._arrays.digest(), "classes": names}
        return {
            "name": "imagenet100",
            "files_sha256": self._pictures.digest(self._listed.classes, self._listed.pool),
            "classes": names,
            "image_size": self.image_size,
            "fit": self.fit,
            "damaged": self.damaged,
        }

    def labels(self) -> npt.NDArray[np.int64]:
        """All labels, training rows first, int64 (N,).

        Raises:
            DataError: if files are missing.
        """
        return self._listed.classes[self._pictures.kept] if self._arrays is None else self._arrays.labels

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for the images of train and 2 for those of val; 0 for all if there is no val. Shape (N,).

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
        return open_class_arrays(path, "imagenet100", self.image_shape, "imagenet100")

    @cached_property
    def _pictures(self) -> Pictures:
        names = self._listed.names
        lost = lost_files(self._root, names)
        return Pictures("imagenet100", self._root, names, lost, self.image_shape, self.fit, self.damaged)

    @property
    def _root(self) -> Path:
        return Path(self.folder).expanduser()

    @cached_property
    def _chosen(self) -> list[tuple[str, str]]:
        """Class folders and what follows them in the classes file; empty without one."""
        if self.classes is None:
            return []
        path = Path(self.classes).expanduser()
        pairs = [[*line.split(None, 1), ""][:2] for line in read_lines(path)]
        if len({wnid for wnid, _ in pairs}) != len(pairs) or len(pairs) < 2:
            raise DataError(f"{path}: must have at least 2 distinct class folders, one a line; correct it.")
        return [(wnid, name) for wnid, name in pairs]

    @cached_property
    def _folders(self) -> dict[str, dict[str, str]]:
        """For training and test, the folder of each class, relative to the root."""
        found: dict[str, dict[str, str]] = {"train": {}, "val": {}}
        for top in subfolders(self._root) if self._root.is_dir() else []:
            use = "train" if _TRAINING.fullmatch(top) else "val" if _TEST.fullmatch(top) else None
            for name in subfolders(self._root / top) if use is not None else []:
                if found[str(use)].setdefault(name, f"{top}/{name}") != f"{top}/{name}":
                    raise DataError(
                        f"imagenet100: {self._root} must hold each class once, got {found[str(use)][name]} and "
                        f"{top}/{name}; put them together."
                    )
        if not found["train"]:
            raise DataError(f"imagenet100: {self._root} must hold train with a folder for each class; {REMEDY}.")
        return found

    @cached_property
    def _wnids(self) -> tuple[str, ...]:
        held = self._folders["train"]
        wnids = tuple(wnid for wnid, _ in self._chosen) or tuple(sorted(held))
        if len(wnids) < 2:
            raise DataError(f"imagenet100: {self._root} must hold at least 2 classes, got {len(wnids)}; {REMEDY}.")
        for wnid in wnids:
            for use, folders in self._folders.items():
                if wnid not in folders and (use == "train" or folders):
                    raise DataError(f"imagenet100: {self._root} must hold {use}/{wnid}, got none; {REMEDY}.")
        if not self._chosen and (extra := sorted(set(self._folders["val"]) - set(wnids))):
            raise DataError(f"imagenet100: {self._root} must hold train/{extra[0]} as it has val/{extra[0]}; {REMEDY}.")
        return wnids

    @cached_property
    def _listed(self) -> Listed:
        groups: list[tuple[list[str], int, int]] = []
        training = TRAINING_POOL if self._folders["val"] else EITHER_POOL
        for use, value in (("train", training), ("val", TEST_POOL)):
            for number, wnid in enumerate(self._wnids if self._folders[use] else ()):
                folder = self._folders[use][wnid]
                found = image_names(self._root, folder)
                if not found:
                    raise DataError(f"imagenet100: {self._root / folder} must hold images, got none; {REMEDY}.")
                groups.append((found, number, value))
        return listed(groups)

    def _words(self) -> dict[str, str]:
        name = next((name for name in _NAMED_BY if (self._root / name).is_file()), None)
        if name is None:
            return {}
        path = self._root / name
        if not name.endswith(".json"):
            return read_words(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: must be JSON of class names ({error}); get it again, or remove it.") from error
        return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
