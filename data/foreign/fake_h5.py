"""HDF5 with ``fake_images`` and ``fake_labels``: how the papers' own programs keep generated images.

Ding et al. write uint8 images (N, C, H, W) with gzip, and labels in their own units as integers or float64. Such a
file may come from a stranger, so that ``data.untrusted`` opens it: it is unpacked by another process into a copy
without a name, once, when the first images are asked for.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.files import FileState
from data.foreign import UNKNOWN_LICENSE, ForeignSet
from data.foreign.labels import as_labels, seeds_from
from data.hdf5_writing import writing_beside
from data.labels import LabelSpace
from data.quarantine import Quarantine
from data.random import Seeds
from data.reading import release_pages
from data.schema import blocks
from data.untrusted import StoredArray, check_arrays, list_arrays, unpack_arrays

IMAGES, LABELS, SEEDS = "fake_images", "fake_labels", "fake_seeds"


def open_fake_h5(
    path: Path, label_space: LabelSpace, image_shape: tuple[int, int, int], quarantine: Quarantine | None = None
) -> ForeignSet:
    """Opens a file with ``fake_images``, ``fake_labels`` and, if it is ours, ``fake_seeds``.

    Args:
        path: the file.
        label_space: what its labels must mean; they are in their own units.
        image_shape: (C, H, W) that its images must have.
        quarantine: the process that opens it; None starts one.

    Raises:
        DataError: naming what is missing, wrong or not to be trusted.
    """
    try:
        state = FileState.of(os.stat(path))
    except OSError as error:
        raise DataError(f"{path}: the file cannot be found ({error}); check its name.") from error
    with nullcontext(quarantine) if quarantine else Quarantine() as process:
        small = [LABELS, *({SEEDS} & set(list_arrays(path, process)))]
        found = check_arrays(path, [IMAGES, *small], process)
        images, labels, seeds = found[IMAGES], found[LABELS], found.get(SEEDS)
        if images.dtype != np.uint8 or images.shape[1:] != image_shape:
            wanted = ", ".join(("N", *map(str, image_shape)))
            _refuse(path, IMAGES, f"must be uint8 ({wanted}), got {images.dtype.name} {images.shape}")
        if labels.shape[:1] != images.shape[:1] or len(labels.shape) > 2:
            _refuse(path, LABELS, f"must be a number a label for {images.shape[0]} images, got {labels.shape}")
        if seeds is not None and (seeds.dtype.kind not in "iu" or seeds.shape != images.shape[:1]):
            _refuse(path, SEEDS, f"must be an integer an image, got {seeds.dtype.name} {seeds.shape}")
        values = unpack_arrays(path, small, process, unchanged=state)
    return ForeignSet(
        path=path,
        layout="fake-h5",
        label_space=label_space,
        image_shape=image_shape,
        labels=as_labels(values[LABELS], label_space, f"{path}: {LABELS}"),
        seeds=seeds_from(values.get(SEEDS), images.shape[0], f"{path}: {SEEDS}"),
        license=UNKNOWN_LICENSE,
        read=_reader(path, images, state),
    )


def write_fake_h5(
    path: Path,
    images: Callable[[int, int], npt.NDArray[np.uint8]],
    labels: npt.NDArray[Any],
    seeds: Seeds,
    image_shape: tuple[int, int, int],
) -> None:
    """Writes a set in the papers' layout, with the seeds beside it; one block of rows in memory at a time.

    Args:
        path: the file to write, replacing what is there.
        images: images of rows start .. stop - 1, uint8 (n, C, H, W).
        labels: in their own units, (N, ...); integers are kept, floats become float64 as there.
        seeds: uint64 (N,).
        image_shape: (C, H, W).

    Raises:
        DataError: if there is no image, or the file cannot be written.
    """
    if not len(labels):
        raise DataError(f"{path}: a set must have at least one image, got none.")
    # Whole images, about 1 MiB a chunk: they are read faster than h5py's own guess, and pack as well.
    chunk = (max(1, min(len(labels), (1 << 20) // math.prod(image_shape))), *image_shape)
    shape = (len(labels), *image_shape)
    with writing_beside(path) as sink, h5py.File(sink, "w") as file:
        stored = file.create_dataset(IMAGES, shape, np.uint8, chunks=chunk, compression="gzip", compression_opts=6)
        for start, stop in blocks(len(labels)):
            stored[start:stop] = images(start, stop)
            sink.check()
        file[LABELS] = labels if labels.dtype.kind == "i" else labels.astype(np.float64)
        file[SEEDS] = seeds


def _reader(path: Path, wanted: StoredArray, state: FileState) -> Callable[[int, int], npt.NDArray[np.uint8]]:
    @functools.cache
    def images() -> npt.NDArray[np.uint8]:
        found = unpack_arrays(path, [IMAGES], unchanged=state)[IMAGES]
        if found.dtype != wanted.dtype or found.shape != wanted.shape:
            _refuse(path, IMAGES, "has changed since the file was checked")
        return found

    def read(start: int, stop: int) -> npt.NDArray[np.uint8]:
        block = images()[start:stop].copy()
        release_pages(images())
        return block

    return read


def _refuse(path: Path, item: str, fault: str) -> NoReturn:
    raise DataError(f"{path}: {item} {fault}; write the file again.")
