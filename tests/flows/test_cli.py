"""The command line: a whole tiny run, its second run, every exit status, and the commands that look."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.errors import ConfigError
from data.reading import open_set
from flows.cli import main


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A finished run of the tiny experiment: (configuration, store, the object that ``--json`` printed)."""
    config, store = tiny(), tmp_path_factory.mktemp("finished") / "store"
    command = [sys.executable, "-m", "flows.cli", "run", config, "--store", store, "--direct", "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return config, store, json.loads(done.stdout)


def test_json_object_has_every_promised_key(finished):
    _, store, summary = finished
    assert set(summary) == {"run", "report", "seconds", "stages", "results"}
    assert summary["run"].startswith("tiny-")
    assert [stage["state"] for stage in summary["stages"]] == ["ran"] * 20
    for stage in summary["stages"]:
        assert {"stage", "fingerprint", "state", "seconds", "path"} <= set(stage)
        assert stage["path"] == str(store / stage["stage"] / stage["fingerprint"])
    results = summary["results"]
    assert len(results) == 8
    assert {(row["method"], row["data"], row["seed"]) for row in results} == {
        (method, data, seed) for method in ("ce", "kd") for data in ("real", "real+synthetic") for seed in (0, 1)
    }
    for row in results:
        assert row["steps"] == 5
        assert row["metric"] == "accuracy"
        assert row["unit"] == "%"
        assert 0 <= row["value"] <= 100
    # 50 real training images are answered for "kd"; synthetic data cost one answer a candidate.
    calls = {(row["method"], row["data"]): row["teacher_calls"] for row in results}
    assert calls == {
        ("ce", "real"): 0,
        ("kd", "real"): 50,
        ("ce", "real+synthetic"): 120,
        ("kd", "real+synthetic"): 170,
    }


def test_second_run_is_cached_and_light(finished):
    config, store, first = finished
    code = (
        "import sys; from flows.cli import main; "
        f"status = main(['run', {str(config)!r}, '--store', {str(store)!r}, '--json']); "
        "heavy = {'torch', 'prefect', 'h5py', 'sklearn', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'{status} {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {stage["state"] for stage in summary["stages"]} == {"cached"}
    assert summary["results"] == first["results"]
    assert summary["report"] == first["report"]


def test_changed_quantile_reruns_only_what_follows(finished, capsys):
    config, store, _ = finished
    status, out, _ = run(
        capsys, "run", config, "--store", store, "--set", "synthetic.quantile=0.7", "--direct", "--json"
    )
    assert status == 0
    ran = {stage["stage"] for stage in json.loads(out)["stages"] if stage["state"] != "cached"}
    assert ran == {"synthetic", "audit", "distill", "assess", "report"}


def test_results_do_not_depend_on_the_run_before(finished, capsys, tmp_path):
    config, _, first = finished
    status, out, _ = run(capsys, "run", config, "--store", tmp_path / "other", "--direct", "--json")
    assert status == 0
    second = json.loads(out)
    assert second["results"] == first["results"]
    for name, file in (
        ("candidates", "candidates.h5"),
        ("synthetic", "synthetic.h5"),
        ("generator", "generator.safetensors"),
    ):
        paths = [next(s["path"] for s in summary["stages"] if s["stage"] == name) for summary in (first, second)]
        contents = [Path(path, file).read_bytes() for path in paths]
        assert contents[0] == contents[1]


def test_synthetic_set_keeps_the_share_and_the_rows_of_candidates(finished):
    _, _, summary = finished
    paths = {stage["stage"]: stage["path"] for stage in summary["stages"]}
    candidates = open_set(f"{paths['candidates']}/candidates.h5")
    synthetic = open_set(f"{paths['synthetic']}/synthetic.h5")
    assert len(candidates) == 120
    rows = np.asarray(synthetic.columns["source_row"])
    for name in ("images", "condition", "teacher_error", "seed"):
        assert np.array_equal(synthetic.columns[name], candidates.take(name, rows))
    kept = np.bincount(synthetic.columns["condition"])
    assert kept.min() >= 10
    assert kept.max() <= 12
    draws = open_set(f"{paths['candidates']}/draws.h5")
    assert draws.columns["accepted"].sum() == 120


def test_stages_and_dry_run_say_why(finished, capsys):
    config, store, _ = finished
    for command in (["stages"], ["run", "--dry-run"]):
        status, out, _ = run(capsys, *command, config, "--store", store, "--set", "ratio.steps=5")
        assert status == 0
        lines = {line.split("  ")[0]: line for line in out.splitlines()}
        assert "cached" in lines["generator"]
        assert lines["ratio"].endswith("would run  changed: ratio.steps 4 -> 5")
        assert "input ratio" in lines["candidates"]
    status, out, _ = run(capsys, "stages", config, "--store", store, "--json")
    assert {row["state"] for row in json.loads(out)["stages"]} == {"cached"}


def test_only_needs_its_inputs(finished, capsys, tmp_path):
    config, store, _ = finished
    status, out, _ = run(
        capsys, "run", config, "--store", store, "--only", "ratio", "--force", "ratio", "--direct", "--json"
    )
    assert status == 0
    assert [(s["stage"], s["state"]) for s in json.loads(out)["stages"]] == [("ratio", "ran")]
    status, _, err = run(capsys, "run", config, "--store", tmp_path, "--only", "ratio", "--direct")
    assert status == 4
    assert "ratio needs prepare (real), which is not in the store" in err


def test_list_sample_report_info_verify(finished, capsys, tmp_path):
    _, store, summary = finished
    paths = {stage["stage"]: stage["path"] for stage in summary["stages"]}
    for what, expected in (
        ("sources", {"digits", "fashion_mnist", "chairs"}),
        ("generators", {"sngan", "ccgan_sngan"}),
        ("networks", {"resnet", "convnet"}),
        ("methods", {"ce", "kd", "mse", "imitation"}),
        ("runs", {summary["run"]}),
    ):
        status, out, _ = run(capsys, "list", what, "--store", store, "--json")
        assert status == 0
        rows = json.loads(out)
        assert {row["name"] for row in rows} >= expected
        assert all(row["about"] for row in rows)
    out_file = tmp_path / "grid.png"
    words = ["--label", 3, "--label", 8, "-n", 5, "--no-captions", "--out", out_file]
    status, out, _ = run(capsys, "sample", paths["generator"], *words)
    assert status == 0
    with Image.open(out_file) as picture:
        assert picture.size == (5 * 33 + 1, 2 * 33 + 1)
    status, _, err = run(capsys, "sample", paths["generator"], "--label", 3.5, "--out", out_file)
    assert status == 2
    assert "--label must be a class number 0..9 or a class name" in err
    status, out, _ = run(capsys, "report", summary["run"], "--store", store, "--json")
    assert status == 0
    assert len(json.loads(out)["results"]) == 8
    status, out, _ = run(capsys, "report", summary["run"], "--store", store)
    assert "teacher" in out
    assert summary["report"].rsplit("/", 1)[-1] in out
    status, out, _ = run(capsys, "data", "info", paths["prepare"], "--json")
    assert json.loads(out)["kind"] == "real"
    for target in (paths["prepare"], f"{paths['prepare']}/real.h5"):
        status, out, _ = run(capsys, "data", "verify", target)
        assert status == 0
        assert "is whole" in out
    status, out, _ = run(capsys, "schema")
    assert "synthetic" in json.loads(out)["properties"]


@pytest.mark.parametrize(
    ("arguments", "expected", "sentence"),
    [
        (["run", "absent.yaml"], 2, "absent.yaml is not a file"),
        (["run", "CONFIG", "--set", "synthetic.quantil=0.7"], 2, "did you mean 'synthetic.quantile'?"),
        (["run", "CONFIG", "--only", "distil"], 2, "--only must be one of"),
        (["run", "CONFIG", "--set", "source={kind: fashion_mnist, folder: /absent/folder}"], 3, "/absent/folder"),
        (["run", "CONFIG", "--set", "prepare.labels_per_class=5000", "--direct"], 3, "must have 5000 training images"),
        (
            ["run", "CONFIG", "--set", "generator.kind=continuous_gan", "--direct"],
            2,
            "generator.kind must be 'class_gan'",
        ),
        (
            ["run", "CONFIG", "--set", "distill.methods=[{name: mse}]", "--direct"],
            2,
            "'mse' is for scalar and vector labels",
        ),
        (["run", "CONFIG", "--set", "distill.methods=[{name: kd, options: {temp: 3}}]", "--direct"], 2, "temperature"),
        (["run", "CONFIG", "--set", "teacher.options={depth: 3}", "--direct"], 2, "got 'depth'"),
        (["run", "CONFIG", "--set", "compute.device=toaster", "--direct"], 2, "compute.device must be"),
        (["list", "things"], 2, "list must be one of"),
        (["report", "absent"], 2, "RUN must be a run of"),
        (["report", "../x"], 2, "RUN must be a run of"),
        (["data", "info", "absent.h5"], 3, "absent.h5"),
        (["sample", "beef", "--out", "x.png"], 3, "got 0 that fit"),
        (["run"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_wrong_usage_is_one_sentence_with_its_status(tiny, capsys, tmp_path, arguments, expected, sentence):
    config = tiny()
    words = [str(config) if word == "CONFIG" else word for word in arguments]
    if words[0] in ("run", "list", "report", "sample"):
        words += ["--store", str(tmp_path / "store")]
    status, out, err = run(capsys, *words)
    assert status == expected
    assert sentence in err
    assert "Traceback" not in err
    assert out == ""


def test_quantile_that_keeps_nothing_ends_with_4(finished, capsys):
    config, store, _ = finished
    status, out, err = run(
        capsys, "run", config, "--store", store, "--set", "synthetic.quantile=0", "--direct", "--json"
    )
    assert status == 4
    assert out == ""
    assert (
        err.splitlines()[-1] == "stillhouse: synthetic: quantile 0 keeps no candidate at all; raise synthetic.quantile."
    )


def test_damaged_sets_end_with_3_or_are_made_again(finished, capsys, tmp_path):
    config, store, _ = finished
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    real = next(copy.glob("prepare/*/real.h5"))
    content = bytearray(real.read_bytes())
    content[len(content) // 2] ^= 4
    real.write_bytes(content)
    for target in (real, real.parent):
        status, _, err = run(capsys, "data", "verify", target)
        assert status == 3
        assert "damaged" in err or "SHA-256" in err
    real.write_bytes(content[:-100])
    status, out, err = run(capsys, "run", config, "--store", copy, "--direct", "--json")
    assert status == 0
    assert "prepare" in err
    assert "is damaged (real.h5 has" in err
    states = {stage["stage"]: stage["state"] for stage in json.loads(out)["stages"]}
    assert states["prepare"] == "ran"
    assert states["teacher"] == "cached"
    garbage = tmp_path / "garbage.h5"
    garbage.write_text("no HDF5")
    status, _, err = run(capsys, "data", "info", garbage)
    assert status == 3
    assert "garbage.h5" in err


def test_regression_chain_runs_whole(tiny, capsys, tmp_path):
    config = tiny(
        name="tiny-chairs",
        source={"kind": "chairs", "types": 3, "angle_step": 1.0},
        prepare={"labels_per_class": None, "images_per_label": 1, "validation_images": 10, "test_images": 20},
        generator={
            "kind": "continuous_gan",
            "options": {"width": 8, "latent_size": 8},
            "steps": 2,
            "batch_size": 4,
            "embedding_width": 4,
            "embedding_image_steps": 2,
            "embedding_label_steps": 2,
        },
        ratio={"pool_rounds": 1},
        candidates={"labels": 5, "per_label": 4, "burn_in": 10},
        synthetic={"quantile": 0.7},
    )
    methods = "distill.methods=[{name: mse}, {name: imitation}]"
    status, out, err = run(
        capsys, "run", config, "--store", tmp_path / "store", "--direct", "--json", "--set", methods,
        "--set", "distill.seeds=[0]",
    )  # fmt: skip
    assert status == 0, err
    summary = json.loads(out)
    assert {(row["metric"], row["unit"]) for row in summary["results"]} == {("mae", "degree")}
    synthetic = open_set(next((tmp_path / "store" / "synthetic").glob("*/synthetic.h5")))
    assert np.array_equal(synthetic.columns["labels"], synthetic.columns["teacher_outputs"][:, 0])
    assert len(synthetic) == 14
    generator = next((tmp_path / "store" / "generator").glob("*"))
    picture = tmp_path / "grid.png"
    assert run(capsys, "sample", generator, "--label", 37.5, "-n", 2, "--out", picture)[0] == 0
    status, _, err = run(capsys, "sample", generator, "--label", 137.5, "--out", picture)
    assert status == 2
    assert "--label must lie between 0 degree and 90 degree, got 137.5" in err


def test_what_a_file_is_called_does_not_steer_the_terminal(capsys):
    assert main(["data", "info", "absent\n\x1b[2J\u202e.h5"]) != 0
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "absent\\n\\x1b[2J\\u202e.h5" in shown
    assert shown[:-1].isprintable()


def test_debug_shows_where_an_error_came_from():
    with pytest.raises(ConfigError, match="is not a file"):
        main(["run", "absent.yaml", "--debug"])


def test_interrupt_ends_with_130(tiny, capsys, tmp_path, monkeypatch):
    def interrupted(context):
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.stages.prepare.run", interrupted)
    status, out, err = run(capsys, "run", tiny(), "--store", tmp_path, "--direct", "--json")
    assert status == 130
    assert out == ""
    assert "goes on where it stopped" in err
