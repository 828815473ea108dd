"""What a person, or the store that a set was made in, can say of a set beyond what its file holds."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from data.errors import ConfigError
from data.reading import ImageSet

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")

#: What the rows of a set of each kind are.
ROWS = {
    "real": "real images",
    "answers": "teacher answers",
    "candidates": "candidate images",
    "draws": "generator draws",
    "examples": "example images",
    "groups": "comparative groups",
    "mixes": "recipe of mixed images",
    "mixed": "mixed images",
    "samples": "generated images",
    "synthetic": "synthetic images",
}
# What sets without images of their own are of.
_ABOUT_OTHERS = {
    "answers": "answers of a teacher network about the rows of another set",
    "groups": "comparisons between rows of another set",
    "mixes": "mixes of two rows of another set each, as row numbers",
}
# How people write the names of sources.
_SHOWN = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny_imagenet": "Tiny ImageNet",
    "imagenet100": "ImageNet-100",
    "rc49": "RC-49",
    "utkface": "UTKFace",
    "steering_angle": "Steering Angle",
    "cell200": "Cell-200",
}


@dataclass(frozen=True)
class Step:
    """One step of how a set was made, with what is known of it.

    Args:
        title: what was done ("generator").
        facts: texts by name, in the order in which they are told.
    """

    title: str
    facts: dict[str, str]


@dataclass(frozen=True)
class About:
    """What is told of a set; the fields are those that DataCite asks for, where a set has them.

    Args:
        title: name of the set; empty makes one of its source and kind.
        creators: persons or organisations that made it.
        version: of the set, as Semantic Versioning has it.
        publisher: who publishes it; empty says nothing.
        published: day of publication, YYYY-MM-DD; empty says nothing, as no clock is asked.
        url: page of the set; empty says nothing.
        description: a sentence or two; empty makes one.
        source: name of the real images behind the set; empty takes what its provenance tells.
        history: steps that it was made in, first to last, as far as they are known.

    Raises:
        ConfigError: if version, day or address is none.
    """

    title: str = ""
    creators: tuple[str, ...] = ()
    version: str = "1.0.0"
    publisher: str = ""
    published: str = ""
    url: str = ""
    description: str = ""
    source: str = ""
    history: tuple[Step, ...] = field(default=())

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise ConfigError(f"version must be MAJOR.MINOR.PATCH, such as 1.0.0, got '{self.version}'.")
        if self.published:
            try:
                day = datetime.date.fromisoformat(self.published).isoformat()
            except ValueError:
                day = ""
            # It takes other forms, too, of which the first four digits are no year.
            if day != self.published:
                raise ConfigError(f"published must be a day as YYYY-MM-DD, got '{self.published}'.")
        if self.url and (
            urlsplit(self.url).scheme not in ("http", "https") or any(sign.isspace() for sign in self.url)
        ):
            raise ConfigError(f"url must be an address that begins with https://, got '{self.url}'.")
        if not all(creator.strip() for creator in self.creators):
            raise ConfigError("creators must be names of persons or organisations, got an empty one.")


def source_of(found: ImageSet, about: About) -> str:
    """Name of the real images behind a set, or nothing where it is not known."""
    told: Any = found.provenance.get("source")
    name = told.get("name", "") if isinstance(told, dict) else ""
    return about.source or str(name)


def shown_source(found: ImageSet, about: About) -> str:
    """Name of the real images as people write it."""
    name = source_of(found, about)
    return _SHOWN.get(name, name)


def title_of(found: ImageSet, about: About) -> str:
    """Name of a set: the one that a person gave, or what its rows are and of which source."""
    if about.title:
        return about.title
    rows = ROWS.get(found.kind, found.kind)
    source = shown_source(found, about)
    return f"{source}: {rows}" if source else rows[:1].upper() + rows[1:]


def description_of(found: ImageSet, about: About) -> str:
    """A sentence that says what a set is."""
    if about.description:
        return about.description
    space = found.label_space
    labels = {
        "class": f"one of {space.classes} classes",
        "scalar": f"a value ({space.name})",
        "vector": f"{len(space.dimensions)} values ({', '.join(axis.name for axis in space.dimensions)})",
        "class+scalar": f"one of {space.classes} classes and a value ({space.name})",
    }[space.kind]
    what = f"{len(found):,} {ROWS.get(found.kind, found.kind)}"
    if "images" in found.columns:
        channels, height, width = found.columns["images"].shape[1:]
        what += f", {height} x {width} pixels, {channels} channel{'s' * (channels > 1)}"
    labelled = f"each labelled by {labels}"
    if found.kind in ("answers", "groups", "mixes"):
        what = f"{len(found):,} {_ABOUT_OTHERS[found.kind]}"
        labelled = f"whose images are each labelled by {labels}"
    elif found.kind == "mixed":
        labelled = f"each mixed of two images and labelled by both their labels in their shares, {labels} each"
    elif found.kind == "draws":
        labelled = f"each asked for by a label: {labels}"
    source = shown_source(found, about)
    of = {
        "real": f"from the data set {source}",
        "candidates": f"drawn from a generator that was trained on the data set {source}",
        "draws": f"of a generator that was trained on the data set {source}",
        "synthetic": f"made by a generator that was trained on the data set {source} and kept by a teacher network",
        "samples": f"made by a generator that was trained on the data set {source}",
    }.get(found.kind, f"made from the data set {source}")
    return f"{what}, {labelled}" + (f", {of}." if source else ".")
