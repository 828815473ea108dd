"""The command that writes recipes of groups, and how a run is bound to one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.errors import ConfigError
from data.labels import LabelSpace
from data.reading import open_set
from data.recipes.groups import read_groups
from data.writing import write_set
from flows.cli import main
from flows.config import Config
from flows.plan import make_plan
from flows.recipes import check_batches


@pytest.fixture
def real(tmp_path):
    columns = {
        "images": np.zeros((40, 1, 4, 4), np.uint8),
        "labels": np.arange(40) % 2,
        "split": (np.arange(40) % 2).astype(np.uint8),
        "source_row": np.arange(40),
    }
    space = LabelSpace("class", ("a", "b"))
    (tmp_path / "artifact").mkdir()
    path = tmp_path / "artifact" / "real.h5"
    write_set(path, columns, kind="real", label_space=space, provenance={}, license="CC0-1.0")
    return path


def test_the_command_writes_comparisons_of_training_rows(real, tmp_path, capsys):
    out = tmp_path / "pairs.h5"
    words = ["data", "pairs", str(real.parent), "--positive", "2", "--count", "50", "--out", str(out), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    found = read_groups(out)
    assert told == {
        "path": str(out), "of": open_set(real).content_sha256, "content_sha256": found.content_sha256, "groups": 50,
    }  # fmt: skip
    assert (found.positive.shape, found.negative.shape) == ((50, 2), (50, 1))
    assert not np.any(found.positive % 2)
    assert main(words) == 2
    assert "must be a new file" in capsys.readouterr().err
    words[words.index(str(out))] = str(tmp_path / "many.h5")
    words[words.index("50")] = "1000000"
    words.remove("--json")
    assert main(words) == 0
    assert "3420 comparisons (all that there are; 1000000 were asked for)" in capsys.readouterr().out
    assert len(read_groups(Path(words[words.index("--out") + 1])).positive) == 3420
    assert main(["data", "verify", str(out)]) == 0


def config(recipe=None, **changes):
    distill = {
        "methods": [{"name": "ce"}, {"name": "ckd", "options": {"positive": 2}}], "seeds": [0], "data": ["real"],
        "recipe": recipe, **changes,
    }  # fmt: skip
    return Config.model_validate({"distill": distill})


def test_the_content_of_a_recipe_is_part_of_students_that_compare_groups(real, tmp_path):
    def students(recipe):
        plan = [node for node in make_plan(config(recipe)) if node.stage == "distill"]
        return {node.arguments["method"]: node.request for node in plan}

    files = [tmp_path / name for name in ("a.h5", "b.h5", "c.h5")]
    for path, seed in zip(files, ("0", "0", "1"), strict=True):
        assert (
            main(["data", "pairs", str(real), "--positive", "2", "--count", "9", "--seed", seed, "--out", str(path)])
            == 0
        )
    without, first, moved, other = (students(recipe) for recipe in (None, *map(str, files)))
    assert "recipe" not in without["ckd"].config["distill"]
    assert first["ckd"].config["distill"]["recipe"] == read_groups(files[0]).content_sha256
    assert first["ckd"].fingerprint == moved["ckd"].fingerprint
    assert len({item["ckd"].fingerprint for item in (without, first, other)}) == 3
    assert len({item["ce"].fingerprint for item in (without, first, other)}) == 1
    check_batches(config(str(files[0])))
    wrong = config(str(files[0]), methods=[{"name": "ckd"}])
    with pytest.raises(ConfigError, match=r"must have groups of 1 and 1 rows for method 'ckd', got\n? ?2 and 1"):
        check_batches(wrong)
    with pytest.raises(ConfigError, match="must have groups of 2 and 1 rows for method 'ckd', got 0 and 0"):
        check_batches(config(str(real)))


def test_batches_that_are_too_small_are_refused_before_anything_trains():
    key = r"distill\.training\.batch_size"
    with pytest.raises(ConfigError, match=f"{key} must hold a comparison of 3 rows, got 2; try 3"):
        check_batches(config(training={"batch_size": 2}))
    check_batches(config(training={"batch_size": 3}))
    with pytest.raises(ConfigError, match=f"{key} must hold a comparison of 3 rows of each kind of data, got 4; try 6"):
        check_batches(config(training={"batch_size": 4}, data=["real+synthetic"]))
    check_batches(config(training={"batch_size": 6}, data=["real+synthetic"]))
    several = Config.model_validate(
        {"compute": {"processes": 3}, "distill": {"data": ["real"], "methods": [{"name": "ce"}]}}
    )
    with pytest.raises(ConfigError, match="must be a multiple of 3 processes, got 64"):
        check_batches(several)


def test_several_processes_are_part_of_what_is_trained_and_of_nothing_else():
    def fingerprints(processes):
        plan = make_plan(Config.model_validate({"compute": {"processes": processes}}))
        return {node.key: node.request for node in plan}

    one, two = fingerprints(1), fingerprints(2)
    assert "processes" not in json.dumps([request.config for request in one.values()])
    told = {key for key, request in two.items() if "processes" in request.config.get("compute", {})}
    stages = {one[key].stage for key in told}
    assert stages == {"teacher", "distill"}
    assert one["features"].fingerprint == two["features"].fingerprint


def test_a_recipe_of_another_set_is_refused_before_anything_is_trained_or_asked(real, tiny, tmp_path, capsys):
    columns = {name: np.array(values) for name, values in open_set(real).columns.items()}
    columns["images"][0] += 1
    other = tmp_path / "other.h5"
    write_set(other, columns, kind="real", label_space=open_set(real).label_space, provenance={}, license="CC0-1.0")
    recipe = tmp_path / "pairs.h5"
    assert main(["data", "pairs", str(other), "--count", "9", "--out", str(recipe)]) == 0
    distill = {"data": ["real"], "seeds": [0], "methods": [{"name": "ce"}, {"name": "ckd"}], "recipe": str(recipe)}
    path, store = tiny(distill=distill), tmp_path / "store"
    capsys.readouterr()
    # Also where the set is there already.
    for _ in range(2):
        assert main(["run", str(path), "--store", str(store), "--direct"]) == 3
        assert "must be of the set" in " ".join(capsys.readouterr().err.split())
        assert (store / "prepare").is_dir()
        assert not (store / "teacher").exists()
    # A method that compares no groups reads no recipe.
    alone = ["--set", 'distill.methods=[{"name": "ce"}]', "--only", "teacher"]
    assert main(["run", str(path), "--store", str(store), "--direct", *alone]) == 0
    assert (store / "teacher").is_dir()


def test_a_recipe_and_a_folder_that_are_not_there_are_named(real, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"distill\.recipe must be a file that is there, got .*absent\.h5; make one"):
        make_plan(config(str(tmp_path / "absent.h5")))
    out = tmp_path / "absent" / "pairs.h5"
    assert main(["data", "pairs", str(real), "--count", "5", "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert f"--out must be a file in a folder that is there, got {out}; make {out.parent} first." in told
    assert "errno" not in told
