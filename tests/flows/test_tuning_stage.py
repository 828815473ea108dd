"""Stage ``tuning``: which short runs it makes, how it goes on after a kill, and what it says."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import flows.short_runs
from data.errors import StageError
from data.labels import LabelSpace
from data.random import row_seeds
from data.recipes.relations import sample_related
from data.workspace import Workspace
from data.writing import write_set
from flows.config import Config
from flows.recipe_config import Groups, groups_section
from flows.stages import tuning

SPACE = LabelSpace("class", ("a", "b", "c"))
TUNING = {"quantiles": [0.3, 0.6, 1.0], "shares": [0.5, 1.0], "seeds": [3, 4], "steps": 4}


def some_images(rng, labels):
    return (60 * labels[:, None, None, None] + rng.integers(0, 60, (len(labels), 1, 8, 8))).astype(np.uint8)


@pytest.fixture
def tune(tmp_path):
    """Runs the stage on small sets; ``path`` of the given name is its workspace."""
    rng = np.random.default_rng(0)
    labels = np.arange(45) % 3
    real = {
        "images": some_images(rng, labels),
        "labels": labels,
        "split": (np.arange(45) // 15).astype(np.uint8),
        "source_row": np.arange(45),
    }
    described = {"label_space": SPACE, "provenance": {}, "license": "MIT"}
    write_set(tmp_path / "real.h5", real, kind="real", **described)
    condition = np.arange(90) % 3
    made = {
        "images": some_images(rng, condition),
        "labels": condition,
        "condition": condition,
        "seed": row_seeds(0, np.arange(90)),
        "density_ratio": np.ones(90, np.float32),
        "teacher_outputs": rng.normal(0, 2, (90, 3)).astype(np.float32),
        # Class c is hard for the teacher.
        "teacher_error": (rng.random(90) + (condition == 2)).astype(np.float32),
    }
    write_set(tmp_path / "candidates.h5", made, kind="candidates", **described)
    artifact = SimpleNamespace(fingerprint="x", path=lambda name: tmp_path / name, metrics={})

    def run(name="made", workspace=Workspace, shares=None, method="ce", recipes=None, **synthetic):
        config = Config.model_validate({"compute": {"precision": "fp32", "threads": 1}, "synthetic": synthetic})
        training = {**config.distill.training.model_dump(), "batch_size": 8, "steps": 40, "warmup_steps": 10}
        section = {
            "tuning": TUNING if shares is None else {**TUNING, "shares": shares},
            "distill": {
                "student": {"network": "convnet", "options": {"channels": 2}},
                "method": {"name": method, "options": {}},
                "training": training,
                "real_fraction": 0.5,
                "synthetic_weight": 1.0,
            },
            **({} if recipes is None else {"recipes": recipes}),
        }
        warnings = []
        context = SimpleNamespace(
            config=config,
            node=SimpleNamespace(request=SimpleNamespace(config=section)),
            inputs={"real": artifact, "candidates": artifact},
            workspace=workspace(tmp_path / name),
            warn=warnings.append,
        )
        metrics = json.loads(json.dumps(tuning.run(context)))
        text = (tmp_path / name / "tuning.json").read_text()
        return SimpleNamespace(metrics=metrics, text=text, found=json.loads(text), warnings=warnings)

    return run


@pytest.fixture
def recorded(monkeypatch):
    """Stands in for the training; ``value`` gives the score of a run by its synthetic rows and its seed."""
    calls = []
    stand_in = SimpleNamespace(calls=calls, value=lambda rows, seed: 50.0 + seed)

    def train(processes, data, validation, label_space, **settings):
        assert processes == 1
        synthetic = None if data.synthetic is None else data.synthetic.labels
        calls.append(SimpleNamespace(data=data, synthetic=synthetic, validation=validation, **settings))
        settings["workspace"].path("model.safetensors").touch()
        rows = 0 if synthetic is None else len(synthetic)
        return {"validation": stand_in.value(rows, settings["seed"])}

    monkeypatch.setattr(flows.short_runs, "train_in_processes", train)
    return stand_in


def test_settings_are_the_student_alone_then_quantiles_then_shares(tune, recorded):
    found = tune(quantile="auto", count="auto").found
    sizes = [(0 if call.synthetic is None else len(call.synthetic), call.seed) for call in recorded.calls]
    alone, whole, first, second, half = (sizes[start][0] for start in range(0, 10, 2))
    assert sizes == [(size, seed) for size in (alone, whole, first, second, half) for seed in (3, 4)]
    # The share of 1 is the chosen quantile at full count, which has run already.
    assert (alone, whole, half) == (0, 90, 45)
    assert whole > first > second
    for call in recorded.calls:
        assert call.initial_seed == call.seed
        assert (call.steps, call.warmup_steps, call.batch_size, call.method) == (4, 1, 8, "ce")
        assert call.validation[1].tolist() == (np.arange(15) % 3).tolist()
        assert len(call.data.real.labels) == 15
        assert not call.workspace.folder.exists()  # only its score is kept
    # All are equal, so the largest quantile and the smallest count are taken.
    assert (found["quantile"]["chosen"], found["count"]["chosen"]) == (1.0, 45)
    assert [row["value"] for row in found["quantile"]["rows"]] == [0.3, 0.6, 1.0]
    assert [(row["value"], row["share"]) for row in found["count"]["rows"]] == [(45, 0.5), (90, 1.0)]
    assert found["alone"]["values"] == [53.0, 54.0]
    assert (found["quantile"]["default"], found["count"]["default"]) == (0.9, None)


def test_synthetic_rows_are_compared_as_was_planned(tune, recorded):
    asked = groups_section(Groups(relation="same_class", count=25, seed=2), (1, 1))["recipes"]
    tune(quantile="auto", method="ckd", recipes=asked)
    found = [call.data.synthetic for call in recorded.calls if call.data.synthetic is not None]
    assert found
    for rows in found:
        expected = sample_related("same_class", rows.labels, SPACE, None, 1, 1, 25, 2)
        assert all(np.array_equal(mine, other) for mine, other in zip(rows.groups, expected, strict=True))
    recorded.calls.clear()
    tune("drawn", quantile="auto", method="ckd")
    assert all(call.data.synthetic is None or call.data.synthetic.groups is None for call in recorded.calls)


def test_the_score_decides(tune, recorded):
    # Best with about 30 rows: the quantile of 0.3 keeps 27 or a few more.
    recorded.value = lambda rows, seed: 60.0 - abs(rows - 30) if rows else 10.0
    made = tune(quantile="auto", count="auto")
    assert made.found["quantile"]["chosen"] == made.metrics["quantile"] == 0.3
    assert made.found["count"]["chosen"] == made.metrics["count"] > 20
    assert made.warnings == []
    assert made.metrics["gain"] > 40


def test_a_share_that_loses_a_class_is_left_out(tune, recorded):
    recorded.value = lambda rows, seed: 60.0
    # Two of three classes at most: the smallest share would be of two images.
    made = tune(quantile="auto", count="auto", shares=[0.02, 0.5, 1.0]).found
    assert made["count"]["skipped"] == [0.02]
    assert [row["share"] for row in made["count"]["rows"]] == [0.5, 1.0]


@pytest.mark.parametrize("given", [{"count": 20}, {"count": None}])
def test_a_count_that_is_given_stays_while_the_quantile_is_chosen(tune, recorded, given):
    found = tune(quantile="auto", **given).found
    assert "count" not in found
    sizes = [len(call.synthetic) for call in recorded.calls if call.synthetic is not None]
    assert set(sizes) == {20} if given["count"] else len(set(sizes)) == 3


def test_a_quantile_that_is_given_stays_while_the_count_is_chosen(tune, recorded):
    found = tune(quantile=0.6, count="auto").found
    assert "quantile" not in found
    sizes = [0 if call.synthetic is None else len(call.synthetic) for call in recorded.calls]
    assert len(sizes) == 6
    assert sizes[:2] == [0, 0]
    assert sizes[2] * 2 == sizes[4]


def test_it_is_told_if_the_student_alone_is_better_by_more_than_a_standard_error(tune, recorded):
    recorded.value = lambda rows, seed: 80.0 + seed - (rows > 0) * 2 - (rows > 50) * (seed - 3.5)
    made = tune(quantile="auto")
    (warning,) = made.warnings
    assert "the student alone is better" in warning
    assert "accuracy on validation rows" in warning
    assert made.metrics["gain"] < -made.metrics["standard_error"] < 0


def test_a_quantile_that_loses_a_class_is_left_out(tune, recorded):
    found = tune(quantile="auto", scope="global").found
    assert found["quantile"]["skipped"] == [0.3, 0.6]
    assert [row["value"] for row in found["quantile"]["rows"]] == [1.0]
    with pytest.raises(StageError, match=r"quantile 0.3 \(global\) keeps no candidate of c"):
        tune("other", quantile=0.3, count="auto", scope="global")


class Interrupting(Workspace):
    """A workspace that is killed before its fourth shard of one name, and before the end of the run before."""

    def shards(self, name, total, suffix=".h5"):
        for number, path in super().shards(name, total, suffix):
            if number == 3:
                raise KeyboardInterrupt
            yield number, path


def test_a_killed_tuning_goes_on_and_ends_with_the_same_bytes(tune, monkeypatch):
    made = []
    original = flows.short_runs.train_in_processes
    monkeypatch.setattr(
        flows.short_runs, "train_in_processes", lambda *rows, **settings: made.append(1) or original(*rows, **settings)
    )
    straight = tune("straight", quantile="auto", count="auto")
    assert len(made) == 10
    with pytest.raises(KeyboardInterrupt):
        tune("killed", Interrupting, quantile="auto", count="auto")
    assert len(made) == 13
    assert tune("killed", quantile="auto", count="auto").text == straight.text
    assert len(made) == 20
    values = [row["values"] for row in straight.found["quantile"]["rows"]]
    assert all(0 <= value <= 100 for row in values for value in row)
