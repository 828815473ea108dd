"""HDF5 layouts in which the papers' data sets are published, recognised by the names of their arrays.

The files carry no attribute that says what they are (Ding et al., improved_CcGAN and cGAN-KD, github.com/UBCDingXin;
Brock et al., BigGAN-PyTorch), and versions of one data set differ in their names. Nothing is guessed: a file fits the
layout that knows the most of its arrays, and one that fits two or none is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from data.errors import DataError
from data.faults import printable
from data.quarantine import Quarantine
from data.untrusted import StoredArray, list_arrays

Roles = Mapping[str, str]

# An array with such a name decides what a row may serve for, so that it is never ignored.
_DECIDES = ("indx", "index", "split", "train", "test", "valid", "_val")
_NAMES_TOLD = 12


@dataclass(frozen=True)
class _Pattern:
    """What files of one layout hold.

    Args:
        described: what a person calls it.
        kind: the source that reads it, for messages.
        parts: for each part of the rows, in their order, the arrays by role; each has "images" and "labels".
        optional: roles that a part may lack.
        any_of: arrays of which one at least must be there, where the roles alone do not tell the layout.
        indices: arrays of row numbers that may be there.
        optional_parts: parts that may be missing as a whole.
        others: arrays that may be there and are not one number a row.
        axes: order of the axes of the images.
        shape: the images must have exactly this one, rows included; None for any.
    """

    described: str
    kind: str
    parts: Mapping[str, Roles]
    optional: Collection[str] = ()
    any_of: Collection[str] = ()
    indices: Collection[str] = ()
    optional_parts: Collection[str] = ()
    others: Collection[str] = ()
    axes: Literal["NCHW", "NHWC"] = "NCHW"
    shape: tuple[int, ...] | None = None

    def required(self) -> list[str]:
        """Arrays that must all be there."""
        parts = (roles for name, roles in self.parts.items() if name not in self.optional_parts)
        return [key for roles in parts for role, key in roles.items() if role not in self.optional]

    def known(self) -> set[str]:
        """All arrays that may be there."""
        return {key for roles in self.parts.values() for key in roles.values()} | {*self.indices, *self.others}

    def wish(self) -> str:
        """The arrays that a file must have, for messages."""
        more = f" and {' or '.join(self.any_of)}" if self.any_of else ""
        return f"{', '.join(self.required())}{more} ({self.described})"


def _part(suffix: str = "", **others: str) -> dict[str, str]:
    return {"images": f"images{suffix}", "labels": f"labels{suffix}", **others}


_IMBALANCED = tuple(f"indx_train_{name}" for name in ("standard", "unimodal", "dualmodal", "trimodal"))
_PATTERNS = {
    "rc49": _Pattern(
        "RC-49 of CcGAN",
        "rc49",
        {"all": _part(types="types")},
        optional=("types",),
        any_of=("types", "indx_train"),
        indices=("indx_train", *_IMBALANCED),
    ),
    "rc49-kd": _Pattern(
        "RC-49 of cGAN-KD",
        "rc49",
        {"odd": _part("_odd", types="types_odd"), "even": _part("_even", types="types_even")},
        optional=("types",),
        any_of=("indx_odd_train",),
        indices=("indx_odd_train", "indx_odd_subtrain", "indx_odd_subvalid", "indx_odd_rest"),
    ),
    "utkface": _Pattern(
        "UTKFace",
        "utkface",
        {"all": _part(races="races")},
        optional=("races",),
        any_of=("races", "indx_train"),
        indices=("indx_train", "indx_subtrain", "indx_subvalid", "indx_test"),
    ),
    "train-test": _Pattern(
        "UTKFace or Steering Angle of cGAN-KD",
        "utkface or steering_angle",
        {"train": _part("_train"), "test": _part("_test")},
    ),
    "plain": _Pattern("Steering Angle of CcGAN, and others without a split", "steering_angle", {"all": _part()}),
    "cell200": _Pattern(
        "Cell-200",
        "cell200",
        {
            "train": {"images": "IMGs_grey", "labels": "CellCounts"},
            "test": {"images": "IMGs_grey_test", "labels": "CellCounts_test"},
        },
        optional_parts=("test",),
    ),
    "imagenet100": _Pattern(
        "ImageNet-100 of cGAN-KD",
        "imagenet100",
        {
            "train": _part("_train", label1000="labels_train_label1000"),
            "valid": _part("_valid", label1000="labels_valid_label1000"),
        },
        optional=("label1000",),
        others=("existing_classes",),
    ),
    "cifar-subset": _Pattern(
        "training subset of CIFAR of cGAN-KD",
        "hdf5",
        {"train": _part("_train")},
        any_of=("subtrain_indx",),
        indices=("subtrain_indx", "subvalid_indx"),
    ),
    "biggan": _Pattern("BigGAN-PyTorch", "hdf5", {"all": {"images": "imgs", "labels": "labels"}}),
    "tiny-imagenet": _Pattern(
        "Tiny-ImageNet of cGAN-KD",
        "tiny_imagenet",
        {"train": {"images": "imgs", "labels": "labels"}, "valid": {"images": "imgs_val", "labels": "labels_val"}},
        indices=("indx_subtrain", "indx_subvalid"),
    ),
    "fake": _Pattern(
        "generated images of the papers",
        "hdf5",
        {"all": {"images": "fake_images", "labels": "fake_labels", "seeds": "fake_seeds"}},
        optional=("seeds",),
    ),
    "3dshapes": _Pattern("3dshapes", "hdf5", {"all": _part()}, axes="NHWC", shape=(480_000, 64, 64, 3)),
}
#: Names of the layouts.
LAYOUTS = tuple(_PATTERNS)


@dataclass(frozen=True)
class Part:
    """Rows of a file that lie in arrays of their own.

    Args:
        start: number of its first row among all rows of the file.
        rows: number of its rows.
        keys: names of its arrays by role.
    """

    start: int
    rows: int
    keys: Roles


@dataclass(frozen=True)
class Layout:
    """What a file was recognised as.

    Args:
        path: the file.
        name: one of ``LAYOUTS``.
        parts: by name, in the order of the rows.
        axes: order of the axes of the images.
        image_shape: (C, H, W).
        indices: arrays of row numbers that are there.
        ignored: arrays that the layout does not know; none of them decides what a row may serve for.
    """

    path: Path
    name: str
    parts: Mapping[str, Part]
    axes: Literal["NCHW", "NHWC"]
    image_shape: tuple[int, int, int]
    indices: tuple[str, ...]
    ignored: tuple[str, ...]

    def __len__(self) -> int:
        """Number of rows of all parts."""
        return sum(part.rows for part in self.parts.values())

    def small_arrays(self) -> tuple[str, ...]:
        """Names of the arrays of labels and row numbers."""
        keys = (key for part in self.parts.values() for role, key in part.keys.items() if role != "images")
        return (*keys, *self.indices)

    def has(self, role: str) -> bool:
        """Whether every part has an array of that role."""
        return all(role in part.keys for part in self.parts.values())


def recognise(
    path: Path,
    among: Collection[str] = LAYOUTS,
    *,
    reader: str = "this command",
    quarantine: Quarantine | None = None,
) -> Layout:
    """Tells the layout of an HDF5 file by the names, types and shapes of its arrays; their values are not read.

    Args:
        path: the file; it is opened in a process of its own.
        among: layouts that will do.
        reader: who asks, for messages, e.g. "source rc49".
        quarantine: the process that opens the file; None starts one.

    Raises:
        DataError: one sentence that lists the file's arrays and what would be needed, if it fits none or several of
            the layouts, or names the array whose type or shape must be converted.
    """
    arrays = list_arrays(path, quarantine)
    fitting = {name: covered for name, p in _PATTERNS.items() if (covered := _covered(p, arrays)) is not None}
    # Of RC-49 every array is known to "rc49" and only two to "plain".
    most = max(fitting.values(), default=0)
    best = [name for name, covered in fitting.items() if covered == most]
    found = [name for name in best if name in among]
    if len(found) != 1:
        _refuse(path, arrays, best, among, reader)
    pattern = _PATTERNS[found[0]]
    parts: dict[str, Part] = {}
    for name, roles in pattern.parts.items():
        keys = {role: key for role, key in roles.items() if key in arrays}
        if "images" in keys:
            parts[name] = Part(
                sum(part.rows for part in parts.values()), _check_part(path, pattern, keys, arrays), keys
            )
    shapes = {part.keys["images"]: arrays[part.keys["images"]].shape[1:] for part in parts.values()}
    if len(set(shapes.values())) != 1:
        told = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise DataError(f"{path}: images of all parts must have one shape, got {told}; write the file again.")
    shape = next(iter(shapes.values()))
    channels, height, width = shape if pattern.axes == "NCHW" else (shape[2], shape[0], shape[1])
    return Layout(
        path=path,
        name=found[0],
        parts=parts,
        axes=pattern.axes,
        image_shape=(channels, height, width),
        indices=tuple(key for key in pattern.indices if key in arrays),
        ignored=tuple(sorted(set(arrays) - pattern.known())),
    )


def _covered(pattern: _Pattern, arrays: Mapping[str, StoredArray]) -> int | None:
    """How many of the arrays a layout knows, or None if the file does not fit it."""
    known = pattern.known() & set(arrays)
    if not known.issuperset(pattern.required()) or (pattern.any_of and known.isdisjoint(pattern.any_of)):
        return None
    if any(word in name.lower() for name in set(arrays) - known for word in _DECIDES):
        return None
    for roles in (pattern.parts[name] for name in pattern.optional_parts):
        if 0 < len(known.intersection(roles.values())) < len(roles):
            return None
    images = [roles["images"] for roles in pattern.parts.values() if roles["images"] in arrays]
    if pattern.shape is not None:
        return len(known) + 1 if all(arrays[key].shape == pattern.shape for key in images) else None
    return len(known)


def _check_part(path: Path, pattern: _Pattern, keys: Roles, arrays: Mapping[str, StoredArray]) -> int:
    """The number of rows of a part whose arrays are of the right types and lengths."""
    images = arrays[keys["images"]]
    item = f"{path}: {keys['images']}"
    if np.dtype(images.dtype) != np.uint8:
        raise DataError(
            f"{item} must be uint8 of 0 to 255, got {np.dtype(images.dtype).name}; convert it, e.g. values of 0 to 1 "
            "by (255 * x).round().astype('uint8')."
        )
    channel_axis = pattern.axes.index("C")
    if len(images.shape) != 4 or images.shape[channel_axis] not in (1, 3):
        remedy = "convert it by x.transpose(0, 3, 1, 2)" if _is_nhwc(images.shape) else "write the file again"
        raise DataError(f"{item} must have the axes {pattern.axes} with 1 or 3 channels, got {images.shape}; {remedy}.")
    if not all(images.shape):
        raise DataError(f"{item} must hold at least one image, got {images.shape}; copy the file again.")
    for key in keys.values():
        stored = arrays[key]
        if stored.shape[:1] != images.shape[:1] or np.dtype(stored.dtype).kind not in "iuf":
            raise DataError(
                f"{path}: {key} must hold a number for each of the {images.shape[0]} images in {keys['images']}, got "
                f"{np.dtype(stored.dtype).name} {stored.shape}; write the file again."
            )
    return images.shape[0]


def _is_nhwc(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] in (1, 3)


def _refuse(path: Path, arrays: Mapping[str, Any], best: list[str], among: Collection[str], reader: str) -> NoReturn:
    names = ", ".join(printable(name) for name in sorted(arrays)[:_NAMES_TOLD]) or "no arrays"
    more = f" and {len(arrays) - _NAMES_TOLD} more" if len(arrays) > _NAMES_TOLD else ""
    wanted = "; or ".join(_PATTERNS[name].wish() for name in LAYOUTS if name in among)
    known = [name for name in best if name in among]
    if len(known) > 1:
        what, remedy = f"which fits {' and '.join(known)}", "name the source.kind that it is meant for"
    elif best:
        what = f"the layout {' or '.join(best)}"
        remedy = f"try source.kind {' or '.join(dict.fromkeys(_PATTERNS[name].kind for name in best))}"
    else:
        what, remedy = "which is no known layout", "rename its arrays, or try source.kind hdf5, which is told the names"
    raise DataError(f"{path}: has {names}{more}, {what}; {reader} needs {wanted}; {remedy}.")
