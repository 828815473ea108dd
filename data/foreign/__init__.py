"""Sets that were made elsewhere: our own files, the papers' HDF5 layout, folders of images with a CSV.

Planning asks for identities, so nothing heavy is imported before a set is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.errors import DataError
from data.files import check_regular, sha256_of
from data.labels import LabelSpace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.random import Seeds

#: License of a set whose file does not tell it, as SPDX writes that nothing is known.
UNKNOWN_LICENSE = "NOASSERTION"


@dataclass(frozen=True, eq=False)
class ForeignSet:
    """Labelled images that were made elsewhere, checked but not read.

    Args:
        path: the file or folder.
        layout: how it was recognised.
        label_space: what the labels mean.
        image_shape: (C, H, W) of the images.
        labels: a column of the label space, within its ranges, (N, ...).
        seeds: uint64 (N,); the row numbers where the set has none.
        license: SPDX expression.
        read: images of rows start .. stop - 1, uint8 (stop - start, C, H, W); raises DataError for damaged ones.
    """

    path: Path
    layout: Literal["stillhouse", "fake-h5", "published", "folder"]
    label_space: LabelSpace
    image_shape: tuple[int, int, int]
    labels: npt.NDArray[Any]
    seeds: Seeds
    license: str
    read: Callable[[int, int], npt.NDArray[np.uint8]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)


def open_foreign(
    path: Path | str, label_space: LabelSpace, image_shape: tuple[int, int, int], *, resize: bool = False
) -> ForeignSet:
    """Opens a set made elsewhere: a set of ours, HDF5 in a layout of the papers, or a folder with a CSV.

    Args:
        path: the file or folder.
        label_space: what its labels must mean.
        image_shape: (C, H, W) that its images must have.
        resize: whether images of other sizes are brought to that size; folders only.

    Raises:
        DataError: one sentence that names the file, the item and the remedy.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        from data.foreign.folder import open_folder

        return open_folder(path, label_space, image_shape, resize=resize)
    from data.foreign.fake_h5 import IMAGES, LABELS, open_fake_h5
    from data.foreign.own import open_own
    from data.foreign.published_set import open_published_set
    from data.quarantine import Quarantine
    from data.untrusted import is_stillhouse_set, list_arrays

    with Quarantine() as quarantine:
        if is_stillhouse_set(path, quarantine):
            return open_own(path, label_space, image_shape, quarantine)
        if {IMAGES, LABELS} & set(list_arrays(path, quarantine)):
            return open_fake_h5(path, label_space, image_shape, quarantine)
    return open_published_set(path, label_space, image_shape)


def foreign_identity(path: Path | str) -> str:
    """SHA-256 of a set's content: of the file, or of a folder's CSV and the images in its order; hexadecimal.

    Raises:
        DataError: if the file, the CSV or one of its images is missing or no regular file within the folder.
    """
    path = Path(path).expanduser()
    try:
        if not path.is_dir():
            check_regular(path)
            return sha256_of(path)
        from data.foreign.listing import read_listing

        listing = read_listing(path)
        digest = hashlib.sha256()
        for file in (listing.path, *listing.paths):
            digest.update(sha256_of(file).encode())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); check who may read it.") from error
    return digest.hexdigest()
