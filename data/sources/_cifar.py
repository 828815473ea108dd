"""CIFAR-10 and CIFAR-100 as they are published: pickled batches or binary ones, unpacked or in their archive."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.sources._pickles import read_pickle
from data.sources._release_files import AGAIN, Form, Found, content_of, contents, packed

SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
#: Published training and test images of either release.
_IMAGES = 50_000, 10_000


@dataclass(frozen=True)
class Release:
    """A data set of either form.

    Args:
        name: of the source.
        forms: the pickled one, then the binary one.
        labels: for each set of labels, its key in a pickle, in the order of the bytes of a binary record.
        known: the class names of each set of labels.
        archive_md5: published digest of each form's archive.
        files_md5: published digests of the files of the pickled one.
    """

    name: str
    forms: tuple[Form, Form]
    labels: tuple[tuple[str, str], ...]
    known: dict[str, tuple[str, ...]]
    archive_md5: tuple[str, str]
    files_md5: dict[str, str]

    @property
    def remedy(self) -> str:
        """How to get the data."""
        return (
            f"get {self.forms[0].archive} from https://www.cs.toronto.edu/~kriz/cifar.html and name its folder, "
            "or leave folder unset to download it"
        )


def find(folder: Path, release: Release) -> Found:
    """Looks for a release: in the folder, in the folder of its name inside, or in its archive inside.

    Args:
        folder: the folder, the one above it, one with the archive, or the archive.
        release: what is looked for.

    Raises:
        DataError: if it is not there, or a file is missing.
    """
    for form in release.forms:
        if folder.is_file() and folder.name == form.archive:
            return packed(folder, form)
    for place in (folder, *(folder / form.folder for form in release.forms)):
        for form in release.forms:
            if any((place / name).is_file() for name in form.files):
                return _unpacked(place, form, release)
    for form in release.forms:
        if (folder / form.archive).is_file():
            return packed(folder / form.archive, form)
    raise DataError(
        f"{release.name}: folder must be or hold {release.forms[0].folder}, {release.forms[1].folder} or one of their "
        f"archives, got {folder}; {release.remedy}."
    )


def read(found: Found, release: Release) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.int64]], int]:
    """All images and labels, training rows first.

    Returns:
        Images uint8 (N, 3, 32, 32), each set of labels int64 (N,), and the number of training rows.

    Raises:
        DataError: naming the file that is missing or damaged.
    """
    return _read(found, release.name, release.labels, tuple(len(names) for names in release.known.values()))


def class_names(found: Found, release: Release, labels: str) -> tuple[str, ...]:
    """The class names that lie with the files, or the known ones where none do.

    Raises:
        DataError: if the file of names is damaged or has another number of names.
    """
    known = release.known[labels]
    name = dict(found.form.names)[labels]
    content = content_of(found, name)
    if content is None:
        return known
    where = str(found.place / name)
    if found.form.binary:
        names: Any = [line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    else:
        names = read_pickle(content, where).get("label_names" if len(release.labels) == 1 else f"{labels}_label_names")
    whole = isinstance(names, list) and all(isinstance(item, str) for item in names)
    if not whole or len(set(names)) != len(known) or len(names) != len(known):
        got = f"{len(names)}" if whole else "none"
        raise DataError(f"{where}: must hold {len(known)} distinct class names, got {got}; {AGAIN}.")
    return tuple(names)


def download(release: Release, root: Path) -> Found:
    """Lets torchvision fetch what is not there yet, and compares every file with its published digest.

    Raises:
        DataError: if the download fails or brings something else.
    """
    from torchvision import datasets

    kind: Any = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[release.name]
    try:
        kind(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{release.name}: the download into {root} must succeed, got: {' '.join(str(error).split())}; try again "
            f"with a network, or get {release.forms[0].archive} and set folder to its folder."
        ) from error
    found = find(root / release.forms[0].folder, release)
    for name, wanted in release.files_md5.items():
        got = _md5(found.place / name)
        if got != wanted:
            raise DataError(
                f"{release.name}: {found.place / name} must have the published MD5 {wanted}, got {got}; "
                "try to delete its folder and run again."
            )
    return found


def deviations(found: Found, release: Release) -> tuple[str, ...]:
    """What of the files is not as it is published, a sentence each: their MD5, and how many images they hold.

    Unpacked binary files have no published digests. A choice of the images is no error, but nobody should take it for
    the whole.

    Raises:
        DataError: as ``read``.
    """
    if found.packed:
        wanted = {found.place: release.archive_md5[release.forms.index(found.form)]}
    else:
        wanted = {path: release.files_md5[path.name] for path in found.paths if path.name in release.files_md5}
    other = [path.name for path, md5 in wanted.items() if _md5(path) != md5]
    told = []
    if other:
        told.append(
            f"{release.name}: {', '.join(other)} {'has' if len(other) == 1 else 'have'} another MD5 than the published "
            "one: other data, or packed anew."
        )
    images, _, training = read(found, release)
    counts = training, len(images) - training
    if counts != _IMAGES:
        told.append(
            f"{release.name}: the files hold {counts[0]:,} training and {counts[1]:,} test images, where "
            f"{_IMAGES[0]:,} and {_IMAGES[1]:,} are published."
        )
    return tuple(told)


@lru_cache(maxsize=32)
def _md5_of(path: Path, bytes_: int, changed_nanoseconds: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _md5(path: Path) -> str:
    try:
        state = path.stat()
        return _md5_of(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path}: must be a file that can be read ({error.strerror}); try to run again.") from error


def _unpacked(place: Path, form: Form, release: Release) -> Found:
    states = []
    names = [name for name in dict.fromkeys(name for _, name in form.names) if (place / name).is_file()]
    for name in (*form.files, *names):
        if not (place / name).is_file():
            raise DataError(f"{release.name}: {place} must hold {name}, got none; {release.remedy}.")
        state = (place / name).stat()
        states.append((name, state.st_size, state.st_mtime_ns))
    return Found(form, place, False, tuple(states))


@lru_cache(maxsize=1)
def _read(
    found: Found, source: str, label_keys: tuple[tuple[str, str], ...], classes: tuple[int, ...]
) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.int64]], int]:
    parts = {}
    for name, content in contents(found, found.form.files):
        where = str(found.place / name)
        if found.form.binary:
            images, labels = _binary(content, len(label_keys), where)
        else:
            images, labels = _pickled(content, [key for _, key in label_keys], where)
        for column, (count, (told, _)) in enumerate(zip(classes, label_keys, strict=True)):
            if labels.size and not 0 <= labels[:, column].min() <= labels[:, column].max() < count:
                raise DataError(
                    f"{where}: {told} labels must lie in 0..{count - 1}, got {labels[:, column].min()}.."
                    f"{labels[:, column].max()}; {AGAIN}."
                )
        parts[name] = images, labels
    images = np.concatenate([parts[name][0] for name in found.form.files])
    labels = np.concatenate([parts[name][1] for name in found.form.files])
    images.flags.writeable = labels.flags.writeable = False
    training = sum(len(parts[name][0]) for name in found.form.training)
    return images, {told: labels[:, column] for column, (told, _) in enumerate(label_keys)}, training


def _binary(content: bytes, label_bytes: int, where: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    record = label_bytes + _PIXELS
    if not content or len(content) % record:
        raise DataError(f"{where}: must be records of {record} bytes, got {len(content)} bytes; {AGAIN}.")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, label_bytes:].reshape(-1, *SHAPE), records[:, :label_bytes].astype(np.int64)


def _pickled(content: bytes, keys: Sequence[str], where: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    batch = read_pickle(content, where)
    data = batch.get("data")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS:
        got = getattr(data, "shape", "none")
        raise DataError(f"{where}: data must be an array of bytes (N, {_PIXELS}), got {got}; {AGAIN}.")
    columns = []
    for key in keys:
        labels = batch.get(key)
        if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
            raise DataError(f"{where}: {key} must be a list of small whole numbers, got another thing; {AGAIN}.")
        if len(labels) != len(data):
            raise DataError(f"{where}: {key} must have {len(data)} entries, got {len(labels)}; {AGAIN}.")
        columns.append(labels)
    return data.reshape(-1, *SHAPE), np.array(columns, np.int64).reshape(len(keys), -1).T
