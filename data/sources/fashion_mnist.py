"""Fashion-MNIST: 70,000 grey images of clothes, from idx files or by torchvision's download."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.sources import TEST_POOL, TRAINING_POOL, check_rows, sources
from data.sources._idx import read_idx

Array = npt.NDArray[np.uint8]

SIDE = 28
NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# The files in the order of the rows, and the MD5 digests that the authors publish for their compressed files.
RELEASE_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(frozen=True)
class _File:
    """A file as it lay on the disk when it was looked at; part of cache keys, so that a changed file is read anew."""

    path: Path
    bytes: int
    changed_nanoseconds: int


def _find(folder: Path) -> dict[str, _File]:
    if not folder.is_dir():
        raise DataError(
            f"fashion_mnist: folder must be an existing folder, got {folder}; try a folder that holds the four "
            "idx files, or leave folder unset to download them."
        )
    found = {}
    for name in RELEASE_MD5:
        path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
        if path is None:
            raise DataError(
                f"fashion_mnist: {folder} must hold {name} or {name}.gz, got neither; try to copy that file there, "
                "or leave folder unset to download all four."
            )
        state = path.stat()
        found[name] = _File(path, state.st_size, state.st_mtime_ns)
    return found


@lru_cache(maxsize=16)
def _md5(file: _File) -> str:
    return hashlib.md5(file.path.read_bytes(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=2)
def _read(images_file: _File, labels_file: _File) -> tuple[Array, Array]:
    images, labels = read_idx(images_file.path, (SIDE, SIDE)), read_idx(labels_file.path, ())
    if len(images) != len(labels):
        raise DataError(
            f"fashion_mnist: {images_file.path} must have as many images as {labels_file.path} has labels, got "
            f"{len(images)} and {len(labels)}; try to download both again."
        )
    if labels.size and labels.max() >= len(NAMES):
        raise DataError(
            f"fashion_mnist: {labels_file.path} must hold labels in 0..{len(NAMES) - 1}, got {labels.max()}; "
            "try to download it again."
        )
    return images, labels


@sources.register("fashion_mnist")
@dataclass(frozen=True)
class FashionMnist:
    """Clothes in ten classes, 28x28 grey pixels (Xiao, Rasul and Vollgraf, 2017, arXiv 1708.07747).

    Rows are the 60,000 training images, then the 10,000 test images. Differs from the release in: zero padding to
    32x32 unless ``image_size`` is 28, as generators take powers of two.

    Args:
        folder: folder of the four idx files, gz or not; None downloads them.
        download_folder: where a download is kept.
        image_size: 28, or 32 for two pixels of zeros on every side.

    Raises:
        ConfigError: if ``image_size`` is neither 28 nor 32.
    """

    folder: str | None = None
    download_folder: str = "~/.cache/stillhouse/fashion_mnist"
    image_size: int = 32

    license: ClassVar[str] = "MIT"
    homepage: ClassVar[str] = "https://github.com/zalandoresearch/fashion-mnist"

    def __post_init__(self) -> None:
        if self.image_size not in (SIDE, 32):
            raise ConfigError(f"fashion_mnist: image_size must be 28 or 32 pixels, got {self.image_size}; try 32.")

    @property
    def label_space(self) -> LabelSpace:
        """Ten classes of clothes."""
        return LabelSpace("class", names=NAMES)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return 1, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """Digests of the files and the image size; those of the release when the files are downloaded.

        Raises:
            DataError: if the folder or one of its files is missing.
        """
        if self.folder is None:
            digests = dict(RELEASE_MD5)
        else:
            digests = {name: _md5(file) for name, file in _find(Path(self.folder).expanduser()).items()}
        return {"name": "fashion_mnist", "image_size": self.image_size, "files_md5": digests}

    def labels(self) -> npt.NDArray[np.int64]:
        """All labels, training rows first, int64, shape (70000,).

        Raises:
            DataError: if a file is missing or damaged, or the download fails.
        """
        return np.concatenate([labels for _, labels in self._parts()]).astype(np.int64)

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for the training files' rows, 2 for the test files', shape (70000,).

        Raises:
            DataError: as ``labels``.
        """
        counts = [len(labels) for _, labels in self._parts()]
        return np.repeat(np.array([TRAINING_POOL, TEST_POOL], dtype=np.uint8), counts)

    def images(self, rows: npt.NDArray[np.integer]) -> Array:
        """The images of ``rows``, in that order, shape (n, 1, image_size, image_size).

        Raises:
            DataError: as ``labels``, or if a row lies outside the data set.
        """
        (training, _), (test, _) = self._parts()
        numbers = check_rows(rows, len(training) + len(test), "fashion_mnist")
        images = np.zeros((len(numbers), *self.image_shape), dtype=np.uint8)
        border = (self.image_size - SIDE) // 2
        inner = images[:, 0, border : border + SIDE, border : border + SIDE]
        tested = numbers >= len(training)
        inner[~tested] = training[numbers[~tested]]
        inner[tested] = test[numbers[tested] - len(training)]
        return images

    def _parts(self) -> list[tuple[Array, Array]]:
        if self.folder is None:
            files = _find(_download(Path(self.download_folder).expanduser()))
            _check_release(files)
        else:
            files = _find(Path(self.folder).expanduser())
        training_images, training_labels, test_images, test_labels = (files[name] for name in RELEASE_MD5)
        return [_read(training_images, training_labels), _read(test_images, test_labels)]


def _download(root: Path) -> Path:
    """Lets torchvision fetch what is not there yet; returns the folder of the files."""
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"fashion_mnist: the download into {root} must succeed, got: {' '.join(str(error).split())}; try again "
            "with a network, or set folder to a folder that holds the four idx files."
        ) from error
    return root / "FashionMNIST" / "raw"


def _check_release(files: dict[str, _File]) -> None:
    for name, file in files.items():
        if _md5(file) != RELEASE_MD5[name]:
            raise DataError(
                f"fashion_mnist: {file.path} must have the published MD5 {RELEASE_MD5[name]}, got {_md5(file)}; "
                "try to delete its folder and run again."
            )
