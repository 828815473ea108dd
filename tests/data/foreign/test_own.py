"""Sets of our own format from elsewhere: taken with their seeds and license, refused where they do not fit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from data.errors import DataError
from data.foreign import open_foreign
from data.labels import LabelSpace
from data.writing import write_set

CLASSES = LabelSpace("class", names=("cat", "dog", "bird"))
YAW = LabelSpace("scalar", name="yaw", unit="degree", maximum=90)
SHAPE = (1, 3, 4)


def write(path, kind, *, space=CLASSES, **changes):
    rows = 20
    rng = np.random.default_rng(0)
    labels = (rng.integers(0, 3, rows) if space.kind == "class" else rng.uniform(0, 90, rows)).astype(space.dtype)
    columns = {
        "samples": {"labels": labels, "seed": rng.integers(0, 2**63, rows).astype(np.uint64)},
        "real": {"labels": labels, "split": np.arange(rows, dtype=np.uint8) % 3, "source_row": np.arange(rows)},
        "examples": {
            "condition": labels,
            "seed": np.arange(rows, dtype=np.uint64),
            "density_ratio": np.ones(rows, np.float32),
            "accepted": np.ones(rows, np.uint8),
        },
    }[kind]
    columns = {**columns, "images": rng.integers(0, 256, (rows, *SHAPE), dtype=np.uint8), **changes}
    write_set(path, columns, kind=kind, label_space=space, provenance={}, license="CC-BY-4.0")
    return columns


def test_samples_are_taken_with_seeds_and_license(tmp_path):
    columns = write(tmp_path / "x.h5", "samples")
    found = open_foreign(tmp_path / "x.h5", CLASSES, SHAPE)
    assert (found.layout, found.license, len(found)) == ("stillhouse", "CC-BY-4.0", 20)
    assert np.array_equal(found.labels, columns["labels"])
    assert np.array_equal(found.seeds, columns["seed"])
    assert np.array_equal(found.read(3, 8), columns["images"][3:8])


def test_conditions_stand_for_labels_and_test_rows_stay_unseen(tmp_path):
    columns = write(tmp_path / "examples.h5", "examples")
    assert np.array_equal(open_foreign(tmp_path / "examples.h5", CLASSES, SHAPE).labels, columns["condition"])
    columns = write(tmp_path / "real.h5", "real")
    found = open_foreign(tmp_path / "real.h5", CLASSES, SHAPE)
    assert found.seeds.tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert np.array_equal(found.labels, columns["labels"][::3])
    assert np.array_equal(found.read(1, 3), columns["images"][3:7:3])


def test_ranges_may_differ_as_long_as_labels_lie_within(tmp_path):
    write(tmp_path / "x.h5", "samples", space=YAW)
    assert len(open_foreign(tmp_path / "x.h5", replace(YAW, maximum=180), SHAPE)) == 20
    with pytest.raises(DataError, match="yaw must lie between 0 degree and 40 degree"):
        open_foreign(tmp_path / "x.h5", replace(YAW, maximum=40), SHAPE)
    with pytest.raises(DataError, match="the label space must be that of the source"):
        open_foreign(tmp_path / "x.h5", replace(YAW, unit="radian"), SHAPE)


def test_other_spaces_shapes_and_kinds_and_damage_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    write(path, "samples")
    with pytest.raises(DataError, match="the label space must be that of the source"):
        open_foreign(path, LabelSpace("class", names=("cat", "dog")), SHAPE)
    with pytest.raises(DataError, match=r"images must have the shape \(3, 3, 4\), got \(1, 3, 4\)"):
        open_foreign(path, CLASSES, (3, 3, 4))
    with h5py.File(path) as file:
        offset = file["images"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"images rows 0\.\.19 is damaged"):
        open_foreign(path, CLASSES, SHAPE)
    outputs = {"teacher_outputs": np.zeros((2, 3), np.float32), "source_row": np.arange(2)}
    write_set(path, outputs, kind="answers", label_space=CLASSES, provenance={}, license="CC-BY-4.0")
    with pytest.raises(DataError, match="must hold images with labels, got a set of kind 'answers'"):
        open_foreign(path, CLASSES, SHAPE)


def test_identity_needs_nothing_heavy(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\nlabels.csv,0\n")
    code = (
        "import sys, data.foreign as f; "
        f"f.foreign_identity({str(tmp_path)!r}), f.foreign_identity({str(tmp_path / 'labels.csv')!r}); "
        "sys.exit(' '.join({'h5py', 'PIL', 'torch'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"stillhouse", "S10"),
        (b"stillhouse", "S16"),
        (b"stillhouse", "S60"),
        (b"stillhouse 2", "S12"),
        (b"Stillhouse", "S10"),
        (b"stillhouse", h5py.string_dtype("utf-8", 11)),
        ("stillhouse", h5py.string_dtype()),
        (b"another", "S7"),
        (None, None),
    ],
)
def test_no_way_of_writing_the_format_leads_past_the_digests(tmp_path, value, kind):
    path = tmp_path / "x.h5"
    write(path, "real", split=np.repeat(np.uint8([0, 1, 2]), [1, 9, 10]))
    with h5py.File(path, "a") as file:
        # What another reader would take instead.
        file["fake_images"], file["fake_labels"] = file["images"], file["labels"]
        del file.attrs["format"]
        if value is not None:
            file.attrs.create("format", value, dtype=kind)
    with pytest.raises(DataError, match=r"attribute format|is not part of the format"):
        open_foreign(path, CLASSES, SHAPE)


def test_a_format_padded_with_nul_is_still_verified(tmp_path):
    path = tmp_path / "x.h5"
    write(path, "real")
    with h5py.File(path, "a") as file:
        del file.attrs["format"]
        file.attrs.create("format", b"stillhouse", dtype="S16")
        place = file["images"].id.get_offset()
    found = open_foreign(path, CLASSES, SHAPE)
    # The training rows, with what the set says of itself.
    assert (found.layout, found.license, len(found)) == ("stillhouse", "CC-BY-4.0", 7)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"images rows 0\.\.19 is damaged"):
        open_foreign(path, CLASSES, SHAPE)
