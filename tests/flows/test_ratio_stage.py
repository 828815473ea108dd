"""Stage ratio with every kind of features, its diagnostics and warnings, and the ratio that stage candidates opens."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import flows.ratio_features
import flows.stages.common
from data.compute import Compute
from data.errors import ConfigError
from data.labels import LabelSpace
from data.random import uniform_from_seeds
from data.workspace import Workspace
from data.writing import write_set
from filters.features import answers, load_extractor, train_extractor
from flows.config import Config
from flows.preflight import preflight
from flows.ratio_features import open_ratio, vicinity_of
from flows.stages import ratio
from generators.continuous import train_continuous_gan
from generators.ratio_head import load_density_ratio
from students.model import build_model, load_model, save_model

CPU = Compute(torch.device("cpu"))
SPACE = LabelSpace("scalar", name="level", unit="%", maximum=100)
SHAPE = (1, 8, 8)
ROWS = 60
TINY = {"pool_rounds": 2, "widths": [32], "steps": 6, "batch_size": 16, "autoencoder": {"width": 8, "steps": 3}}


def sample(labels, seeds, truncation=1.0):
    """Grey images of their label, with noise of their seed."""
    return (labels[:, None] + 100 * uniform_from_seeds(seeds, 64)).astype(np.uint8).reshape(-1, *SHAPE)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A real set, features, a generator that learnt a ratio, a teacher and a student."""
    root = tmp_path_factory.mktemp("inputs")
    labels = np.repeat(np.linspace(0, 100, 12, dtype=np.float32), 5)
    images = sample(labels, np.arange(ROWS, dtype=np.uint64))
    split = (np.arange(ROWS) % 5 == 4).astype(np.uint8)
    columns = {"images": images, "labels": labels, "split": split, "source_row": np.arange(ROWS)}
    for name in ("real", "teacher", "student"):
        (root / name).mkdir()
    write_set(root / "real" / "real.h5", columns, kind="real", label_space=SPACE, provenance={}, license="MIT")
    train_extractor(
        images, labels, SPACE, width=4, steps=40, seed=1, compute=CPU, workspace=Workspace(root / "features")
    )
    train_continuous_gan(
        images, labels, SPACE, network_options={"width": 4, "latent_size": 8, "label_input": "nli"}, batch_size=8,
        steps=2, density_ratio_weight=0.5, seed=1, compute=CPU, workspace=Workspace(root / "generator"),
    )  # fmt: skip
    for name in ("teacher", "student"):
        save_model(root / name, build_model("convnet", {"channels": 4}, SHAPE, SPACE, [99.0], [40.0], 50.0, 30.0))
    names = ("real", "features", "generator", "teacher", "student")
    return {
        name: SimpleNamespace(folder=root / name, path=lambda file, name=name: root / name / file) for name in names
    }


@pytest.fixture
def run(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(flows.stages.common, "sampler_of", lambda context, compute: SimpleNamespace(sample=sample))

    def stage(**section):
        config = Config.model_validate({"ratio": {**TINY, **section}, "compute": {"precision": "fp32"}})
        warnings = []
        context = SimpleNamespace(
            config=config, inputs=dict(inputs), seed=0, workspace=Workspace(tmp_path / "ratio"), warn=warnings.append
        )
        metrics = json.loads(json.dumps(ratio.run(context)))
        context.inputs["ratio"] = SimpleNamespace(folder=tmp_path / "ratio")
        return context, metrics, warnings

    return stage


FIGURES = {"validation_fake_mean", "validation_real_mean", "validation_auc", "validation_effective_share"}


@pytest.mark.parametrize("kind", ["classifier", "autoencoder", "teacher", "student", "generator"])
def test_a_ratio_of_every_kind_of_features_is_what_candidates_opens(run, inputs, kind):
    context, metrics, _ = run(features=kind)
    folder = context.workspace.folder
    learnt = set() if kind == "generator" else {"ratio_fake_mean", "ratio_real_mean"}
    assert set(metrics) == FIGURES | learnt
    assert (folder / "autoencoder.safetensors").exists() == (kind == "autoencoder")
    assert (folder / "ratio.safetensors").exists() == (kind != "generator")
    told = json.loads((folder / "diagnostics.json").read_text())
    assert {key: told[key] for key in FIGURES} == {key: metrics[key] for key in FIGURES}
    assert (told["features"], told["validation_images"], told["fakes"]) == (kind, 12, 48)

    rate, labels = open_ratio(context, CPU), np.float32([10.0, 60.0, 90.0])
    images = sample(labels, np.arange(3, dtype=np.uint64))
    ratios = rate(images, labels)
    assert ratios.dtype == np.float32
    np.testing.assert_array_equal(rate(images[1:2], labels[1:2]), ratios[1:2])
    if kind == "generator":
        own = load_density_ratio(inputs["generator"].folder, CPU)
        np.testing.assert_array_equal(ratios, own(images, labels))
    if kind in ("teacher", "student"):
        card = json.loads((folder / "ratio.json").read_text())
        assert card["feature_size"] == load_model(inputs[kind].folder, CPU).feature_size == 4
    assert vicinity_of(context) is None


def test_outside_the_vicinity_the_opened_ratio_is_zero(run, inputs):
    context, metrics, _ = run(features="autoencoder", vicinity_gaps=1.5, activation="softplus")
    assert 0 < metrics["pool_inside"] <= 1
    vicinity = vicinity_of(context)
    assert vicinity.half_widths == pytest.approx((1.5 / 11,))
    labels = np.repeat(np.linspace(0, 100, 12, dtype=np.float32), 4)
    images = sample(labels[::-1], np.arange(48, dtype=np.uint64))
    predicted = answers(load_extractor(inputs["features"].folder, CPU), images, CPU)[:, 0]
    near = np.abs(predicted - labels / 100) <= 1.5 / 11
    assert 0 < near.sum() < 48
    assert ((open_ratio(context, CPU)(images, labels) > 0) == near).all()
    assert vicinity_of(SimpleNamespace(**{**vars(context), "config": Config.model_validate(
        {"ratio": {"vicinity_gaps": 1.5}, "candidates": {"subsample": False}})})) is None  # fmt: skip


@pytest.mark.parametrize(("value", "words"), [(1.0, "same for all generated images"), (0.0, "0 for each of 48")])
def test_a_ratio_that_is_no_use_is_told(run, monkeypatch, value, words):
    def constant(context, folder, compute):
        return lambda images, labels: np.full(len(images), value, np.float32)

    monkeypatch.setattr(flows.ratio_features, "load_rate", constant)
    context, _, warnings = run(features="teacher")
    (sentence,) = warnings
    assert words in sentence
    assert json.loads((context.workspace.folder / "diagnostics.json").read_text())["fault"] == sentence


CHAIRS = {"source": {"kind": "chairs", "types": 2, "angle_step": 9.0}, "distill": {"methods": [{"name": "mse"}]}}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"ratio": {"features": "generator"}}, "'generator' must have a generator that learns .* kind 'class_gan'"),
        ({"ratio": {"vicinity_gaps": 6}}, "vicinity_gaps must be 0 for class labels.* got 6"),
        (
            {**CHAIRS, "generator": {"kind": "continuous_gan"}, "ratio": {"features": "generator"}},
            "set generator.density_ratio_weight 0.5",
        ),
    ],
)
def test_a_ratio_that_cannot_be_is_told_before_anything_runs(sections, message):
    with pytest.raises(ConfigError, match=message):
        preflight(Config.model_validate({"source": {"kind": "digits"}, **sections}))


def test_a_teacher_in_its_own_size_gives_the_ratio_its_features(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"no weights are read before the run")
    teacher = {"kind": "checkpoint", "network": "torchvision", "options": {"name": "vgg11"}}
    teacher |= {"path": str(tmp_path / "w.pt"), "input_size": 32, "input_channels": 3}
    sections = {"source": {"kind": "digits"}, "ratio": {"features": "teacher"}, "fidelity": {"enabled": False}}
    preflight(Config.model_validate({**sections, "teacher": teacher}))
    with pytest.raises(ConfigError, match="torchvision"):
        preflight(Config.model_validate({**sections, "teacher": {**teacher, "input_size": None}}))


def test_a_ratio_that_can_be_passes():
    generator = {"kind": "continuous_gan", "density_ratio_weight": 0.5}
    for kind in ("classifier", "autoencoder", "teacher", "student", "generator"):
        section = {"features": kind, "vicinity_gaps": 6}
        preflight(Config.model_validate({**CHAIRS, "generator": generator, "ratio": section}))
    # Nothing of it matters where no ratio is learnt.
    section = {"ratio": {"features": "generator"}, "candidates": {"subsample": False}}
    preflight(Config.model_validate({"source": {"kind": "digits"}, **section}))
