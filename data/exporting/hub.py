"""The YAML header of a README on the Hugging Face hub, from which ``datasets`` knows files, features and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.exporting.about import About, title_of
from data.exporting.licenses import hub_license
from data.reading import ImageSet

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
)


@dataclass(frozen=True)
class Split:
    """The files of a split.

    Args:
        name: train, validation or test.
        rows: number of rows.
        size: bytes of the rows in memory.
        stored: bytes of the files.
        files: their names, in order.
    """

    name: str
    rows: int
    size: int
    stored: int
    files: tuple[str, ...]


def hub_header(found: ImageSet, about: About, features: Mapping[str, Any], splits: Sequence[Split]) -> str:
    """The header, between two lines of ``---``.

    Args:
        found: the set.
        about: what is told of it beyond its file.
        features: as in the schema of the Parquet files.
        splits: what was written.
    """
    import yaml

    synthetic = found.kind not in ("real",)
    value = {
        **hub_license(found.license),
        "pretty_name": title_of(found, about),
        "size_categories": [next((name for most, name in _SIZES if len(found) < most), "100M<n<1B")],
        **({"task_categories": ["image-classification"]} if found.label_space.has_classes else {}),
        "tags": ["image", "stillhouse", *(["synthetic"] if synthetic else [])],
        "dataset_info": {
            "features": [{"name": name, **_feature(feature)} for name, feature in features.items()],
            "splits": [{"name": each.name, "num_bytes": each.size, "num_examples": each.rows} for each in splits],
            "download_size": sum(each.stored for each in splits),
            "dataset_size": sum(each.size for each in splits),
        },
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": each.name, "path": f"data/{each.name}-*"} for each in splits],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)}---\n\n"


def _feature(feature: Mapping[str, Any]) -> dict[str, Any]:
    """A feature in the short form that the header has for it."""
    kind = feature["_type"]
    if kind == "Image":
        return {"dtype": "image"}
    if kind == "ClassLabel":
        return {
            "dtype": {"class_label": {"names": {str(number): name for number, name in enumerate(feature["names"])}}}
        }
    if kind == "Sequence":
        return {"sequence": feature["feature"]["dtype"]}
    return {"dtype": feature["dtype"]}
