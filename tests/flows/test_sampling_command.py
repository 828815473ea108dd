"""``stillhouse sample``, ``export`` and ``data export``, on generators with fresh weights of every kind of label."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from data.foreign import open_foreign
from data.labels import Axis, LabelSpace
from data.random import derive_seed, row_seeds
from data.reading import open_set
from data.store import Request, Store
from data.writing import write_set
from flows.cli import main
from flows.sampling_command import Wish, chosen_labels
from generators.card import GeneratorCard, save_generator
from generators.export import open_exported
from generators.networks import build_network
from generators.sampling import load_generator

SPACES = {
    "class": LabelSpace("class", names=("T-shirt", "Shirt", "Bag")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20))),
    "class+scalar": LabelSpace("class+scalar", names=("chair 1", "chair 2"), name="yaw", unit="degree", maximum=90),
}
SIDE = 8


class Tiny(torch.nn.Module):
    """Something that any label changes."""

    def __init__(self, space):
        super().__init__()
        self.layer = torch.nn.Linear(8 + len(space.dimensions) + space.has_classes, SIDE * SIDE)

    def forward(self, latents, conditions):
        values = torch.cat([latents, conditions.float().reshape(len(latents), -1)], 1)
        return torch.tanh(self.layer(values)).reshape(-1, 1, SIDE, SIDE)


class TinyFamily:
    """Stands in for a registered family."""

    def __init__(self, space):
        self.space = space

    def generator(self, image_shape, label_space):
        return Tiny(label_space)


def artifact(store, space, kind="class_gan"):
    """A generator artifact in a store, with a real set of a known license beside it."""

    def real(workspace):
        labels = np.zeros((3, *space.label_shape), space.dtype)
        columns = {"images": np.zeros((3, 1, SIDE, SIDE), np.uint8), "labels": labels}
        columns |= {"split": np.zeros(3, np.uint8), "source_row": np.arange(3)}
        write_set(
            workspace.path("real.h5"), columns, kind="real", label_space=space, provenance={}, license="CC-BY-4.0"
        )
        return {}

    def train(workspace):
        torch.manual_seed(0)
        card = GeneratorCard("tiny", {}, (1, SIDE, SIDE), space, 8)
        save_generator(workspace.folder, card, Tiny(space))
        return {}

    prepared, _ = store.build(Request("prepare", 1, {"space": space.to_dict()}, {}), real)
    config = {"generator": {"kind": kind, "factory": "a:b"}, "compute": {"precision": "fp32"}}
    return store.build(Request("generator", 1, config, {"real": prepared.fingerprint}), train)[0].folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    return {kind: artifact(store, space) for kind, space in SPACES.items()}


@pytest.fixture(autouse=True)
def tiny_family(monkeypatch):
    monkeypatch.setattr("generators.card.build_network", lambda name, options: TinyFamily(None))


@pytest.fixture
def sample(folders, capsys, tmp_path):
    """Runs ``stillhouse sample`` and gives status, output, error and the set that it saved, if any."""

    def run(kind, *words, save=True):
        saved = tmp_path / "saved.h5"
        saved.unlink(missing_ok=True)
        files = ["--save", saved] if save else []
        status = main([str(word) for word in ("sample", folders[kind], *words, *files)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err, open_set(saved) if saved.exists() else None

    return run


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("class", ["--label", "2", "--label", "shirt"], [2, 1]),
        ("class", [], [0, 1, 2]),
        ("scalar", ["--label", "-5", "--label", "37.5"], [-5, 37.5]),
        ("scalar", ["--range", "0:90:4"], [0, 30, 60, 90]),
        ("scalar", [], np.linspace(-10, 90, 8)),
        ("vector", ["--label", "30,-12.5"], [[30, -12.5]]),
        ("vector", ["--range", "0:90:2,0:10:2"], [[0, 0], [0, 10], [90, 0], [90, 10]]),
        ("class+scalar", ["--label", "chair 2,37.5"], [[1, 37.5]]),
        ("class+scalar", ["--range", "0:90:2"], [[0, 0], [0, 90], [1, 0], [1, 90]]),
        ("class+scalar", ["--range", "0:90:2", "--label", "chair 2"], [[1, 0], [1, 90]]),
        ("class+scalar", [], [[0, 0], [0, 45], [0, 90], [1, 0], [1, 45], [1, 90]]),
    ],
)
def test_labels_are_asked_for_in_every_way(sample, kind, words, expected):
    status, out, err, saved = sample(kind, *words, "-n", 2)
    assert status == 0, err
    assert "images of" in out
    assert np.array_equal(saved.columns["labels"], np.repeat(np.array(expected, SPACES[kind].dtype), 2, axis=0))


def test_a_file_of_labels_is_read(sample, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\ufeffBag\n\n 0 \r\nSHIRT\n", encoding="utf-8")
    _, _, _, saved = sample("class", "--labels", path, "--label", 1, "-n", 1)
    assert saved.columns["labels"].tolist() == [1, 2, 0, 1]


def test_saved_sets_hold_the_images_of_their_seeds_and_enter_the_chain_again(folders, sample, tmp_path):
    from data.compute import Compute

    space = SPACES["scalar"]
    status, _, _, saved = sample("scalar", "--range", "0:80:3", "-n", 4, "--seed", 7, "--truncation", 0.5)
    assert status == 0
    seeds = row_seeds(derive_seed(7, "sample"), np.arange(4))
    assert np.array_equal(saved.columns["seed"], np.tile(seeds, 3))
    sampler = load_generator(folders["scalar"], Compute(torch.device("cpu")))
    assert np.array_equal(saved.columns["images"], sampler.sample(saved.columns["labels"], np.tile(seeds, 3), 0.5))
    assert (saved.kind, saved.license) == ("samples", "CC-BY-4.0")
    assert saved.provenance == {"generator": folders["scalar"].name, "truncation": 0.5}
    again = tmp_path / "fake.h5"
    command = ["sample", folders["scalar"], "--range", "0:80:3", "-n", 4, "--seed", 7, "--truncation", 0.5]
    assert main([str(word) for word in (*command, "--save", again, "--save-as", "fake-h5")]) == 0
    found = open_foreign(again, space, (1, SIDE, SIDE))
    assert np.array_equal(found.read(0, 12), saved.columns["images"])
    assert np.array_equal(found.labels, saved.columns["labels"])
    assert np.array_equal(found.seeds, saved.columns["seed"])


def test_pictures_have_a_row_a_label_with_its_caption(sample, tmp_path):
    plain, captioned = tmp_path / "plain.png", tmp_path / "captioned.png"
    words = ["--label", 0, "--label", "Bag", "-n", 5]
    assert sample("class", *words, "--out", plain, "--no-captions", save=False)[0] == 0
    status, out, _, _ = sample("class", *words, "--out", captioned, save=False)
    assert status == 0
    assert out == f"{captioned}: 10 images of T-shirt, Bag\n"
    with Image.open(plain) as picture:
        assert picture.size == (5 * 33 + 1, 2 * 33 + 1)
        cells = np.asarray(picture)[1:33, 1:33]
    with Image.open(captioned) as picture:
        pixels = np.asarray(picture)
    margin = pixels.shape[1] - 5 * 33
    assert 20 < margin < 80
    assert pixels.shape[0] == 2 * 33
    assert np.array_equal(pixels[:32, margin : margin + 32], cells)
    for row in (pixels[:33, :margin], pixels[33:, :margin]):
        assert 20 < (row.min(axis=2) < 128).sum() < 500
    assert not np.array_equal(pixels[:33, :margin], pixels[33:, :margin])


@pytest.mark.parametrize(
    ("kind", "words", "rows", "said"),
    [
        (
            "class",
            ["--interpolate", "latent", "--from-seed", 3, "--to-seed", 8, "--label", 1],
            1,
            "1 x 6 images between",
        ),
        ("class", ["--interpolate", "latent"], 3, "3 x 6 images between latents"),
        (
            "scalar",
            ["--interpolate", "label", "--label", -10, "--label", 90, "-n", 3],
            3,
            "from -10 degree to 90 degree",
        ),
        ("vector", ["--interpolate", "both", "--label", "0,-20", "--label", "90,20"], 4, "from yaw 0 degree, tilt -20"),
        ("class+scalar", ["--interpolate", "label", "--label", "0,5", "--label", "0,85"], 4, "from chair 1, 5 degree"),
    ],
)
def test_interpolations_have_a_way_a_row(sample, tmp_path, kind, words, rows, said):
    path = tmp_path / "walk.png"
    status, out, err, _ = sample(kind, *words, "--columns", 6, "--out", path, "--no-captions", save=False)
    assert status == 0, err
    assert said in out
    with Image.open(path) as picture:
        assert picture.size == (6 * 33 + 1, rows * 33 + 1)
    status, _, _, _ = sample(kind, *words, "--columns", 6, "--out", path, save=False)
    assert status == 0
    with Image.open(path) as picture:
        assert picture.size[0] > 6 * 33 + 1


def test_ends_of_an_interpolation_are_the_images_of_their_seeds(sample, tmp_path):
    ends, walk = tmp_path / "ends.png", tmp_path / "walk.png"
    for seed, column in ((3, 0), (8, 5)):
        sample("scalar", "--label", 20, "-n", 1, "--seed", seed, "--out", ends, "--no-captions", save=False)
        words = ["--interpolate", "latent", "--from-seed", 3, "--to-seed", 8, "--columns", 6, "--label", 20]
        sample("scalar", *words, "--out", walk, "--no-captions", save=False)
        with Image.open(ends) as one, Image.open(walk) as many:
            left = column * 33
            assert np.array_equal(np.asarray(one), np.asarray(many)[:, left : left + 34])


def test_label_interpolation_is_saved_with_its_labels(sample):
    words = ["--interpolate", "label", "--label", 0, "--label", 80, "--columns", 5, "-n", 2]
    _, _, _, saved = sample("scalar", *words)
    assert saved.columns["labels"].tolist() == [0, 20, 40, 60, 80] * 2
    seeds = row_seeds(derive_seed(0, "sample"), np.arange(2))
    assert np.array_equal(saved.columns["seed"], np.repeat(seeds, 5))


@pytest.mark.parametrize(
    ("kind", "words", "expected", "sentence"),
    [
        (
            "class",
            ["--label", "3"],
            2,
            "--label must be a class number 0..2 or a class name (T-shirt, Shirt, Bag), got '3'",
        ),
        ("class", ["--label", "Shrt"], 2, "did you mean 'Shirt'?"),
        ("class", ["--range", "0:2:3"], 2, "--range is for labels with values"),
        ("scalar", ["--label", "137.5"], 2, "--label must lie between -10 degree and 90 degree, got 137.5"),
        ("scalar", ["--range", "0:90:3", "--label", "1"], 2, "--range and --label must not come together"),
        ("scalar", ["--range", "0:90:3", "--labels", "x"], 2, "--range and --labels must not come together"),
        ("scalar", ["--labels", "absent.txt"], 3, "--labels absent.txt cannot be read"),
        ("vector", ["--label", "30"], 2, "--label must be 2 values"),
        ("class+scalar", ["--label", "chair 3,1"], 2, "did you mean 'chair"),
        (
            "class+scalar",
            ["--range", "0:9:2", "--label", "chair 1,5"],
            2,
            "--label with --range must be a class number",
        ),
        ("class", ["--truncation", "1.5"], 2, "--truncation"),
        ("class", ["--save-as", "zip"], 2, "--save-as must be one of stillhouse, fake-h5"),
        ("class", ["--interpolate", "time"], 2, "--interpolate must be one of latent, label, both"),
        ("scalar", ["--interpolate", "latent"], 2, "--save needs a seed for every image"),
        ("scalar", ["--interpolate", "label", "--label", "1"], 2, "two ends as two --label, got 1"),
        ("class", ["--interpolate", "label", "--label", "1", "--label", "2"], 2, "there is nothing between classes"),
        ("scalar", ["--from-seed", "3"], 2, "--from-seed and --to-seed are for"),
        ("scalar", ["--columns", "3"], 2, "--columns is for --interpolate"),
        ("scalar", ["-n", "100000"], 2, "at most 200000 images, got 800000"),
        ("scalar", ["-n", "2000", "--out", "x.png"], 2, "--out holds at most 10000 images, got 16000"),
        ("scalar", ["-n", "1", "--out", "absent/x.png"], 3, "--out absent/x.png cannot be written"),
        ("scalar", ["--device", "toaster"], 2, "device"),
    ],
)
def test_misuse_is_one_sentence_with_its_status(sample, kind, words, expected, sentence):
    status, out, err, _ = sample(kind, *words)
    assert status == expected
    assert sentence in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert out == ""


def test_nothing_to_write_and_external_generators_are_refused(sample, capsys, tmp_path):
    status, _, err, _ = sample("class", save=False)
    assert status == 2
    assert "give --out PNG, --save FILE, or both" in err
    folder = artifact(Store(tmp_path / "store"), SPACES["class"], kind="external")
    for words in (["sample", folder, "--out", "x.png"], ["export", folder, "--format", "safetensors", "--out", "x"]):
        assert main([str(word) for word in words]) == 2
        assert "external" in (told := capsys.readouterr().err) or "outside Stillhouse (a:b)" in told


def test_every_command_of_the_document_works_for_some_kind_of_label(folders, capsys, tmp_path, monkeypatch):
    document = Path(__file__).parents[2] / "docs" / "sampling.md"
    lines = re.findall(r"^    stillhouse (sample .*?)(?: +#.*)?$", document.read_text(), re.MULTILINE)
    assert len(lines) >= 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wanted.txt").write_text("0\n1\n")
    for line in lines:
        words = shlex.split(line)
        results = {}
        for kind, folder in folders.items():
            results[kind] = main(["sample", str(folder), *words[2:]])
            capsys.readouterr()
        assert 0 in results.values(), line
        assert set(results.values()) <= {0, 2}, line


def test_labels_default_to_a_few_all_over_the_space():
    grid = chosen_labels(Wish(), SPACES["vector"])
    assert grid.shape == (16, 2)
    assert {tuple(row) for row in grid.tolist()} >= {(0, -20), (90, 20)}


def test_generators_are_exported(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("generators.card.build_network", build_network)
    store = Store(tmp_path / "store")
    space = SPACES["class"]

    def train(workspace):
        family = build_network("sngan", {"width": 8, "latent_size": 8})
        from generators.card import describe_network

        card = describe_network("sngan", family, (1, SIDE, SIDE), space, {})
        save_generator(workspace.folder, card, family.generator((1, SIDE, SIDE), space))
        return {}

    config = {"generator": {"kind": "class_gan"}, "compute": {"precision": "fp32"}}
    folder = store.build(Request("generator", 1, config, {}), train)[0].folder
    out = tmp_path / "x.safetensors"
    assert main(["export", str(folder), "--format", "safetensors", "--out", str(out)]) == 0
    assert open_exported(out)[0].network == "sngan"
    assert str(out) in capsys.readouterr().out
    for words, expected, sentence in (
        (["--format", "onnx", "--out", "x"], 2, "--format must be one of safetensors, torch-export, got 'onnx'"),
        (["--format", "safetensors", "--out", str(tmp_path / "absent" / "x")], 3, "cannot be written"),
    ):
        assert main(["export", str(folder), *words]) == expected
        assert sentence in capsys.readouterr().err
    ratio = store.build(Request("ratio", 1, config, {}), lambda workspace: {})[0].folder
    assert main(["export", str(ratio), "--format", "safetensors", "--out", "x"]) == 2
    assert "export takes a generator, distill or teacher artifact, got a ratio artifact" in capsys.readouterr().err


def test_sets_are_exported_in_the_papers_layout(sample, capsys, tmp_path):
    _, _, _, saved = sample("class", "-n", 3)
    out = tmp_path / "fake.h5"
    assert main(["data", "export", str(saved.path), "--format", "fake-h5", "--out", str(out)]) == 0
    capsys.readouterr()
    with h5py.File(out) as file:
        assert np.array_equal(file["fake_images"][()], saved.columns["images"])
        assert file["fake_labels"][()].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert main(["data", "info", str(saved.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "samples"
    real = next(saved.path.parent.parent.rglob("real.h5"), None)
    assert real is None or main(["data", "export", str(real), "--format", "fake-h5", "--out", f"{out}2"]) == 3
    assert main(["data", "export", str(saved.path), "--format", "zip", "--out", str(out)]) == 2
    assert "--format must be one of fake-h5, image-folder, parquet, webdataset, got 'zip'" in capsys.readouterr().err
