"""Mixes made into images: a set of kind "mixed", for programs that cannot mix for themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.reading import ImageSet, Selected, release_pages
from data.recipes.mixes import SHARE_STEPS, Mixes, check_mixes
from data.writing import write_set


def materialise(path: Path, images: ImageSet, mixes: Mixes, *, facts: Mapping[str, Any] | None = None) -> str:
    """Mixes images and writes them as a set of their own, one block of rows at a time.

    Args:
        path: the file to write.
        images: the set that the rows of the mixes are of, with labels.
        mixes: of that set, with ``teacher_outputs`` of the mixed images or without.
        facts: what else to say in the provenance, such as seed and alpha; JSON-ready.

    Returns:
        The content digest of the file.

    Raises:
        DataError: if the mixes do not fit the set, or the file cannot be written.
    """
    check_mixes(replace(mixes, of=mixes.of or images.content_sha256), images, str(path))
    columns: dict[str, npt.NDArray[Any] | Selected] = {
        # Has what the writer needs of a column: type, shape, and rows by number.
        "images": cast(Selected, _Mixed(images.columns["images"], mixes)),
        "labels": Selected(images.columns["labels"], mixes.first),
        "other_labels": Selected(images.columns["labels"], mixes.second),
        "coefficient": mixes.coefficient,
        "first": mixes.first,
        "second": mixes.second,
    }
    if mixes.teacher_outputs is not None:
        columns["teacher_outputs"] = mixes.teacher_outputs
    provenance: dict[str, Any] = {**(facts or {}), "of": images.content_sha256, "kind": mixes.kind}
    if mixes.content_sha256:
        provenance["recipe"] = mixes.content_sha256
    return write_set(
        path, columns, kind="mixed", label_space=images.label_space, provenance=provenance, license=images.license
    )


def mixed_images(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    coefficient: npt.NDArray[np.floating[Any]],
    box: npt.NDArray[np.int64],
    kind: str,
) -> npt.NDArray[np.uint8]:
    """Mixes two arrays of images, row by row; the same bytes as ``data.recipes.applying.mix_images``.

    Args:
        first: uint8 (B, C, H, W).
        second: as ``first``.
        coefficient: share of the first image, (B,) in [0, 1]; not read by CutMix.
        box: int64 (B, 4): top, left, height, width; not read by mixup.
        kind: "mixup" or "cutmix".

    Returns:
        uint8 (B, C, H, W).

    Raises:
        ConfigError: for another kind.
    """
    if kind == "mixup":
        share = (np.rint(coefficient.astype(np.float32) * SHARE_STEPS) / SHARE_STEPS).astype(np.float32)
        # Exact in float32, since a share has 16 bits; see ``applying``.
        blend = first.astype(np.float32)
        blend -= second
        blend *= share[:, None, None, None]
        blend += second
        return np.rint(blend, out=blend).astype(np.uint8)
    if kind == "cutmix":
        along = []
        for axis, pixels in ((0, first.shape[2]), (1, first.shape[3])):
            pixel, start = np.arange(pixels), box[:, axis, None]
            along.append((pixel >= start) & (pixel < start + box[:, axis + 2, None]))
        return np.where((along[0][:, :, None] & along[1][:, None, :])[:, None], second, first)
    raise ConfigError(f"kind of mixes must be 'mixup' or 'cutmix', got '{kind}'.")


@dataclass(frozen=True, eq=False)
class _Mixed:
    """A column of mixed images, of which only the rows that are asked for are made."""

    images: npt.NDArray[np.uint8]
    mixes: Mixes

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.images.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.mixes), *self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.mixes)

    def __getitem__(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        mixes = self.mixes
        first, second = (np.take(self.images, rows[places], axis=0) for rows in (mixes.first, mixes.second))
        # The writer cannot see that there is a map below.
        release_pages(self.images)
        return mixed_images(first, second, mixes.coefficient[places], mixes.box[places], mixes.kind)
