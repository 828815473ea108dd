"""The stages from the source to the synthetic set, for labels of every kind; generator and teacher are stand-ins."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import flows.shards
import flows.stages.common
import flows.teachers
from data.errors import StageError
from data.labels import Axis, LabelSpace
from data.random import uniform_from_seeds
from data.reading import open_set, verify_set
from data.sources.chairs import render
from data.workspace import Workspace
from data.writing import write_set
from filters.features import load_extractor
from filters.teacher_filter import teacher_error
from filters.vicinity import Vicinity
from flows.config import Config
from flows.plan import make_source
from flows.stages import candidates, features, prepare, ratio, synthetic

SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", -10.0, 10.0))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b", "c"), "yaw", "degree", maximum=90),
}
ROWS = 60
SHAPE = (1, 8, 8)


def some_labels(space):
    rng = np.random.default_rng(1)
    values = [rng.choice(np.linspace(axis.minimum, axis.maximum, 5), ROWS) for axis in space.dimensions]
    classes = rng.integers(0, 3, ROWS) if space.has_classes else None
    return space.join(classes, np.stack(values, axis=1) if values else None)


class Sampler:
    """Grey images of the label's first number plus noise of the seed; counts its calls."""

    def __init__(self):
        self.truncations = []

    def sample(self, labels, seeds, truncation=1.0):
        self.truncations.append(truncation)
        level = 20 * (labels.reshape(len(labels), -1)[:, :1] % 5) + 100 * uniform_from_seeds(seeds, 64)
        return level.astype(np.uint8).reshape(-1, *SHAPE)


class Teacher(nullcontext):
    """Outputs that depend on the image: a logit a class, then values within their ranges."""

    def __init__(self, space):
        super().__init__(self)
        self.space = space

    def answer(self, images):
        grey = images.reshape(len(images), -1).astype(np.float64)
        outputs = [4 * np.sin(grey[:, k]) for k in range(self.space.classes)]
        outputs += [
            axis.minimum + (axis.maximum - axis.minimum) * grey[:, 5 + k] / 255
            for k, axis in enumerate(self.space.dimensions)
        ]
        return np.stack(outputs, axis=1).astype(np.float32)

    def paid(self):
        return {}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs stages on a real set of one kind of labels, each in a folder of its own."""
    sampler = Sampler()
    artifacts, warnings = {}, []

    def stage(module, space, inputs, name=None, workspace=Workspace, **sections):
        name = name or module.__name__.rpartition(".")[2]
        monkeypatch.setattr(flows.stages.common, "sampler_of", lambda context, compute: sampler)
        monkeypatch.setattr(flows.teachers, "open_teacher", lambda context, compute: Teacher(space))
        config = Config.model_validate({**sections, "compute": {"precision": "fp32"}})
        asked = {"seed": 0}
        if module is prepare:
            asked["source"] = make_source(config).identity()
        node = SimpleNamespace(request=SimpleNamespace(config=asked, seed=0))
        context = SimpleNamespace(
            config=config, node=node, inputs={key: artifacts[key] for key in inputs}, seed=0,
            workspace=workspace(tmp_path / name), warn=warnings.append,
        )  # fmt: skip
        metrics = json.loads(json.dumps(module.run(context)))
        artifacts[name] = SimpleNamespace(
            folder=tmp_path / name, fingerprint=name * 4, path=lambda file: tmp_path / name / file, metrics=metrics
        )
        return metrics

    def start(space):
        labels = some_labels(space)
        columns = {
            "images": Sampler().sample(labels, np.arange(ROWS, dtype=np.uint64)),
            "labels": labels,
            "split": (np.arange(ROWS) % 6 == 5).astype(np.uint8),
            "source_row": np.arange(ROWS),
        }
        (tmp_path / "real").mkdir()
        path = tmp_path / "real" / "real.h5"
        write_set(path, columns, kind="real", label_space=space, provenance={}, license="MIT")
        artifacts["real"] = SimpleNamespace(
            folder=path.parent, fingerprint="real", path=lambda file: path.parent / file, metrics={}
        )
        for name in ("generator", "teacher"):
            artifacts[name] = SimpleNamespace(folder=tmp_path, fingerprint=name, metrics={})

    return SimpleNamespace(stage=stage, start=start, sampler=sampler, folder=tmp_path, warnings=warnings)


FEATURES = {"width": 4, "steps": 3}
RATIO = {"pool_rounds": 2, "widths": [32], "steps": 4, "batch_size": 16}


@pytest.mark.parametrize("kind", SPACES)
def test_every_kind_of_label_comes_through(run, kind):
    space = SPACES[kind]
    run.start(space)
    figures = run.stage(features, space, ["real"], features=FEATURES)
    names = ["validation accuracy"] if space.has_classes else []
    assert list(figures) == names + [f"validation mean absolute error of {axis.name}" for axis in space.dimensions]
    assert load_extractor(run.folder / "features", flows.stages.common.compute_of(Config())).outputs == space.outputs
    run.stage(ratio, space, ["real", "features", "generator"], ratio=RATIO)
    assert not (run.folder / "ratio" / "extractor.safetensors").exists()
    inputs = ["real", "teacher", "generator", "features", "ratio"]
    metrics = run.stage(candidates, space, inputs, candidates={"per_label": 4, "burn_in": 10})

    found = open_set(run.folder / "candidates" / "candidates.h5")
    verify_set(found.path)
    train = some_labels(space)[np.arange(ROWS) % 6 != 5]
    wanted = np.arange(3) if kind == "class" else np.unique(train, axis=0)
    labels, counts = np.unique(found.columns["condition"], axis=0, return_counts=True)
    assert labels.tolist() == wanted.tolist()
    assert set(counts.tolist()) == {4}
    assert metrics["labels"] == len(wanted)
    images = run.sampler.sample(np.asarray(found.columns["labels"]), found.columns["seed"])
    assert np.array_equal(images, found.columns["images"])
    outputs = Teacher(space).answer(images)
    assert np.array_equal(found.columns["teacher_outputs"], outputs)
    errors = teacher_error(outputs, found.columns["condition"], space)
    assert np.array_equal(found.columns["teacher_error"], errors)
    statistics = json.loads((run.folder / "candidates" / "sampling.json").read_text())["labels"]
    assert [row["label"] for row in statistics] == wanted.tolist()
    assert [row["name"] for row in statistics] == [space.describe(label) for label in wanted]
    draws = open_set(run.folder / "candidates" / "draws.h5").columns
    for row, label in zip(statistics, wanted, strict=True):
        mine = [place for place, drawn in enumerate(draws["condition"].tolist()) if drawn == label.tolist()]
        assert (row["drawn"], row["accepted"]) == (len(mine), 4)
        assert draws["accepted"][mine].sum() == 4
    assert len(open_set(run.folder / "candidates" / "examples.h5")) > 0

    metrics = run.stage(synthetic, space, ["candidates"], synthetic={"quantile": 0.5})
    kept = open_set(run.folder / "synthetic" / "synthetic.h5")
    condition, values = np.asarray(kept.columns["condition"]), kept.columns["teacher_outputs"][:, space.classes :]
    # A class is kept, a value becomes the teacher's.
    expected = space.join(space.class_part(condition) if space.has_classes else None, values)
    assert np.array_equal(kept.columns["labels"], expected)
    assert metrics["relabelled_share"] == (0.0 if kind == "class" else 1.0)
    if space.has_classes:
        classes = space.class_part(np.asarray(found.columns["condition"]))
        limits = [np.quantile(errors[classes == k].astype(np.float64), 0.5) for k in range(3)]
        assert len(kept) == sum(error <= limits[k] for error, k in zip(errors, classes, strict=True))
    else:
        assert len(kept) == (errors <= np.quantile(errors.astype(np.float64), 0.5)).sum()
    selection = json.loads((run.folder / "synthetic" / "selection.json").read_text())
    assert selection["scope"] == ("per_class" if space.has_classes else "global")
    assert sum(row["kept"] for row in selection["thresholds"]) == len(kept)
    assert sum(row["candidates"] for row in selection["thresholds"]) == len(found)
    axes = selection.get("axes", [])
    assert {row["axis"] for row in axes} == ({a.name for a in space.dimensions} if space.label_shape else set())
    assert sum(row["kept"] for row in axes) == len(kept) * len({row["axis"] for row in axes})


class Interrupting(Workspace):
    """A workspace that is killed before its third shard."""

    def shards(self, name, total, suffix=".h5"):
        for number, path in super().shards(name, total, suffix):
            if number == 2:
                raise KeyboardInterrupt
            yield number, path


@pytest.mark.parametrize("kind", ["vector", "class+scalar"])
def test_a_killed_sampling_goes_on_where_it_was(run, kind, monkeypatch):
    space = SPACES[kind]
    run.start(space)
    monkeypatch.setattr(flows.shards, "ROWS", 20)
    inputs = ["real", "teacher", "generator"]
    options = {"per_label": 4, "subsample": False, "labels": 12}
    straight = run.stage(candidates, space, inputs, "straight", candidates=options)
    assert straight["labels"] == (12 if kind == "vector" else 36)
    calls = len(run.sampler.truncations)
    with pytest.raises(KeyboardInterrupt):
        run.stage(candidates, space, inputs, "killed", workspace=Interrupting, candidates=options)
    assert run.stage(candidates, space, inputs, "killed", candidates=options) == straight
    assert len(run.sampler.truncations) == 2 * calls
    for file in ("candidates.h5", "draws.h5", "examples.h5", "sampling.json"):
        assert (run.folder / "killed" / file).read_bytes() == (run.folder / "straight" / file).read_bytes()


def test_labels_in_chunks_are_drawn_alike_by_killed_and_lonely_shards(run, monkeypatch):
    space = SPACES["class"]
    run.start(space)
    run.stage(features, space, ["real"], features=FEATURES)
    run.stage(ratio, space, ["real", "features", "generator"], ratio=RATIO)
    monkeypatch.setattr(flows.shards, "ROWS", 20)
    inputs = ["real", "teacher", "generator", "features", "ratio"]
    options = {"per_label": 45, "burn_in": 10, "max_draws": 250, "bound_quantile": 0.9}
    straight = run.stage(candidates, space, inputs, "straight", candidates=options)
    assert (straight["accepted"], straight["labels"], straight["not_subsampled"]) == (135, 3, 0)
    # Killed after the second of three chunks; the last one then makes the calibration of its label again.
    with pytest.raises(KeyboardInterrupt):
        run.stage(candidates, space, inputs, "killed", workspace=Interrupting, candidates=options)
    [calibration] = (run.folder / "killed" / ".state").glob("calibration-*.json")
    calibration.unlink()
    assert run.stage(candidates, space, inputs, "killed", candidates=options) == straight
    for file in ("candidates.h5", "draws.h5", "examples.h5", "sampling.json"):
        assert (run.folder / "killed" / file).read_bytes() == (run.folder / "straight" / file).read_bytes()
    draws = open_set(run.folder / "straight" / "draws.h5").columns
    assert np.unique(draws["seed"]).size == len(draws["seed"])
    rows = json.loads((run.folder / "straight" / "sampling.json").read_text())["labels"]
    assert [row["label"] for row in rows] == [0, 1, 2]
    for row in rows:
        mine = draws["condition"] == row["label"]
        assert (row["drawn"], row["accepted"]) == (mine.sum(), 45)
        assert row["acceptance"] == 45 / row["drawn"]
        assert row["outcome"] == "rejection"
        # One scale for all chunks: the first ten draws are the burn-in.
        assert draws["density_ratio"][mine][:10].mean() == pytest.approx(1.0, rel=1e-5)
    assert np.bincount(open_set(run.folder / "straight" / "examples.h5").columns["condition"]).max() <= 20


def test_a_label_that_is_filled_up_is_told_of(run):
    space = SPACES["class"]
    run.start(space)
    run.stage(features, space, ["real"], features=FEATURES)
    run.stage(ratio, space, ["real", "features", "generator"], ratio=RATIO)
    inputs = ["real", "teacher", "generator", "features", "ratio"]
    options = {"per_label": 20, "burn_in": 10, "max_draws": 1}
    metrics = run.stage(candidates, space, inputs, candidates=options)
    assert (metrics["resampled"], metrics["not_subsampled"], metrics["accepted"]) == (3, 0, 60)
    assert len(run.warnings) == 1
    assert "3 of 3 labels got what they lacked by resampling" in run.warnings[0]
    assert "(a, b, c)" in run.warnings[0]
    metrics = run.stage(candidates, space, inputs, "raw", candidates={**options, "fallback": "none"})
    assert (metrics["resampled"], metrics["not_subsampled"]) == (0, 3)
    with pytest.raises(StageError, match="of 20 images accepted after 20 draws"):
        run.stage(candidates, space, inputs, "refused", candidates={**options, "fallback": "error"})


def test_images_of_a_vicinity_are_made_around_their_label(run):
    space = SPACES["scalar"]
    run.start(space)
    run.stage(features, space, ["real"], features=FEATURES)
    settings = {**RATIO, "vicinity_gaps": 2.0}
    run.stage(ratio, space, ["real", "features", "generator"], ratio=settings)
    inputs = ["real", "teacher", "generator", "features", "ratio"]
    run.stage(candidates, space, inputs, ratio=settings, candidates={"per_label": 6, "burn_in": 20})
    found = open_set(run.folder / "candidates" / "candidates.h5").columns
    train = some_labels(space)[np.arange(ROWS) % 6 != 5]
    vicinity = Vicinity.from_labels(train, space, 2.0)
    made_at = vicinity.jitter(np.asarray(found["condition"]), found["seed"])
    assert np.array_equal(found["images"], run.sampler.sample(made_at, found["seed"]))
    assert not np.array_equal(found["images"], run.sampler.sample(np.asarray(found["condition"]), found["seed"]))
    assert set(found["condition"].tolist()) == set(train.tolist())
    assert np.array_equal(found["labels"], found["condition"])


def test_truncation_is_asked_for_below_one_only(run):
    run.start(SPACES["class"])
    inputs = ["real", "teacher", "generator"]
    options = {"per_label": 4, "subsample": False}
    run.stage(candidates, SPACES["class"], inputs, "whole", candidates=options)
    run.stage(candidates, SPACES["class"], inputs, "cut", candidates={**options, "truncation": 0.5})
    assert run.sampler.truncations == [1.0, 0.5]


def write_candidates(run, space, condition, errors):
    rows = len(condition)
    columns = {
        "images": np.zeros((rows, *SHAPE), np.uint8),
        "labels": condition,
        "condition": condition,
        "seed": np.arange(rows, dtype=np.uint64),
        "density_ratio": np.ones(rows, np.float32),
        "teacher_outputs": np.zeros((rows, space.outputs), np.float32),
        "teacher_error": errors,
    }
    run.start(space)
    run.stage(candidates, space, ["real", "teacher", "generator"], candidates={"per_label": 1, "subsample": False})
    path = run.folder / "candidates" / "candidates.h5"
    write_set(path, columns, kind="candidates", label_space=space, provenance={}, license="MIT")


def test_only_a_lost_class_stops_the_selection(run):
    errors = np.linspace(0, 1, 30, dtype=np.float32)
    labels = np.stack([np.arange(30) // 10, np.linspace(0, 90, 30)], axis=1).astype(np.float32)
    write_candidates(run, SPACES["class+scalar"], labels, errors)
    options = {"quantile": 0.5, "scope": "global"}
    with pytest.raises(StageError, match=r"quantile 0.5 \(global\) keeps no candidate of c; raise"):
        run.stage(synthetic, SPACES["class+scalar"], ["candidates"], synthetic=options)
    metrics = run.stage(synthetic, SPACES["class+scalar"], ["candidates"], synthetic={"quantile": 0.5})
    # Every second third of the values is lost, which is told and no more.
    assert metrics["bins_lost"] > 5


def test_a_lost_part_of_a_range_is_counted(run):
    errors = np.linspace(0, 1, 30, dtype=np.float32)
    labels = np.stack([np.linspace(0, 90, 30), np.zeros(30)], axis=1).astype(np.float32)
    write_candidates(run, SPACES["vector"], labels, errors)
    assert run.stage(synthetic, SPACES["vector"], ["candidates"], synthetic={"quantile": 0.5})["bins_lost"] == 9


@pytest.mark.parametrize(
    ("label", "shape"), [("yaw", ()), ("yaw+elevation", (2,)), ("model+yaw", (2,))], ids=lambda value: str(value)
)
def test_chairs_are_prepared_with_every_kind_of_label(run, label, shape):
    source = {"kind": "chairs", "types": 3, "angle_step": 9.0, "label": label, "elevation_step": 25.0}
    options = {"validation_images": 4, "test_images": 6}
    metrics = run.stage(prepare, None, [], source=source, prepare=options)
    real = open_set(run.folder / "prepare" / "real.h5")
    verify_set(real.path)
    assert metrics["test"] == 6
    assert real.columns["labels"].shape[1:] == shape
    assert real.provenance["source"].get("label", "yaw") == label
    yaws = 9
    for image, row, values in zip(*(real.columns[name] for name in ("images", "source_row", "labels")), strict=True):
        if label == "yaw+elevation":
            expected = render(int(row) // (3 * yaws), float(values[0]), 32, elevation_degrees=float(values[1]))
        else:
            expected = render(int(row) // yaws, float(values.reshape(-1)[-1]), 32)
        assert np.array_equal(image, expected)
        if label == "model+yaw":
            assert values[0] == row // yaws
    split = np.asarray(real.columns["split"])
    distinct = [{tuple(np.atleast_1d(row)) for row in real.columns["labels"][split == part]} for part in (0, 2)]
    assert not distinct[0] & distinct[1]
