"""A folder of PNG files: one folder a class within each split, or one for all; ``labels.csv`` tells everything else."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

from data.exporting.about import About
from data.exporting.card_text import card_text
from data.exporting.folders import new_folder
from data.exporting.loading import load_image_folder
from data.exporting.rows import blocks_of, fields_of, png_of, row_names, rows_by_split, texts
from data.foreign.listing import LISTING
from data.labels import LabelSpace
from data.reading import ImageSet

#: The folder of images whose labels have no class.
IMAGES = "images"

_UNSAFE = '/\\:*?"<>|%'
_MOST_BYTES = 120


def export_image_folder(found: ImageSet, out: Path, about: About | None = None) -> None:
    """Writes ``<split>/<class>/<row>.png``, or ``images/<row>.png`` for labels without a class, and ``labels.csv``.

    The CSV has a line an image, split by split and in the order of rows: ``file``, the label (``class`` by number and
    ``class_name``; a column a dimension, by its name), ``split``, and every other column of the set; numbers have as
    many digits as give the same number again. The folder of a class has its name, in which signs that a file name
    cannot have stand as %XX. torchvision's ImageFolder numbers classes by the order of these names, so take numbers
    from the CSV where that is not the order of the classes.

    Args:
        found: a set of grey or coloured images with labels.
        out: the folder to make; must not exist.
        about: what only a person can say of the set; None says no more than the set itself.

    Raises:
        ConfigError: if ``out`` exists.
        DataError: if the set holds no labelled images or no rows, or something cannot be written.
    """
    space = found.label_space
    fields = fields_of(found, "class", flat=True)
    folders = class_folders(space)
    names = [field.name for field in fields]
    # So many columns are the label's.
    number = len(space.dimensions)
    if space.has_classes:
        names.insert(1, "class_name")
        number += 2
    with new_folder(out) as folder, (folder / LISTING).open("w", encoding="utf-8", newline="") as file:
        listing = csv.writer(file, lineterminator="\n")
        listing.writerow(["file", *names[:number], "split", *names[number:]])
        for split, rows in rows_by_split(found).items():
            for name in [f"{split}/{each}" for each in folders] or [IMAGES]:
                (folder / name).mkdir(parents=True, exist_ok=True)
            for block in blocks_of(found, rows, fields):
                columns = [texts(block.values[field.name]) for field in fields]
                places = [IMAGES] * len(block.rows)
                if space.has_classes:
                    classes = block.values["class"].tolist()
                    places = [f"{split}/{folders[each]}" for each in classes]
                    columns.insert(1, [space.names[each] for each in classes])
                paths = [f"{place}/{row}.png" for place, row in zip(places, row_names(found, block.rows), strict=True)]
                for path, image in zip(paths, block.images, strict=True):
                    (folder / path).write_bytes(png_of(image))
                split_column = [split] * len(paths)
                listing.writerows(zip(paths, *columns[:number], split_column, *columns[number:], strict=True))
            _remove_empty(folder / split)
        text = card_text(found, about or About(), load_image_folder(found))
        (folder / "README.md").write_text(text, encoding="utf-8")


def class_folders(space: LabelSpace) -> list[str]:
    """A name of a folder for each class, distinct also where upper and lower case are one; none without classes."""
    names = [_safe(name) for name in space.names]
    if len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names):
        return names
    digits = len(str(len(names) - 1))
    return [f"{number:0{digits}d} {name}" for number, name in enumerate(names)]


def _safe(name: str) -> str:
    """The name with %XX in the place of what some file system does not take, and not too long."""
    last = len(name) - 1
    signs = []
    for place, sign in enumerate(name):
        edge = (sign == "." and place in (0, last)) or (sign == " " and place in (0, last))
        plain = sign.isprintable() and sign not in _UNSAFE and not edge
        signs.append(sign if plain else "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass")))
    safe = ""
    for sign in signs:
        if len((safe + sign).encode()) > _MOST_BYTES:
            break
        safe += sign
    return safe or "%"


def _remove_empty(folder: Path) -> None:
    """Removes the folders of classes without images: readers take them for a fault."""
    for each in folder.iterdir() if folder.is_dir() else ():
        if not any(each.iterdir()):
            each.rmdir()
