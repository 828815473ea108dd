"""Stage ``synthetic``: which candidates are kept, with which labels, and what is said of it."""

import json
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from data.errors import ConfigError, StageError
from data.labels import Axis, LabelSpace
from data.random import RANDOM_SHARE, row_seeds, uniform_from_seeds
from data.reading import open_set, verify_set
from data.workspace import Workspace
from data.writing import write_set
from filters.teacher_filter import teacher_error
from flows.config import Config
from flows.filter_config import Synthetic
from flows.filtering import check_filter
from flows.preflight import check_labels, preflight
from flows.stages import synthetic

SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=0, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", -10.0, 10.0))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b", "c"), "yaw", "degree", maximum=90),
}


def some_candidates(space, rows, shape=(1, 2, 2), **columns):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, rows) if space.has_classes else None
    values = [rng.uniform(axis.minimum, axis.maximum, rows) for axis in space.dimensions]
    labels = space.join(classes, np.stack(values, axis=1) if values else None)
    outputs = rng.normal(0, 3, (rows, space.outputs)).astype(np.float32)
    outputs[:, space.classes :] += space.continuous_part(labels)
    made = {
        "images": rng.integers(0, 256, (rows, *shape), np.uint8),
        "condition": labels,
        "seed": row_seeds(0, np.arange(rows)),
        "density_ratio": rng.random(rows).astype(np.float32),
        "teacher_outputs": outputs,
        **columns,
    }
    errors = teacher_error(made["teacher_outputs"], made["condition"], space)
    return {"labels": made["condition"], "teacher_error": errors, **made}


@pytest.fixture
def select(tmp_path):
    """Runs the stage over columns of candidates; gives metrics, the set, selection.json and the warnings."""

    def run(space, columns, tuning=None, **options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        write_set(folder / "candidates.h5", columns, kind="candidates", label_space=space, provenance={}, license="MIT")
        if tuning is not None:
            (folder / "tuning.json").write_text(json.dumps(tuning))
        artifact = SimpleNamespace(
            fingerprint="candidates", path=lambda name: folder / name, metrics={"teacher_calls": len(columns["seed"])}
        )
        warnings = []
        context = SimpleNamespace(
            config=Config(synthetic=Synthetic(**options)),
            inputs={"candidates": artifact, "tuning": artifact},
            workspace=Workspace(folder / "made"),
            warn=warnings.append,
        )
        metrics = json.loads(json.dumps(synthetic.run(context)))
        verify_set(folder / "made" / "synthetic.h5")
        return SimpleNamespace(
            metrics=metrics,
            rows=open_set(folder / "made" / "synthetic.h5"),
            selection=json.loads((folder / "made" / "selection.json").read_text()),
            warnings=warnings,
        )

    return run


@pytest.mark.parametrize("kind", SPACES)
def test_rows_and_labels_are_those_of_a_loop(select, kind):
    space = SPACES[kind]
    columns = some_candidates(space, 300)
    scope = "per_class" if kind == "class" else "per_window"
    found = select(space, columns, quantile=0.6, scope=scope, windows=4, relabel="hard")
    errors, condition = columns["teacher_error"].astype(np.float64), columns["condition"]
    values = space.continuous_part(condition)
    each = 2 if kind == "vector" else 4
    cells = []
    for row in range(300):
        cell = [int(space.class_part(condition)[row])] if space.has_classes else []
        for place, axis in enumerate(space.dimensions):
            cell.append(int((values[row, place] - axis.minimum) / (axis.maximum - axis.minimum) * each))
        cells.append(tuple(cell))
    kept = [
        row
        for row in range(300)
        if errors[row] <= np.quantile([errors[k] for k in range(300) if cells[k] == cells[row]], 0.6)
    ]
    assert found.rows.columns["source_row"].tolist() == kept
    for name in ("images", "condition", "teacher_outputs", "teacher_error", "density_ratio", "seed"):
        assert np.array_equal(found.rows.columns[name], columns[name][kept])
    outputs = columns["teacher_outputs"][kept]
    classes = outputs[:, : space.classes].argmax(axis=1) if space.has_classes else None
    assert np.array_equal(found.rows.columns["labels"], space.join(classes, outputs[:, space.classes :]))
    assert (found.metrics["kept"], found.metrics["taken"], found.metrics["candidates"]) == (len(kept), len(kept), 300)
    rows = found.selection["thresholds"]
    assert len(rows) == len(set(cells))
    for row in rows:
        assert row["share"] == row["kept"] / row["candidates"]
        assert row["taken"] == row["kept"]
    assert sum(row["kept"] for row in rows) == len(kept)
    assert found.rows.provenance["scope"] == scope
    assert found.rows.provenance["error"] == "auto"


@pytest.mark.parametrize("kind", ["cross_entropy", "margin", "absolute", "none"])
def test_another_error_comes_from_what_the_candidates_store(select, kind):
    space = SPACES["class+scalar"]
    columns = some_candidates(space, 5000)
    found = select(space, columns, quantile=0.5, scope="global", error=kind)
    if kind == "none":
        errors = uniform_from_seeds(columns["seed"], 1, RANDOM_SHARE)[:, 0]
    else:
        errors = teacher_error(columns["teacher_outputs"], columns["condition"], space, kind)
    expected = np.flatnonzero(errors <= np.quantile(errors, 0.5))
    assert np.array_equal(found.rows.columns["source_row"], expected)
    # The stored error stays the one that the format tells.
    assert np.array_equal(found.rows.columns["teacher_error"], columns["teacher_error"][expected])


def test_soft_labels_keep_the_class_and_take_the_value(select):
    space = SPACES["class+scalar"]
    columns = some_candidates(space, 50)
    found = select(space, columns, quantile=1.0, relabel="soft")
    assert found.metrics["soft_labels"]
    assert np.array_equal(found.rows.columns["labels"][:, 0], columns["condition"][:, 0])
    assert np.array_equal(found.rows.columns["labels"][:, 1], columns["teacher_outputs"][:, 3])


def test_a_count_is_taken_evenly_and_from_the_front(select):
    space = SPACES["class"]
    condition = np.array([0] * 50 + [1] * 8 + [2] * 42)
    columns = some_candidates(space, 100, condition=condition)
    found = select(space, columns, quantile=1.0, count=48)
    assert found.rows.columns["source_row"].tolist() == [*range(20), *range(50, 58), *range(58, 78)]
    assert [row["taken"] for row in found.selection["thresholds"]] == [20, 8, 20]
    assert [row["kept"] for row in found.selection["thresholds"]] == [50, 8, 42]
    assert (found.metrics["kept"], found.metrics["taken"]) == (100, 48)
    assert found.warnings == []
    with pytest.raises(StageError, match=r"count 2 leaves no image of c; set synthetic.count to 3 or more"):
        select(space, columns, quantile=1.0, count=2)


def test_a_count_is_even_over_classes_first_and_over_their_windows_then(select):
    space = SPACES["class+scalar"]
    columns = some_candidates(space, 900)
    found = select(space, columns, quantile=1.0, count=30, windows=5)
    labels = np.asarray(found.rows.columns["condition"])
    assert np.bincount(labels[:, 0].astype(int)).tolist() == [10, 10, 10]
    for own in range(3):
        assert np.bincount((labels[labels[:, 0] == own, 1] // 18).astype(int)).tolist() == [2] * 5


def test_more_than_there_are_gives_all_with_a_warning(select):
    columns = some_candidates(SPACES["class"], 60)
    found = select(SPACES["class"], columns, quantile=0.5, count=61)
    kept = found.metrics["kept"]
    assert found.metrics["taken"] == kept < 60
    assert found.warnings == [f"synthetic.count is 61, but the filter keeps {kept} images: all of them are taken."]


def test_lost_coverage_is_told_once_with_numbers(select):
    space = SPACES["scalar"]
    angles = np.linspace(0, 90, 180, endpoint=False, dtype=np.float32)
    wrong = np.where(angles >= 85, 30, 1) * np.random.default_rng(0).random(180)
    columns = some_candidates(space, 180, condition=angles, teacher_outputs=(angles + wrong)[:, None].astype("f4"))
    found = select(space, columns, quantile=0.8)
    assert len(found.warnings) == 1
    (lost,) = found.selection["lost"]
    assert lost["label"] == "85 to 90 degree"
    assert f"keeps 80 % of all candidates but only {lost['kept']} of 10 of 85 to 90 degree" in found.warnings[0]
    assert found.selection["sentence"] == found.warnings[0]
    assert found.metrics["coverage_lost"] == 1
    windows = select(space, columns, quantile=0.8, scope="per_window")
    assert windows.warnings == []
    assert [row["kept"] for row in windows.selection["thresholds"]] == [8] * 18
    assert windows.selection["windows_with_global_threshold"] == 0
    few = select(space, columns, quantile=0.8, scope="per_window", windows=20)
    assert few.selection["windows_with_global_threshold"] == 20


def test_what_tuning_chose_stands_for_auto(select):
    columns = some_candidates(SPACES["class"], 90)
    chosen = {"quantile": {"chosen": 0.5}, "count": {"chosen": 12}}
    found = select(SPACES["class"], columns, tuning=chosen, quantile="auto", count="auto")
    fixed = select(SPACES["class"], columns, quantile=0.5, count=12)
    assert found.rows.content_sha256 == fixed.rows.content_sha256
    assert found.metrics["quantile"] == 0.5
    found = select(SPACES["class"], columns, tuning=chosen, quantile="auto")
    assert len(found.rows) == found.metrics["kept"] == 45


def test_images_are_never_held_whole(select):
    columns = some_candidates(SPACES["class"], 20_000, shape=(3, 32, 32))
    size = columns["images"].nbytes

    def traced(space, columns):
        tracemalloc.start()
        select(space, columns, quantile=0.9)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert traced(SPACES["class"], columns) < 0.6 * size


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("class", {"error": "absolute"}, r"synthetic.error: the teacher's error must be one of auto, cross_entropy"),
        ("scalar", {"scope": "per_class"}, r"synthetic.scope: the filter's scope must be per_window or global"),
        ("vector", {"relabel": "soft"}, r"synthetic.relabel: relabelling of vector labels must be 'none', 'values'"),
    ],
)
def test_what_does_not_fit_the_labels_is_refused_before_anything_trains(kind, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_filter(Synthetic(**options), SPACES[kind])
    for space in SPACES.values():
        check_filter(Synthetic(), space)


def test_the_checks_before_a_run_include_the_filter():
    config = Config(synthetic=Synthetic(error="absolute"))
    with pytest.raises(ConfigError, match=r"synthetic.error: .* for class labels, got 'absolute'"):
        check_labels(config)
    with pytest.raises(ConfigError, match=r"synthetic.error: .* for class labels, got 'absolute'"):
        preflight(config)


def test_the_stage_and_its_checks_do_without_torch():
    program = (
        "import sys, flows.stages.synthetic, flows.filtering, flows.coverage, data.writing, flows.commands\n"
        "from flows.config import Config\n"
        "from flows.preflight import check_labels\n"
        "check_labels(Config())\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
