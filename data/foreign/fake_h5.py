"""HDF5 with ``fake_images`` and ``fake_labels``: how the papers' own programs keep generated images.

Ding et al. write uint8 images (N, C, H, W) with gzip, and labels in their own units as integers or float64. Such a
file may come from a stranger, so that everything is refused that leads out of it, needs foreign code to decode, or
unpacks to far more than is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.files import check_regular, replace_durably
from data.foreign import UNKNOWN_LICENSE, ForeignSet
from data.foreign.labels import as_labels, seeds_from
from data.labels import LabelSpace
from data.random import Seeds
from data.schema import blocks

IMAGES, LABELS, SEEDS = "fake_images", "fake_labels", "fake_seeds"
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CHUNK_BYTES = 1 << 26
# Images of one colour pack well, but not a whole set of them.
_MOST_UNPACKED = 200
_SMALL_BYTES = 1 << 26


def open_fake_h5(path: Path, label_space: LabelSpace, image_shape: tuple[int, int, int]) -> ForeignSet:
    """Opens a file with ``fake_images``, ``fake_labels`` and, if it is ours, ``fake_seeds``.

    Args:
        path: the file.
        label_space: what its labels must mean; they are in their own units.
        image_shape: (C, H, W) that its images must have.

    Raises:
        DataError: naming what is missing, wrong or not to be trusted.
    """
    check_regular(path)
    with _as_data_error(path), h5py.File(path, "r", locking=False) as file:
        images, labels = _dataset(path, file, IMAGES), _dataset(path, file, LABELS)
        seeds = _dataset(path, file, SEEDS) if file.id.links.exists(SEEDS.encode()) else None
        if images.dtype != np.uint8 or images.shape[1:] != image_shape:
            wanted = ", ".join(("N", *map(str, image_shape)))
            _refuse(path, IMAGES, f"must be uint8 ({wanted}), got {images.dtype.name} {images.shape}")
        if labels.dtype.kind not in "iuf" or labels.shape[:1] != images.shape[:1] or labels.ndim > 2:
            _refuse(path, LABELS, f"must be a number a label for {len(images)} images, got {labels.shape}")
        if seeds is not None and (seeds.dtype.kind not in "iu" or seeds.shape != images.shape[:1]):
            _refuse(path, SEEDS, f"must be an integer an image, got {seeds.dtype.name} {seeds.shape}")
        values: npt.NDArray[Any] = labels[()]
        numbers = None if seeds is None else seeds[()]
    return ForeignSet(
        path=path,
        layout="fake-h5",
        label_space=label_space,
        image_shape=image_shape,
        labels=as_labels(values, label_space, f"{path}: {LABELS}"),
        seeds=seeds_from(numbers, len(values), f"{path}: {SEEDS}"),
        license=UNKNOWN_LICENSE,
        read=_reader(path, len(values), image_shape),
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
    temporary = path.with_name(path.name + ".tmp")
    # Whole images, about 1 MiB a chunk: they are read faster than h5py's own guess, and pack as well.
    chunk = (max(1, min(len(labels), (1 << 20) // math.prod(image_shape))), *image_shape)
    shape = (len(labels), *image_shape)
    try:
        with h5py.File(temporary, "w") as file:
            stored = file.create_dataset(IMAGES, shape, np.uint8, chunks=chunk, compression="gzip", compression_opts=6)
            for start, stop in blocks(len(labels)):
                stored[start:stop] = images(start, stop)
            file[LABELS] = labels if labels.dtype.kind == "i" else labels.astype(np.float64)
            file[SEEDS] = seeds
        replace_durably(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: the file cannot be written ({error}); make room or choose another folder.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _reader(path: Path, rows: int, image_shape: tuple[int, int, int]) -> Callable[[int, int], npt.NDArray[np.uint8]]:
    def read(start: int, stop: int) -> npt.NDArray[np.uint8]:
        # An open file would be in the way of others in this process; so what is opened anew is checked anew.
        item = f"{IMAGES} rows {start}..{stop - 1}"
        with _as_data_error(path, item), h5py.File(path, "r", locking=False) as file:
            images = _dataset(path, file, IMAGES)
            if images.dtype != np.uint8 or images.shape != (rows, *image_shape):
                _refuse(path, IMAGES, "has changed since the file was checked")
            return np.asarray(images[start:stop], np.uint8)

    return read


def _dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    raw = name.encode()
    # Whether a link is there; where it leads is not looked at.
    if not file.id.links.exists(raw):
        names = ", ".join(sorted(repr(key) for key in list(file)[:8])) or "nothing"
        _refuse(
            path, name, f"is missing; a set must be one of ours, or have {IMAGES} and {LABELS}; this one has {names}"
        )
    if file.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
        _refuse(path, name, "is a link to another place")
    member = h5py.h5o.open(file.id, raw)
    if not isinstance(member, h5py.h5d.DatasetID):
        _refuse(path, name, "must be a data set")
    properties = member.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        _refuse(path, name, "keeps its values in another file")
    filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
    if not set(filters) <= _FILTERS:
        _refuse(path, name, f"must be packed by gzip or not at all, got the filters {filters}")
    dataset = h5py.Dataset(member)
    if dataset.dtype.kind not in "iuf" or not dataset.shape:
        _refuse(path, name, f"must be an array of numbers, rows first, got {dataset.dtype.name} {dataset.shape}")
    size, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, member.get_storage_size()
    if layout == h5py.h5d.CHUNKED and size:
        chunk = dataset.chunks
        if math.prod(chunk) * dataset.dtype.itemsize > _CHUNK_BYTES:
            _refuse(path, name, f"must have chunks of at most {_CHUNK_BYTES >> 20} MiB, got {chunk}")
        chunks = math.prod(-(-length // side) for length, side in zip(dataset.shape, chunk, strict=True))
        if member.get_num_chunks() != chunks:
            _refuse(path, name, f"must store {chunks} chunks, got {member.get_num_chunks()}")
        if size > _SMALL_BYTES and size > _MOST_UNPACKED * stored:
            _refuse(path, name, f"unpacks {stored} bytes to {size}, as no images do")
    elif stored != size:
        _refuse(path, name, f"must store {size} bytes, got {stored}")
    if stored > path.stat().st_size:
        _refuse(path, name, f"stores {stored} bytes in a file of {path.stat().st_size}")
    return dataset


def _refuse(path: Path, item: str, fault: str) -> NoReturn:
    raise DataError(f"{path}: {item} {fault}; write the file again.")


@contextmanager
def _as_data_error(path: Path, item: str = "the file") -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise DataError(
            f"{path}: {item} cannot be read ({_first_line(error)}); it is damaged, copy it again."
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip("'\n ").partition("\n")[0] or type(error).__name__
