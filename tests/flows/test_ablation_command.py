"""The command ``ablate``: a whole tiny ablation of classes and one of values, what it writes, and its exit statuses."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.reading import open_set
from flows.cli import main

ARMS = ["alone", "raw", "subsampled", "filtered", "relabelled"]
KEYS = [
    "arm", "student", "metric", "unit", "mean", "std", "seeds", "values", "difference", "half_width", "images",
    "teacher_calls",
]  # fmt: skip


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def classes(tiny, tmp_path_factory):
    """A tiny run of the student on labels alone: (configuration, store)."""
    config = tiny(
        distill={"methods": [{"name": "ce"}], "seeds": [0, 1, 2]},
        fidelity={"enabled": False},
        audit={"enabled": False},
    )
    store = tmp_path_factory.mktemp("classes") / "store"
    assert main(["run", str(config), "--store", str(store), "--direct", "--json"]) == 0
    return config, store


@pytest.fixture(scope="module")
def ablated(classes, tmp_path_factory):
    """An ablation after that run: (configuration, store, the object that ``--json`` printed)."""
    config, store = classes
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["ablate", str(config), "--store", str(store), "--direct", "--json"]) == 0
    return config, store, json.loads(printed.getvalue())


def test_json_object_has_every_promised_key(ablated):
    _, _, summary = ablated
    assert set(summary) == {"run", "report", "seconds", "stages", "arms"}
    assert summary["run"].startswith("tiny-ablation-")
    assert summary["report"] == f"{summary['stages'][-1]['path']}/ablation.html"
    for stage in summary["stages"]:
        assert set(stage) == {"stage", "key", "fingerprint", "state", "seconds", "path"}
    rows = summary["arms"]
    assert [row["arm"] for row in rows] == ARMS
    for row in rows:
        assert list(row) == KEYS
        assert (row["student"], row["metric"], row["unit"], row["seeds"]) == ("small", "accuracy", "%", [0, 1, 2])
        assert row["mean"] == pytest.approx(np.mean(row["values"]))
        assert row["std"] == pytest.approx(np.std(row["values"], ddof=1))
    assert (rows[0]["difference"], rows[0]["half_width"], rows[0]["images"]) == (None, None, 0)
    for row in rows[1:]:
        assert row["difference"] == pytest.approx(row["mean"] - rows[0]["mean"])
        assert row["half_width"] > 0
    # One answer a candidate, where the teacher chose or labelled: 10 classes of 12 images.
    assert [row["teacher_calls"] for row in rows] == [0, 0, 0, 120, 120]


def test_a_student_that_only_the_ratio_reads_belongs_to_no_arm(classes, capsys, tmp_path):
    config, store = classes
    store = shutil.copytree(store, tmp_path / "store")
    words = ["ablate", str(config), "--store", str(store), "--direct", "--json", "--method", "kd"]
    assert main([*words, "--set", "ratio.features=student"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert "small / ce / real / seed 0" in {stage["key"] for stage in summary["stages"]}
    assert [row["arm"] for row in summary["arms"]] == ARMS
    # Nor is it a result of a run that asks for others.
    only = ["--set", "distill.methods=[{name: kd}]", "--set", "distill.data=[real+synthetic]"]
    assert main(["run", *words[1:6], "--set", "ratio.features=student", *only]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert {(row["method"], row["data"]) for row in results} == {("kd", "real+synthetic")}


def test_values_are_those_of_the_students_and_what_the_run_made_is_found(ablated):
    _, _, summary = ablated
    states = {stage["key"]: stage["state"] for stage in summary["stages"]}
    for key in ("generator", "ratio", "subsampled: candidates", "filtered: synthetic", "alone: small / seed 2"):
        assert states[key] == "cached"
    for key in ("raw: candidates", "subsampled: synthetic", "relabelled: small / seed 0", "ablation"):
        assert states[key] == "ran"
    paths = {stage["key"]: Path(stage["path"]) for stage in summary["stages"]}
    for row in summary["arms"]:
        for seed, value in zip(row["seeds"], row["values"], strict=True):
            manifest = json.loads((paths[f"{row['arm']}: small / seed {seed}"] / "manifest.json").read_text())
            assert manifest["metrics"]["value"] == value
            assert manifest["metrics"]["steps"] == 5


def test_arms_have_equally_many_images_chosen_as_they_say(ablated):
    _, _, summary = ablated
    paths = {stage["key"]: Path(stage["path"]) for stage in summary["stages"]}
    sets = {arm: open_set(paths[f"{arm}: synthetic"] / "synthetic.h5") for arm in ARMS[1:]}
    sizes = {arm: np.bincount(made.columns["condition"], minlength=10).tolist() for arm, made in sets.items()}
    assert sizes == dict.fromkeys(ARMS[1:], sizes["raw"])
    assert {row["images"] for row in summary["arms"][1:]} == {len(sets["raw"])}

    rows = {arm: set(np.asarray(made.columns["source_row"]).tolist()) for arm, made in sets.items()}
    assert rows["filtered"] == rows["relabelled"] != rows["subsampled"]
    errors = {arm: float(np.mean(made.columns["teacher_error"])) for arm, made in sets.items()}
    assert errors["filtered"] < errors["subsampled"]
    assert np.all(np.asarray(sets["raw"].columns["density_ratio"]) == 1)
    assert len(np.unique(sets["subsampled"].columns["density_ratio"])) > 1
    soft = {arm: json.loads((paths[f"{arm}: synthetic"] / "manifest.json").read_text()) for arm in ARMS[1:]}
    assert {arm for arm, manifest in soft.items() if manifest["metrics"]["soft_labels"]} == {"relabelled"}


def test_second_ablation_is_cached_and_the_terminal_shows_the_same(ablated, capsys):
    config, store, summary = ablated
    status, out, _ = run(capsys, "ablate", config, "--store", store, "--direct", "--json")
    assert status == 0
    second = json.loads(out)
    assert {stage["state"] for stage in second["stages"]} == {"cached"}
    assert [second[key] for key in ("run", "report", "arms")] == [summary[key] for key in ("run", "report", "arms")]

    status, out, _ = run(capsys, "ablate", config, "--store", store, "--direct")
    assert status == 0
    for row in summary["arms"]:
        assert f"{row['mean']:.2f} ± {row['std']:.2f}" in out
    for words in ("student alone", "+ generated images", "+ rejection sampling", "+ teacher's filter", "+ relabelling"):
        assert words in out
    assert summary["report"] in out.replace("\n", "")
    assert max(len(line) for line in out.splitlines() if "│" in line) <= 80
    shown = run(capsys, "report", summary["run"], "--store", store)[1]
    assert out.splitlines()[:10] == shown.splitlines()[:10]
    listed = run(capsys, "list", "runs", "--store", store, "--json")[1]
    assert summary["run"] in {row["name"] for row in json.loads(listed)}


def test_dry_run_runs_nothing_and_says_why(ablated, capsys):
    config, store, _ = ablated
    words = ["ablate", config, "--store", store, "--dry-run", "--set", "synthetic.quantile=0.5"]
    status, out, _ = run(capsys, *words)
    assert status == 0
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "cached" in lines["subsampled: candidates"]
    assert lines["filtered: synthetic"].endswith("changed: synthetic.quantile 0.9 -> 0.5")
    assert len(list((store / "ablation").iterdir())) == 1
    rows = json.loads(run(capsys, *words, "--json")[1])["stages"]
    assert [row["key"] for row in rows] == [line.split("  ")[0] for line in out.splitlines()]


def test_the_files_say_what_the_json_says(ablated):
    _, _, summary = ablated
    folder = Path(summary["report"]).parent
    page, result = (folder / "ablation.html").read_text(), json.loads((folder / "ablation.json").read_text())
    assert [row["arm"] for row in result["arms"]] == ARMS
    assert (result["name"], result["method"], result["steps"], result["seeds"]) == ("tiny", "ce", 5, [0, 1, 2])
    assert {row["name"] for row in result["stages"]} == {stage["key"] for stage in summary["stages"][:-1]}
    for row in result["arms"]:
        assert f"{row['mean']:.2f} ± {row['std']:.2f}" in page
    with Image.open(folder / "ablation.png") as picture:
        assert picture.width == 2 * 560


def test_images_from_a_file_have_no_rejection_and_the_page_says_why(ablated, capsys, tmp_path):
    config, store, summary = ablated
    paths = {stage["key"]: Path(stage["path"]) for stage in summary["stages"]}
    shutil.copy(paths["raw: candidates"] / "candidates.h5", tmp_path / "made.h5")
    changed = ["--set", f"candidates.file={tmp_path / 'made.h5'}", "--set", "synthetic.count=50"]
    status, out, err = run(capsys, "ablate", config, "--store", store, "--direct", "--json", *changed)
    assert status == 0, err
    made = json.loads(out)
    assert [row["arm"] for row in made["arms"]] == ["alone", "raw", "filtered", "relabelled"]
    assert {row["images"] for row in made["arms"][1:]} == {50}
    assert "generator" not in {stage["stage"] for stage in made["stages"]}
    assert "Rejection sampling was left out: candidates.file gives images" in Path(made["report"]).read_text()


@pytest.mark.parametrize(
    ("words", "expected", "sentence"),
    [
        (["--set", "synthetic.quantile=auto"], 2, "synthetic.quantile must be a number"),
        (["--seeds", "0,1"], 2, "--seeds must be at least 3 different numbers"),
        (["--seeds", "zero"], 2, "--seeds must be whole numbers with commas between them, got 'zero'"),
        (["--method", "kdd"], 2, "did you mean 'kd'?"),
        (["--method", "mse"], 2, "'mse' is for scalar and vector labels"),
        (["--set", "source={kind: fashion_mnist, folder: /absent}"], 3, "/absent"),
        (["--set", "synthetic.quantile=0"], 4, "keeps no candidate at all"),
    ],
)
def test_faults_end_with_their_status_and_one_sentence(ablated, capsys, words, expected, sentence):
    config, store, _ = ablated
    status, out, err = run(capsys, "ablate", config, "--store", store, "--direct", "--json", *words)
    assert status == expected
    assert sentence in err
    assert out == ""
    assert "Traceback" not in err


def test_an_interrupted_ablation_goes_on_where_it_stopped(classes, capsys, monkeypatch):
    config, store = classes
    words = ["ablate", config, "--store", store, "--direct", "--json", "--set", "distill.training.steps=4"]

    def interrupted(context):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("flows.stages.ablation.run", interrupted)
        status, out, err = run(capsys, *words)
    assert (status, out) == (130, "")
    assert "goes on where it stopped" in err
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert [stage["key"] for stage in json.loads(out)["stages"] if stage["state"] != "cached"] == ["ablation"]


def test_values_are_ablated_by_their_error(tiny, capsys, tmp_path):
    config = tiny(
        name="tiny-chairs",
        source={"kind": "chairs", "types": 2, "angle_step": 3.0},
        prepare={"labels_per_class": None, "images_per_label": 1, "validation_images": 5, "test_images": 10},
        generator={
            "kind": "continuous_gan",
            "options": {"width": 8, "latent_size": 8},
            "steps": 1,
            "snapshots": 0,
            "batch_size": 4,
            "embedding_width": 4,
            "embedding_image_steps": 1,
            "embedding_label_steps": 1,
        },
        ratio={"pool_rounds": 1},
        candidates={"labels": 5, "per_label": 4, "burn_in": 10},
        synthetic={"quantile": 0.7},
        distill={"training": {"steps": 2, "warmup_steps": 1, "batch_size": 8}},
    )
    status, out, err = run(capsys, "ablate", config, "--store", tmp_path / "store", "--direct", "--json")
    assert status == 0, err
    summary = json.loads(out)
    assert [row["arm"] for row in summary["arms"]] == ARMS
    assert {(row["metric"], row["unit"]) for row in summary["arms"]} == {("mae", "degree")}
    assert {row["images"] for row in summary["arms"][1:]} == {14}
    paths = {stage["key"]: Path(stage["path"]) for stage in summary["stages"]}
    labels = {arm: open_set(paths[f"{arm}: synthetic"] / "synthetic.h5").columns for arm in ("filtered", "relabelled")}
    assert np.array_equal(labels["filtered"]["labels"], labels["filtered"]["condition"])
    assert np.array_equal(labels["relabelled"]["labels"], labels["relabelled"]["teacher_outputs"][:, 0])
