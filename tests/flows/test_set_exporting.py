"""The commands data export and data card: what they write, say and refuse, and the history they find in a store."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.store import MANIFEST
from data.writing import write_set
from flows.set_exporting import SET_FORMATS, card_command, export_set_command
from flows.set_history import history_of

SPACE = LabelSpace("class", ("cat", "dog"))
PREPARED, MADE, DRAWN, KEPT = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)


def write(path, kind="samples", **extra):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    columns = {
        "images": rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8),
        "labels": rng.integers(0, 2, 12),
        "seed": np.arange(12, dtype=np.uint64),
    }
    columns |= extra
    write_set(path, columns, kind=kind, label_space=SPACE, license="MIT", provenance={})
    return path


def manifest(store, stage, fingerprint, config, inputs, metrics):
    folder = store / stage / fingerprint
    folder.mkdir(parents=True)
    told = {"stage": stage, "fingerprint": fingerprint, "config": config, "inputs": inputs, "metrics": metrics}
    (folder / MANIFEST).write_text(json.dumps(told | {"packages": {"stillhouse": "0.1.0"}}))
    return folder


@pytest.fixture
def store(tmp_path):
    """Manifests of a run, with a set in its candidates."""
    place = tmp_path / "store"
    manifest(place, "prepare", PREPARED, {"source": {"name": "digits"}, "prepare": {"seed": 4}}, {}, {"train": 7})
    options = {"network": "sngan", "kind": "gan", "loss": "hinge", "steps": 20}
    manifest(place, "generator", MADE, {"generator": options}, {"real": PREPARED}, {"steps_done": 20})
    sampling = {"per_label": 6, "subsample": True}
    inputs = {"real": PREPARED, "generator": MADE, "teacher": "f" * 64}
    folder = manifest(place, "candidates", DRAWN, {"candidates": sampling}, inputs, {"accepted": 12})
    write(folder / "candidates.h5")
    return place


@pytest.mark.parametrize("format_name", SET_FORMATS)
def test_every_format_is_written_once(tmp_path, capsys, format_name):
    file, out = write(tmp_path / "a.h5"), tmp_path / "out"
    export_set_command(file, format_name, out)
    assert capsys.readouterr().out == f"{out}: {format_name}, 12 images\n"
    assert out.is_file() == (format_name == "fake-h5")
    before = out.stat().st_mtime_ns
    with pytest.raises(ConfigError, match="out must be a new file or folder"):
        export_set_command(file, format_name, out)
    assert out.stat().st_mtime_ns == before
    export_set_command(file, format_name, tmp_path / "again", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {"out": str(tmp_path / "again"), "format": format_name, "images": 12}


def test_the_papers_layout_holds_the_pixels(tmp_path):
    file = write(tmp_path / "a.h5")
    export_set_command(file, "fake-h5", tmp_path / "fake.h5")
    with h5py.File(tmp_path / "fake.h5") as fake, h5py.File(file) as own:
        assert np.array_equal(fake["fake_images"][()], own["images"][()])
        assert np.array_equal(fake["fake_labels"][()], own["labels"][()])


def test_what_cannot_be_exported_is_refused(tmp_path):
    file = write(tmp_path / "a.h5")
    with pytest.raises(ConfigError, match=f"--format must be one of {', '.join(SET_FORMATS)}, got 'zip'"):
        export_set_command(file, "zip", tmp_path / "out")
    answers = tmp_path / "b.h5"
    columns = {"teacher_outputs": np.zeros((2, 2), np.float32), "source_row": np.arange(2)}
    write_set(answers, columns, kind="answers", label_space=SPACE, license="MIT", provenance={})
    for format_name in SET_FORMATS:
        with pytest.raises(DataError, match="kind 'answers'"):
            export_set_command(answers, format_name, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_a_card_tells_the_history_that_the_store_has(store, tmp_path, capsys):
    card_command(store / "candidates" / DRAWN, tmp_path / "card", title="Pets", creators=["A team"], with_set=True)
    assert capsys.readouterr().out == f"{tmp_path / 'card'}: card of 12 rows\n"
    text = (tmp_path / "card" / "README.md").read_text()
    assert text.startswith("# Pets\n")
    steps = ["**1. Real images**", "**2. Generator, trained on the training rows**", "**3. Candidates, drawn"]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    assert "| name | digits |" in text
    assert "| network | sngan |" in text
    assert "| per_label | 6 |" in text
    assert (tmp_path / "card" / "candidates.h5").read_bytes() == (
        store / "candidates" / DRAWN / "candidates.h5"
    ).read_bytes()
    told = json.loads((tmp_path / "card" / "croissant.json").read_text())
    assert told["creator"] == [{"@type": "sc:Organization", "name": "A team"}]
    card_command(store / "candidates" / DRAWN, tmp_path / "other", as_json=True)
    assert json.loads(capsys.readouterr().out)["files"] == [
        "README.md",
        "croissant.json",
        "distributions.png",
        "examples.png",
    ]
    assert (tmp_path / "other" / "README.md").read_text().startswith("# digits: generated images\n")


def test_the_history_of_a_file_on_its_own_is_empty(tmp_path):
    assert history_of(write(tmp_path / "a" / "b" / "a.h5")) == ("", ())


@pytest.mark.parametrize(
    "told",
    [
        "[]",
        "{",
        '{"stage": 3, "inputs": [1], "config": 1, "metrics": "x"}',
        '{"stage": "candidates", "inputs": {"../../a": "b", "real": "../../../etc"}, "config": {"candidates": 3}}',
        '{"stage": "teacher", "metrics": {"figures": [3, {"value": "x"}]}}',
    ],
)
def test_a_manifest_of_a_stranger_does_no_harm(tmp_path, told):
    file = write(tmp_path / "a" / "b" / "a.h5")
    (file.parent / MANIFEST).write_text(told)
    source, steps = history_of(file)
    assert source == ""
    assert all(set(map(type, step.facts.values())) <= {str} for step in steps)
    card_command(file, tmp_path / "card")
