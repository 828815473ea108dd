"""Exported tar files, opened by the ``webdataset`` library and the standard library."""

from __future__ import annotations

import gc
import io
import json
import tarfile
import warnings

import numpy as np
import pytest
import webdataset
from PIL import Image

from data.exporting.rows import SPLITS
from data.exporting.webdataset import export_webdataset
from data.labels import LabelSpace


def read(paths, *decoded):
    """All samples: as dicts of bytes, or tuples of what the library's own decoders make of the members named."""
    with warnings.catch_warnings():
        # The library leaves it to the collector to close its files.
        warnings.simplefilter("ignore", ResourceWarning)
        samples = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False, empty_check=False)
        found = list(samples.decode("rgb8").to_tuple(*decoded) if decoded else samples)
        del samples
        gc.collect(1)
    return found


@pytest.mark.parametrize(("kind", "channels"), [("real", 1), ("synthetic", 3)])
def test_webdataset_reads_every_pixel_and_value(make_set, label_space, tmp_path, channels, kind):
    found = make_set(label_space, kind, channels=channels)
    export_webdataset(found, tmp_path / "out")
    parts = found.columns["split"] if kind == "real" else np.zeros(len(found), np.uint8)
    for part in np.unique(parts):
        samples = read([tmp_path / "out" / f"{SPLITS[part]}-000000.tar"])
        rows = np.flatnonzero(parts == part).tolist()
        assert [int(sample["__key__"]) for sample in samples] == rows
        for row, sample in zip(rows, samples, strict=True):
            pixels = np.asarray(Image.open(io.BytesIO(sample["png"])))
            pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
            assert np.array_equal(pixels, found.columns["images"][row])
            told = json.loads(sample["json"])
            assert (told["row"], told["split"]) == (row, SPLITS[part])
            number = "label" if label_space.kind == "class" else "class"
            values = [told[number]] if label_space.has_classes else []
            values += [told[axis.name] for axis in label_space.dimensions]
            values = np.array(values if label_space.label_shape else values[0], label_space.dtype)
            assert np.array_equal(values, found.columns["labels"][row])
            assert ("cls" in sample) == label_space.has_classes
            if label_space.has_classes:
                assert int(sample["cls"]) == told[number]
                assert told["class_name"] == label_space.names[told[number]]
            for name in set(found.columns) - {"images", "labels", "split"}:
                assert np.array_equal(np.array(told[name], found.columns[name].dtype), found.columns[name][row])


def test_its_own_decoders_give_pixels_and_classes(make_set, class_space, tmp_path):
    found = make_set(class_space, channels=3)
    export_webdataset(found, tmp_path / "out")
    samples = read([tmp_path / "out" / "train-000000.tar"], "png", "cls")
    assert len(samples) == len(found)
    for row, (pixels, number) in enumerate(samples):
        assert np.array_equal(pixels.transpose(2, 0, 1), found.columns["images"][row])
        assert number == found.columns["labels"][row]


def test_shards_stay_below_their_bound_and_hold_all_in_order(make_set, class_space, tmp_path):
    found = make_set(class_space, rows=200, channels=1)
    bound = 10 * tarfile.RECORDSIZE
    export_webdataset(found, tmp_path / "out", shard_bytes=bound)
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert len(shards) >= 5
    assert [path.name for path in shards] == [f"train-{number:06d}.tar" for number in range(len(shards))]
    assert all(path.stat().st_size <= bound for path in shards)
    # All but the last are full: another sample of six blocks would not fit any more.
    assert all(path.stat().st_size > bound - 2 * tarfile.RECORDSIZE for path in shards[:-1])
    assert [int(sample["__key__"]) for sample in read(shards)] == list(range(200))
    export_webdataset(found, tmp_path / "one each", shard_bytes=1)
    assert len(list((tmp_path / "one each").glob("*.tar"))) == 200


def test_members_have_no_times_and_no_owners(make_set, class_space, tmp_path):
    found = make_set(class_space)
    for name in ("a", "b"):
        export_webdataset(found, tmp_path / name)
    first, second = ((tmp_path / name / "train-000000.tar").read_bytes() for name in ("a", "b"))
    assert first == second
    with tarfile.open(tmp_path / "a" / "train-000000.tar") as tar:
        members = tar.getmembers()
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname, each.mode) for each in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    assert [each.name for each in members[:3]] == ["00.png", "00.cls", "00.json"]


def test_a_value_may_be_called_label_and_seeds_are_texts(make_set, tmp_path):
    """As ``datasets`` reads them, whose JSON takes no whole number of 64 bits without a sign."""
    import datasets

    datasets.disable_progress_bars()
    seeds = np.arange(23, dtype=np.uint64) + np.uint64(2**63)
    found = make_set(LabelSpace("class+scalar", ("a", "b")), "samples", columns={"seed": seeds})
    assert found.label_space.name == "label"
    export_webdataset(found, tmp_path / "out")
    files = {"train": str(tmp_path / "out" / "train-000000.tar")}
    read = datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    for row, told in enumerate(read["json"]):
        assert (told["class"], np.float32(told["label"])) == tuple(found.columns["labels"][row])
        assert int(told["seed"]) == int(seeds[row])
