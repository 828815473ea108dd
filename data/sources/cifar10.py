"""CIFAR-10: 60,000 colour photographs of ten classes, 32x32 pixels, from its files or by torchvision's download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.file_digests import digest_of_files
from data.labels import LabelSpace
from data.sources import TEST_POOL, TRAINING_POOL, check_rows, sources
from data.sources._cifar import SHAPE, Release, class_names, deviations, download, find, read
from data.sources._release_files import Form, Found

_TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
RELEASE = Release(
    name="cifar10",
    forms=(
        Form(
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
            _TRAINING,
            "test_batch",
            (("class", "batches.meta"),),
            binary=False,
        ),
        Form(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            tuple(f"{name}.bin" for name in _TRAINING),
            "test_batch.bin",
            (("class", "batches.meta.txt"),),
            binary=True,
        ),
    ),
    labels=(("class", "labels"),),
    known={
        "class": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    },
    archive_md5=("c58f30108f718f92721af3b95e74349a", "c32a1d4ab5d03f1284b67883e8d87530"),
    files_md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
)


@sources.register("cifar10")
@dataclass(frozen=True)
class Cifar10:
    """Photographs of ten classes, 32x32 colour pixels (Krizhevsky, 2009, Learning multiple layers of features).

    Rows are the 50,000 training images in the order of the five batches, then the 10,000 test images. The authors name
    no license, so that the set's is NOASSERTION.

    Args:
        folder: the folder of the pickled or binary batches, the one above it, or their archive; None downloads it.
        download_folder: where a download is kept.
    """

    folder: str | None = None
    download_folder: str = "~/.cache/stillhouse/cifar10"

    license: ClassVar[str] = "NOASSERTION"
    homepage: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar.html"
    image_shape: ClassVar[tuple[int, int, int]] = SHAPE

    @property
    def label_space(self) -> LabelSpace:
        """Ten classes, named by the file that lies with the data.

        Raises:
            DataError: if the folder is missing, or its class names are damaged.
        """
        if self.folder is None:
            return LabelSpace("class", names=RELEASE.known["class"])
        return LabelSpace("class", names=class_names(self._found(), RELEASE, "class"))

    def identity(self) -> dict[str, Any]:
        """Digest of the files; the published digests when they are downloaded.

        Raises:
            DataError: if the folder or one of its files is missing.
        """
        if self.folder is None:
            return {"name": "cifar10", "files_md5": dict(RELEASE.files_md5)}
        found = self._found()
        return {"name": "cifar10", "files_sha256": digest_of_files(found.root, found.paths)}

    def labels(self) -> npt.NDArray[np.int64]:
        """All labels, training rows first, int64, shape (60000,).

        Raises:
            DataError: if a file is missing or damaged, or the download fails.
        """
        return read(self._found(), RELEASE)[1]["class"].copy()

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for the training files' rows, 2 for the test file's, shape (60000,).

        Raises:
            DataError: as ``labels``.
        """
        images, _, training = read(self._found(), RELEASE)
        return np.repeat(np.array([TRAINING_POOL, TEST_POOL], np.uint8), [training, len(images) - training])

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, 3, 32, 32).

        Raises:
            DataError: as ``labels``, or if a row lies outside the data set.
        """
        images = read(self._found(), RELEASE)[0]
        return images[check_rows(rows, len(images), "cifar10")]

    def notes(self) -> tuple[str, ...]:
        """Files of the folder that are not as they are published, in words."""
        return () if self.folder is None else deviations(self._found(), RELEASE)

    def _found(self) -> Found:
        if self.folder is None:
            return download(RELEASE, Path(self.download_folder).expanduser())
        return find(Path(self.folder).expanduser(), RELEASE)
