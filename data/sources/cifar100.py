"""CIFAR-100: 60,000 colour photographs of 100 classes in 20 superclasses, 32x32 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.file_digests import digest_of_files
from data.labels import LabelSpace
from data.sources import TEST_POOL, TRAINING_POOL, check_rows, sources
from data.sources._cifar import SHAPE, Release, class_names, deviations, download, find, read
from data.sources._release_files import Form, Found

CifarLabel = Literal["fine", "coarse"]

_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
vehicles_1 vehicles_2
"""
RELEASE = Release(
    name="cifar100",
    forms=(
        Form(
            "cifar-100-python",
            "cifar-100-python.tar.gz",
            ("train",),
            "test",
            (("coarse", "meta"), ("fine", "meta")),
            binary=False,
        ),
        Form(
            "cifar-100-binary",
            "cifar-100-binary.tar.gz",
            ("train.bin",),
            "test.bin",
            (("coarse", "coarse_label_names.txt"), ("fine", "fine_label_names.txt")),
            binary=True,
        ),
    ),
    labels=(("coarse", "coarse_labels"), ("fine", "fine_labels")),
    known={"coarse": tuple(_COARSE.split()), "fine": tuple(_FINE.split())},
    archive_md5=("eb9058c3a382ffc7106e4002c42a8d85", "03b5dce01913d631647c71ecec9e9cb8"),
    files_md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
)


@sources.register("cifar100")
@dataclass(frozen=True)
class Cifar100:
    """Photographs of 100 classes or 20 superclasses, 32x32 colour pixels (Krizhevsky, 2009).

    Rows are the 50,000 training images in the order of the file, then the 10,000 test images. The authors name no
    license, so that the set's is NOASSERTION.

    Args:
        folder: the folder of the pickled or binary batches, the one above it, or their archive; None downloads it.
        download_folder: where a download is kept.
        label: "fine" (100 classes) or "coarse" (20 superclasses of five classes each).

    Raises:
        ConfigError: if ``label`` is neither.
    """

    folder: str | None = None
    download_folder: str = "~/.cache/stillhouse/cifar100"
    label: CifarLabel = "fine"

    license: ClassVar[str] = "NOASSERTION"
    homepage: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar.html"
    image_shape: ClassVar[tuple[int, int, int]] = SHAPE

    def __post_init__(self) -> None:
        if self.label not in get_args(CifarLabel):
            raise ConfigError(f"cifar100: label must be one of {', '.join(get_args(CifarLabel))}, got '{self.label}'.")

    @property
    def label_space(self) -> LabelSpace:
        """100 classes or 20 superclasses, named by the file that lies with the data.

        Raises:
            DataError: if the folder is missing, or its class names are damaged.
        """
        if self.folder is None:
            return LabelSpace("class", names=RELEASE.known[self.label])
        return LabelSpace("class", names=class_names(self._found(), RELEASE, self.label))

    def identity(self) -> dict[str, Any]:
        """Digest of the files; the published digests when they are downloaded.

        Raises:
            DataError: if the folder or one of its files is missing.
        """
        if self.folder is None:
            return {"name": "cifar100", "label": self.label, "files_md5": dict(RELEASE.files_md5)}
        found = self._found()
        return {"name": "cifar100", "label": self.label, "files_sha256": digest_of_files(found.root, found.paths)}

    def labels(self) -> npt.NDArray[np.int64]:
        """All labels, training rows first, int64, shape (60000,).

        Raises:
            DataError: if a file is missing or damaged, or the download fails.
        """
        return read(self._found(), RELEASE)[1][self.label].copy()

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
        return images[check_rows(rows, len(images), "cifar100")]

    def notes(self) -> tuple[str, ...]:
        """Files of the folder that are not as they are published, in words."""
        return () if self.folder is None else deviations(self._found(), RELEASE)

    def _found(self) -> Found:
        if self.folder is None:
            return download(RELEASE, Path(self.download_folder).expanduser())
        return find(Path(self.folder).expanduser(), RELEASE)
