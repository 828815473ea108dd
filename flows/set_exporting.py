"""The commands ``data export`` and ``data card``: a set in forms that other programs read, and told to strangers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import ConfigError, DataError
from flows.inspection import only_set

if TYPE_CHECKING:
    from data.exporting.about import About
    from data.reading import ImageSet

SET_FORMATS = ("fake-h5", "image-folder", "parquet", "webdataset")


def export_set_command(file: Path, format_name: str, out: Path, *, as_json: bool = False) -> None:
    """Writes a set in a layout of other programs: a file for fake-h5, a folder for the others.

    Args:
        file: the set, or the folder of an artifact with one.
        format_name: of ``SET_FORMATS``.
        out: the file or folder to make; must not exist.
        as_json: whether one JSON object is printed instead of a sentence.

    Raises:
        ConfigError: if the format is unknown, ``out`` exists, or a package is missing.
        DataError: if the file is no whole, undamaged set of labelled images, or the other cannot be written.
    """
    if format_name not in SET_FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(SET_FORMATS)}, got '{format_name}'.")
    from data.exporting.folders import check_absent
    from data.untrusted import open_untrusted

    check_absent(out)
    # Damage would get digests of its own, and be whole from then on.
    found = open_untrusted(only_set(file), verify=True)
    _writer(format_name)(found, out)
    if as_json:
        print(json.dumps({"out": str(out), "format": format_name, "images": len(found)}))
    else:
        print(f"{out}: {format_name}, {len(found):,} images")


def card_command(
    file: Path,
    out: Path,
    *,
    as_json: bool = False,
    title: str = "",
    creators: Sequence[str] = (),
    version: str = "1.0.0",
    publisher: str = "",
    published: str = "",
    url: str = "",
    description: str = "",
    with_set: bool = False,
) -> None:
    """Writes the card of a set as a folder: Markdown with pictures, and Croissant JSON-LD.

    Args:
        file: the set, or the folder of an artifact with one.
        out: the folder to make; must not exist.
        as_json: whether one JSON object is printed instead of a sentence.
        title: see ``data.exporting.about.About``, as are the following.
        creators: who made the set.
        version: of the set.
        publisher: who publishes it.
        published: day of publication, YYYY-MM-DD.
        url: page of the set.
        description: a sentence or two.
        with_set: whether the set is copied into the folder.

    Raises:
        ConfigError: if ``out`` exists, or one of the options has no such form.
        DataError: if the file is no whole, undamaged set, or the card cannot be written.
    """
    from data.exporting.about import About
    from data.exporting.card import write_card
    from data.exporting.folders import check_absent
    from data.untrusted import open_untrusted

    about = About(
        title=title,
        creators=tuple(creators),
        version=version,
        publisher=publisher,
        published=published,
        url=url,
        description=description,
    )
    check_absent(out)
    # A card tells the digest of the content, so the content must have it.
    found = open_untrusted(only_set(file), verify=True)
    write_card(found, out, _with_history(about, found), with_set=with_set)
    if as_json:
        print(json.dumps({"out": str(out), "files": sorted(path.name for path in out.iterdir())}))
    else:
        print(f"{out}: card of {len(found):,} rows")


def _writer(format_name: str) -> Callable[[ImageSet, Path], None]:
    from data.exporting.about import About
    from data.exporting.image_folder import export_image_folder
    from data.exporting.parquet import export_parquet
    from data.exporting.webdataset import export_webdataset

    writers = {"image-folder": export_image_folder, "parquet": export_parquet, "webdataset": export_webdataset}
    if format_name == "fake-h5":
        return _write_fake_h5
    write = writers[format_name]
    return lambda found, out: write(found, out, _with_history(About(), found))


def _with_history(about: About, found: ImageSet) -> About:
    from flows.set_history import history_of

    source, history = history_of(found.path)
    return replace(about, source=source, history=history)


def _write_fake_h5(found: ImageSet, out: Path) -> None:
    from data.foreign.fake_h5 import write_fake_h5

    missing = [name for name in ("images", "labels", "seed") if name not in found.columns]
    if missing:
        raise DataError(
            f"{found.path}: must be a set of generated images, got kind '{found.kind}' without {missing[0]}."
        )
    images, labels, seeds = (found.columns[name] for name in ("images", "labels", "seed"))
    channels, height, width = images.shape[1:]
    write_fake_h5(out, lambda start, stop: images[start:stop], labels, seeds, (channels, height, width))
