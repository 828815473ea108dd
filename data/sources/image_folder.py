"""Your images in one folder a class, perhaps within train, validation and test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from data.faults import Fault
from data.labels import LabelSpace
from data.sources import sources
from data.sources._labelling import PART_NAMES, make_pool, make_space, order_classes, order_note, plain, some
from data.sources._pictures import Damaged, Pictures, open_root
from data.splitting import TEST, TRAIN, VALIDATION

# Ends of names that a person would call images; those that cannot be read are faults, not overlooked.
_READ = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff")
_NOT_READ = (".heic", ".heif", ".avif", ".jp2", ".jxl", ".ppm", ".pgm", ".pbm", ".tga", ".psd", ".svg", ".ico", ".dng")
# Names that speak of a part without being one.
_LIKE_PART = re.compile(
    r"(train|val|valid|test|dev)(ing|idation)?[ ._-]?(set|data|images?|split|part)?s?", re.IGNORECASE
)
_PART_WORDS = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}


@dataclass(frozen=True)
class _Tree:
    """A folder as it was found.

    Args:
        names: files relative to it, in the order of the rows.
        classes: class of every row, by its place in ``class_names``.
        class_names: in label order.
        parts: 0 training, 1 validation, 2 test, by row; None if the folder has no such parts.
        links: rows that are links.
        ignored: files that are no images.
    """

    names: list[str]
    classes: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    parts: npt.NDArray[np.uint8] | None
    links: dict[int, Fault]
    ignored: list[str]


@sources.register("image_folder")
@dataclass(frozen=True)
class ImageFolder:
    """Images whose folder is their class, as torchvision's ImageFolder reads them; also with parts above the classes.

    Differs from it in: folders ``train``, ``validation`` (``val``) and ``test`` are the split; hidden files are passed
    over; links to files are faults, links to folders are refused; files that are no whole images are named together.

    Args:
        folder: with a folder a class, or with ``train`` and others that hold them.
        image_size: pixels a side.
        fit: what is done with images of another size, see ``image_files.read_image_files``.
        damaged: "error" or "skip", for files that cannot be read.
        name: name of the data set.
        license: SPDX expression.
        homepage: where it is described.
        classes: class folders in the order of the teacher's outputs; empty sorts them by name.
        channels: 1 or 3.
    """

    folder: str
    image_size: int = 64
    fit: str = "crop"
    damaged: Damaged = "error"
    name: str = "own"
    license: str = "NOASSERTION"
    homepage: str = ""
    classes: tuple[str, ...] = field(default=())
    channels: int = 3

    @property
    def label_space(self) -> LabelSpace:
        """A class a folder.

        Raises:
            DataError: if the folder is not laid out so.
        """
        return make_space(self._tree.class_names, (), np.zeros((0, 0)), f"image_folder: {self.folder}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """The options and the digest of all files with their names.

        Raises:
            DataError: if the folder is missing or not laid out so.
        """
        tree = self._tree
        return {
            "name": self.name,
            "kind": "image_folder",
            "image_shape": list(self.image_shape),
            "fit": self.fit,
            "damaged": self.damaged,
            "license": self.license,
            "homepage": self.homepage,
            "classes": list(tree.class_names),
            "sha256": self._pictures.digest(tree.classes, self._parts),
        }

    def labels(self) -> npt.NDArray[np.int64]:
        """The classes, int64 (N,).

        Raises:
            DataError: as ``identity``.
        """
        return self._tree.classes[self._pictures.kept]

    def pool(self) -> npt.NDArray[np.uint8]:
        """By the folders train, validation and test; 0 without them. Shape (N,)."""
        kept = self._pictures.kept
        return make_pool(None if self._tree.parts is None else self._tree.parts[kept], len(kept))

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The images of ``rows``, in that order, shape (n, C, H, W).

        Raises:
            UnreadableImages: naming all of them that cannot be read.
            DataError: if a row lies outside the data set.
        """
        return self._pictures.read(rows)

    def row_names(self, rows: npt.NDArray[np.integer]) -> list[str]:
        """What a person finds rows by: files relative to the folder."""
        return self._pictures.names_of(rows)

    def skipped(self) -> tuple[Fault, ...]:
        """Files that are left out by choice; reads them all."""
        return self._pictures.skipped()

    def notes(self) -> tuple[str, ...]:
        """What was overlooked, and where the order of the classes may surprise."""
        tree = self._tree
        told = []
        if tree.ignored:
            files = (
                "1 file is no image and is" if len(tree.ignored) == 1 else f"{len(tree.ignored)} files are no images"
            )
            told.append(
                f"{self.folder}: {files}{'' if len(tree.ignored) == 1 else ' and'} ignored: {some(tree.ignored)}."
            )
        numeric = order_classes(tree.class_names, (), self.folder, numerically=True)
        if numeric == tree.class_names:
            told += order_note(tree.class_names, self.classes, self.folder)
        elif not self.classes:
            told.append(
                f"{self.folder}: classes are ordered as text ({some(tree.class_names)}), as torchvision's ImageFolder "
                "does; set source.classes if the teacher has another order."
            )
        if tree.parts is not None:
            for part in (VALIDATION, TEST):
                if not (tree.parts == part).any():
                    told.append(f"{self.folder}: has no {_PART_WORDS[part]} folder; these images are taken from train.")
        return tuple(told)

    @property
    def _parts(self) -> npt.NDArray[np.uint8]:
        parts = self._tree.parts
        return np.zeros(0, np.uint8) if parts is None else parts

    @cached_property
    def _tree(self) -> _Tree:
        return _find(open_root("image_folder", self.folder), self.classes)

    @cached_property
    def _pictures(self) -> Pictures:
        root = Path(self.folder).expanduser()
        where = f"image_folder: {self.folder}"
        tree = self._tree
        return Pictures(where, root, tree.names, tree.links, self.image_shape, self.fit, self.damaged)


def _find(root: Path, given: tuple[str, ...]) -> _Tree:
    """Looks a folder through; opens no file."""
    inside, loose = _look(root)
    # A folder that the options call a class is none of a part: trains may be a class beside cars.
    named = {plain(name) for name in given}
    split = {
        PART_NAMES[name.casefold()]: name
        for name in inside
        if name.casefold() in PART_NAMES and plain(name) not in named
    }
    parted = TRAIN in split
    if not parted:
        _check_classes(root, [name for name in inside if plain(name) not in named])
    tops: list[tuple[int, str]] = [(part, split[part]) for part in sorted(split)] if parted else [(TRAIN, "")]
    if parted:
        _check_parts(root, inside, loose, split)
    names: list[str] = []
    labels: list[str] = []
    parts: list[int] = []
    links: dict[int, Fault] = {}
    ignored: list[str] = []
    empty: list[str] = []
    for part, top in tops:
        folders, files = _look(root / top) if top else (inside, loose)
        if stray := [name for name in files if _like_image(name)]:
            raise DataError(
                f"image_folder: images must lie in a folder a class, but {len(stray):,} lie directly in {root / top}: "
                f"{some(stray)}; move them into class folders, or use kind image_table with a CSV of labels."
            )
        ignored += [f"{top}/{name}" if top else name for name in files]
        for folder in folders:
            before = len(names)
            for file, link in _walk(root, f"{top}/{folder}" if top else folder):
                if not _like_image(file):
                    ignored.append(file)
                    continue
                if link:
                    links[len(names)] = Fault(file, "a link, which is not followed")
                names.append(file)
                labels.append(plain(folder))
                parts.append(part)
            if len(names) == before:
                empty.append(f"{top}/{folder}" if top else folder)
    if empty:
        raise DataError(
            f"image_folder: each class folder of {root} must hold images, but {some(empty)} "
            f"{'holds' if len(empty) == 1 else 'hold'} none; add images, or remove the folder."
        )
    class_names = order_classes(labels, given, f"image_folder: {root}", numerically=False)
    if len(class_names) < 2:
        raise DataError(
            f"image_folder: {root} must hold at least 2 class folders, got {len(class_names)}"
            f"{f' ({class_names[0]})' if class_names else ''}; make a folder a class, with its images in it."
        )
    places = {name: place for place, name in enumerate(class_names)}
    classes = np.array([places[label] for label in labels], np.int64)
    numbers = np.array(parts, np.uint8)
    untrained = sorted(set(range(len(class_names))) - set(classes[numbers == TRAIN].tolist()))
    if untrained:
        raise DataError(
            f"image_folder: each class must have images in {root / split.get(TRAIN, '')}, but "
            f"{some([class_names[place] for place in untrained])} has none there; add images, or remove its folders."
        )
    return _Tree(names, classes, class_names, numbers if parted else None, links, sorted(ignored))


def _check_classes(root: Path, unnamed: list[str]) -> None:
    """Refuses folders that would become classes, but are parts, or hold the classes."""
    if parts := [name for name in unnamed if _LIKE_PART.fullmatch(name)]:
        raise DataError(
            f"image_folder: {root} must have a folder train beside {some(parts)}, which by its name is no class; call "
            "the folders of the parts train, validation and test, or, if they are classes, name all classes in "
            "source.classes."
        )
    within = [_look(root / name) for name in unnamed]
    folders = within[0][0] if within else []
    if len(within) > 1 and len(folders) > 1 and all(found == (folders, []) for found in within):
        raise DataError(
            f"image_folder: each folder of {root} must be a class, but {some(unnamed)} all hold the same folders "
            f"{some(folders)}; if those are the classes, call the parts train, validation and test, or join them."
        )


def _check_parts(root: Path, inside: list[str], loose: list[str], split: dict[int, str]) -> None:
    known = [name for name in inside if name.casefold() in PART_NAMES]
    if len(known) != len(split):
        raise DataError(
            f"image_folder: {root} must have one folder a part, got {', '.join(known)}; join those of one part."
        )
    if others := [name for name in inside if name not in known]:
        raise DataError(
            f"image_folder: beside train, {root} must hold only validation (or val) and test, got {some(others)}; "
            "move the others away, or into train if they are classes; if train is a class, name all in source.classes."
        )
    if stray := [name for name in loose if _like_image(name)]:
        raise DataError(
            f"image_folder: images must lie in a class folder of train, validation or test, but {len(stray):,} lie "
            f"directly in {root}: {some(stray)}; move them."
        )


def _like_image(name: str) -> bool:
    return name.lower().endswith(_READ + _NOT_READ)


def _look(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in a folder, sorted, without hidden ones.

    Raises:
        DataError: if one is a link to a folder.
    """
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                _check_no_folder_link(entry)
                (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    return sorted(folders), sorted(files)


def _check_no_folder_link(entry: os.DirEntry[str]) -> None:
    # Passed over, it would take a class or a whole part away.
    if entry.is_symlink() and entry.is_dir():
        raise DataError(
            f"image_folder: {entry.path} must be a folder, got a link to one, which is not followed; put the folder "
            "itself there, or remove the link."
        )


def _walk(root: Path, folder: str) -> Iterator[tuple[str, bool]]:
    """All files below a folder, by name relative to the root, and whether each is a link; hidden ones left out."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        folders: list[str] = []
        files: list[tuple[str, bool]] = []
        with os.scandir(root / here) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                _check_no_folder_link(entry)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{here}/{entry.name}")
                else:
                    files.append((f"{here}/{entry.name}", not entry.is_file(follow_symlinks=False)))
        yield from sorted(files)
        waiting += sorted(folders, reverse=True)
