"""What is exported comes back through our own sources: every pixel, label and split."""

from __future__ import annotations

import numpy as np
import pytest

from data.exporting.image_folder import export_image_folder
from data.exporting.parquet import export_parquet
from data.exporting.rows import SPLITS
from data.sources import TEST_POOL, TRAINING_POOL, VALIDATION_POOL, sources

ROWS, POOLS = 60, (TRAINING_POOL, VALIDATION_POOL, TEST_POOL)


@pytest.fixture
def make_square(make_set):
    """A real set of square images, with some rows of each class in the training rows."""

    def make(space, channels):
        images = np.random.default_rng(3).integers(0, 256, (ROWS, channels, 6, 6), dtype=np.uint8)
        return make_set(space, "real", rows=ROWS, columns={"images": images})

    return make


def options(found, class_column, channels):
    """Options that describe the exported labels, for a source."""
    space = found.label_space
    values = [
        {"column": axis.name, "unit": axis.unit, "minimum": axis.minimum, "maximum": axis.maximum}
        for axis in space.dimensions
    ]
    classes = {"class_column": class_column, "classes": space.names} if space.has_classes else {}
    return {"values": tuple(values), "image_size": 6, "channels": channels, "fit": "exact", **classes}


def check(found, source, order):
    """Compares a source with the set; ``order`` tells the set's row of each of the source's."""
    assert sorted(order.tolist()) == list(range(ROWS))
    assert source.label_space.to_dict() == found.label_space.to_dict()
    assert np.array_equal(source.labels(), found.columns["labels"][order])
    assert np.array_equal(source.images(np.arange(ROWS)), found.columns["images"][order])
    assert np.array_equal(source.pool(), np.array(POOLS)[found.columns["split"][order]])


def by_split(found):
    return np.argsort(found.columns["split"], kind="stable")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_comes_back_by_its_table(make_square, label_space, tmp_path, channels):
    found = make_square(label_space, channels)
    export_image_folder(found, tmp_path / "out")
    described = options(found, "class_name", channels)
    source = sources.get("image_table")(folder=str(tmp_path / "out"), split_column="split", **described)
    check(found, source, by_split(found))


@pytest.mark.parametrize("channels", [1, 3])
def test_parquet_files_come_back(make_square, label_space, tmp_path, channels):
    found = make_square(label_space, channels)
    export_parquet(found, tmp_path / "out")
    described = options(found, "label" if label_space.kind == "class" else "class", channels)
    source = sources.get("parquet")(path=str(tmp_path / "out"), **described)
    # Its rows are those of the files by their names' order.
    parts = [np.flatnonzero(found.columns["split"] == SPLITS.index(name)) for name in ("train", "validation", "test")]
    check(found, source, np.concatenate(parts))


@pytest.mark.parametrize("channels", [1, 3])
def test_class_folders_come_back_by_their_names(make_square, class_space, tmp_path, channels):
    found = make_square(class_space, channels)
    export_image_folder(found, tmp_path / "out")
    folder = str(tmp_path / "out")
    described = {"image_size": 6, "channels": channels, "fit": "exact", "classes": class_space.names}
    source = sources.get("image_folder")(folder=folder, **described)
    keys = np.lexsort((np.arange(ROWS), np.argsort(np.argsort(class_space.names))[found.columns["labels"]]))
    order = keys[np.argsort(found.columns["split"][keys], kind="stable")]
    check(found, source, order)
    # Files that are no images, the table among them, are told of and passed over.
    assert all("labels.csv" not in fault.name for fault in source.skipped())
