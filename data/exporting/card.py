"""A card beside a set: Markdown with pictures for people, Croissant JSON-LD for machines."""

from __future__ import annotations

import shutil
from pathlib import Path

from data.errors import ConfigError
from data.exporting.about import About
from data.exporting.card_text import card_text
from data.exporting.croissant import FILE, croissant, file_object
from data.exporting.folders import new_folder
from data.exporting.loading import load_set
from data.exporting.pictures import DISTRIBUTIONS, EXAMPLES, write_distributions, write_examples
from data.reading import ImageSet

README = "README.md"


def write_card(found: ImageSet, out: Path, about: About | None = None, *, with_set: bool = False) -> None:
    """Writes ``README.md``, ``croissant.json`` and pictures: what a stranger, or a search engine, needs of a set.

    The card names the set's file as one beside it.

    Args:
        found: any set.
        out: the folder to make; must not exist.
        about: what only a person, or the store that the set was made in, can say; None says no more than the file.
        with_set: whether the set is copied into the folder, so that it can be handed on as it is.

    Raises:
        ConfigError: if ``out`` exists, or the set has the name of a file of the card.
        DataError: if something cannot be written.
    """
    about = about or About()
    name = found.path.name
    # On some disks upper and lower case are one.
    if name.casefold() in {each.casefold() for each in (README, FILE, EXAMPLES, DISTRIBUTIONS)}:
        raise ConfigError(
            f"{found.path}: a card must name a set beside itself, got one called as its own {name}; rename it."
        )
    with new_folder(out) as folder:
        pictures = []
        if "images" in found.columns and len(found) and found.columns["images"].shape[1] in (1, 3):
            pictures.append((EXAMPLES, write_examples(found, folder / EXAMPLES)))
        if words := write_distributions(found, folder / DISTRIBUTIONS):
            pictures.append((DISTRIBUTIONS, words))
        text = card_text(found, about, load_set(found, name), pictures)
        (folder / README).write_text(text, encoding="utf-8")
        if with_set:
            shutil.copyfile(found.path, folder / name)
        file = file_object(found.path, name, "application/x-hdf5", f"The set, {len(found):,} rows")
        (folder / FILE).write_text(croissant(found, about, [file]), encoding="utf-8")
