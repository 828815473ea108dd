"""How a set is opened, in a few lines of Python, for each form that it is written in."""

from __future__ import annotations

import shlex

from data.exporting.rows import SPLITS, rows_by_split
from data.reading import ImageSet

# Columns that the code reads, of kinds that have other ones than images and labels.
_SHOWN = {
    "answers": ("teacher_outputs", "source_row"),
    "draws": ("condition", "seed"),
    "examples": ("images", "condition"),
    "groups": ("positive", "negative"),
    "mixes": ("first", "second"),
}


def load_set(found: ImageSet, file: str) -> str:
    """An HDF5 set: with h5py alone, and with this project."""
    quoted = f'"{file}"' if repr(file) == f"'{file}'" and '"' not in file else repr(file)
    command = f"stillhouse data verify {shlex.quote(file)}"
    command = f"`` {command} ``" if "`" in command else f"`{command}`"
    names = _SHOWN.get(found.kind, ("images", "labels"))
    assigned, taken = ", ".join(names), ", ".join(f'file["{name}"][:64]' for name in names)
    shapes = ", ".join(f"{found.columns[name].dtype.name} {('n', *found.columns[name].shape[1:])}" for name in names)
    return _both(
        f"""\
import h5py, json
with h5py.File({quoted}) as file:
    {assigned} = {taken}  # {shapes.replace("'", "")}
    label_space = json.loads(file.attrs["label_space"])
print(label_space)""",
        f"""\
import numpy as np
from data.reading import open_set
found = open_set({quoted})  # checked, then mapped: nothing is read yet
rows = np.arange(min(64, len(found)))
{assigned} = {", ".join(f'found.take("{name}", rows)' for name in names)}""",
        f"{command} compares every byte with the digests inside the file.",
    )


def load_image_folder(found: ImageSet) -> str:
    """A folder of PNG files with ``labels.csv``."""
    listing = """\
import csv
from PIL import Image
with open("labels.csv", encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
image = Image.open(rows[0]["file"])"""
    if not found.label_space.has_classes:
        return f"```python\n{listing}\n```"
    folder = f"""\
from torchvision.datasets import ImageFolder
images = ImageFolder("{_first_split(found)}")  # one folder a split
image, number = images[0]
print(images.classes[number])"""
    return _both(
        folder,
        listing,
        "`ImageFolder` numbers the classes by the order of their folders' names; `class` in `labels.csv` is the number "
        "that the set has.",
    )


def load_parquet(found: ImageSet) -> str:
    """A folder of Parquet files."""
    return _both(
        f"""\
from datasets import load_dataset
images = load_dataset("parquet", data_dir="data", split="{_first_split(found)}")  # or its name on the hub
print(images[0]["image"], images.features)""",
        """\
import io
import pyarrow.dataset as parquet
from PIL import Image
row = parquet.dataset("data").head(1).to_pylist()[0]
image = Image.open(io.BytesIO(row["image"]["bytes"]))""",
        "",
    )


def load_webdataset(found: ImageSet, shards: dict[str, int]) -> str:
    """A folder of tar files, of which there are so many a split."""
    split, count = next(iter(shards.items()), ("train", 1))
    name = f"{split}-{{000000..{count - 1:06d}}}.tar" if count > 1 else f"{split}-000000.tar"
    third, key = (', "cls"', ", number") if found.label_space.has_classes else ("", "")
    return f"""\
```python
import webdataset
samples = webdataset.WebDataset("{name}", shardshuffle=False).decode("pil").to_tuple("png", "json"{third})
image, row{key} = next(iter(samples))
```"""


def _first_split(found: ImageSet) -> str:
    return next(iter(rows_by_split(found)), SPLITS[0])


def _both(first: str, second: str, remark: str) -> str:
    return f"```python\n{first}\n```\n\nor\n\n```python\n{second}\n```" + (f"\n\n{remark}" if remark else "")
