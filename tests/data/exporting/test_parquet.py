"""Exported Parquet files, opened by pyarrow, by ``datasets`` and by mlcroissant."""

from __future__ import annotations

import io
import json
import sys
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from data.errors import ConfigError
from data.exporting.about import About
from data.exporting.parquet import export_parquet
from data.exporting.rows import SPLITS
from data.labels import LabelSpace


def decoded(data):
    found = np.asarray(Image.open(io.BytesIO(data)))
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


def label_of(row, space):
    name = "label" if space.kind == "class" else "class"
    values = [row[name]] if space.has_classes else []
    values = values + [row[axis.name] for axis in space.dimensions]
    return np.array(values if space.label_shape else values[0], space.dtype)


def check_row(found, number, row):
    space = found.label_space
    assert np.array_equal(label_of(row, space), found.columns["labels"][number])
    for name in set(found.columns) - {"images", "labels", "split"}:
        assert np.array_equal(np.array(row[name], found.columns[name].dtype), found.columns[name][number]), name


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Opens a folder by ``datasets``, with no network and its cache here."""

    def load(*names, **options):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
        import datasets

        datasets.disable_progress_bars()
        return datasets.load_dataset(*names, cache_dir=str(tmp_path / "cache"), **options)

    return load


@pytest.mark.parametrize(("kind", "channels"), [("real", 3), ("synthetic", 1)])
def test_pyarrow_reads_every_pixel_and_value(make_set, label_space, tmp_path, channels, kind):
    found = make_set(label_space, kind, channels=channels)
    export_parquet(found, tmp_path / "out")
    parts = found.columns["split"] if kind == "real" else np.zeros(len(found), np.uint8)
    for part in np.unique(parts):
        table = pq.read_table(tmp_path / "out" / "data" / f"{SPLITS[part]}-00000-of-00001.parquet")
        rows = np.flatnonzero(parts == part)
        for number, row in zip(rows.tolist(), table.to_pylist(), strict=True):
            assert row["image"]["path"] == f"{number:02d}.png"
            assert np.array_equal(decoded(row["image"]["bytes"]), found.columns["images"][number])
            check_row(found, number, row)


def test_datasets_knows_images_and_classes(make_set, label_space, tmp_path, load):
    found = make_set(label_space, "real", columns={"seed": np.arange(23, dtype=np.uint64) + 2**63})
    export_parquet(found, tmp_path / "out")
    whole = load(str(tmp_path / "out"))
    plain = load("parquet", data_files={"train": str(tmp_path / "out" / "data" / "train-*")})
    counts = np.bincount(found.columns["split"], minlength=3)
    assert {name: len(part) for name, part in whole.items()} == dict(zip(SPLITS, counts.tolist(), strict=True))
    for images, number in ((whole["train"], 0), (whole["test"], 2), (plain["train"], 0)):
        features = images.features
        assert type(features["image"]).__name__ == "Image"
        if label_space.has_classes:
            names = features["label" if label_space.kind == "class" else "class"].names
            assert tuple(names) == label_space.names
        for axis in label_space.dimensions:
            assert features[axis.name].dtype == "float32"
        rows = np.flatnonzero(found.columns["split"] == number)
        for row, read in zip(rows.tolist(), images, strict=True):
            assert np.array_equal(np.asarray(read["image"]).transpose(2, 0, 1), found.columns["images"][row])
            check_row(found, row, read)


def test_long_sets_are_cut_into_files_and_row_groups(make_set, class_space, tmp_path, load):
    found = make_set(class_space, rows=3000, channels=1)
    export_parquet(found, tmp_path / "out", file_bytes=250_000)
    files = sorted((tmp_path / "out" / "data").iterdir())
    assert [path.name for path in files] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    groups = [pq.ParquetFile(path).metadata for path in files]
    sizes = [[meta.row_group(place).num_rows for place in range(meta.num_row_groups)] for meta in groups]
    assert sizes == [[1024, 1024], [952]]
    images = load(str(tmp_path / "out"), split="train")
    assert images["source_row"][:] == found.columns["source_row"].tolist()
    assert images["label"][:] == found.columns["labels"].tolist()


def test_large_images_come_in_smaller_row_groups(make_set, class_space, tmp_path, monkeypatch):
    monkeypatch.setattr("data.exporting.rows.BLOCK_BYTES", 3 * 5 * 4 * 10)
    found = make_set(class_space, channels=3)
    export_parquet(found, tmp_path / "out")
    meta = pq.ParquetFile(tmp_path / "out" / "data" / "train-00000-of-00001.parquet").metadata
    assert [meta.row_group(place).num_rows for place in range(meta.num_row_groups)] == [10, 10, 3]


def test_the_readme_tells_the_hub_what_is_there(make_set, class_space, tmp_path):
    found = make_set(class_space, "real", license="CC-BY-SA-4.0")
    export_parquet(found, tmp_path / "out", About(title="Pets: a set"))
    _, header, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["license"] == "cc-by-sa-4.0"
    assert told["pretty_name"] == "Pets: a set"
    assert told["size_categories"] == ["n<1K"]
    assert sum(split["num_examples"] for split in told["dataset_info"]["splits"]) == len(found)
    stored = sum(path.stat().st_size for path in (tmp_path / "out" / "data").iterdir())
    assert told["dataset_info"]["download_size"] == stored
    assert text.lstrip().startswith("# Pets: a set\n")


@pytest.mark.parametrize("channels", [1, 3])
def test_mlcroissant_reads_the_rows(make_set, open_croissant, label_space, tmp_path, channels):
    found = make_set(label_space, channels=channels)
    export_parquet(found, tmp_path / "out", About(published="2026-01-31"))
    dataset = open_croissant(tmp_path / "out" / "croissant.json")
    with warnings.catch_warnings():
        # It calls pandas in a way that pandas calls outdated.
        warnings.filterwarnings("ignore", "The inplace keyword")
        records = list(dataset.records("rows"))
    assert len(records) == len(found)
    for number, record in enumerate(records):
        row = {name.removeprefix("rows/").replace("_angle", " angle"): value for name, value in record.items()}
        assert row.pop("split") == b"train"
        picture = np.asarray(row.pop("image"))
        picture = picture[None] if channels == 1 else picture.transpose(2, 0, 1)
        assert np.array_equal(picture, found.columns["images"][number])
        check_row(found, number, row)


def test_names_that_become_one_identifier_stay_apart(make_set, tmp_path):
    space = LabelSpace("class+scalar", ("a", "b"), "density ratio")
    export_parquet(make_set(space), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "croissant.json").read_text())
    names = [field["@id"] for field in told["recordSet"][0]["field"]]
    assert "rows/density_ratio" in names
    assert "rows/density_ratio_2" in names
    assert len(set(names)) == len(names)


def test_equal_sets_give_equal_bytes(make_set, class_space, tmp_path):
    found = make_set(class_space)
    for name in ("a", "b"):
        export_parquet(found, tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(files) == 3
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_without_pyarrow_the_extra_is_named(make_set, class_space, tmp_path, monkeypatch):
    found = make_set(class_space)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'stillhouse\[export\]'"):
        export_parquet(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()
