"""Plans: order, fingerprints, what a changed key makes run again, and that planning stays light."""

import subprocess
import sys

import pytest

from data.errors import ConfigError
from data.store import Store
from flows.execute import Selection
from flows.loading import load_config
from flows.plan import make_plan, statuses


def plan_of(path, *overrides):
    return make_plan(load_config(path, overrides))


def fingerprints(plan):
    return {node.key: node.request.fingerprint for node in plan}


def changed(path, *overrides):
    before, after = fingerprints(plan_of(path)), fingerprints(plan_of(path, *overrides))
    return {key for key in before if before[key] != after.get(key)}


def test_inputs_come_before_what_reads_them(tiny):
    plan = plan_of(tiny())
    seen = set()
    for node in plan:
        assert all(parent.key in seen for parent in node.inputs.values())
        seen.add(node.key)
    assert [node.stage for node in plan[:9]] == [
        "prepare", "teacher", "answers", "features", "generator", "ratio", "candidates", "fidelity", "synthetic",
    ]  # fmt: skip
    assert [node.stage for node in plan[9:]] == ["distill"] * 8 + ["report"]


ALL_STUDENTS = {
    f"small / {m} / {d} / seed {s}" for m in ("ce", "kd") for d in ("real", "real+synthetic") for s in (0, 1)
}
SYNTHETIC_STUDENTS = {key for key in ALL_STUDENTS if "synthetic" in key}
TEACHER_STUDENTS = {key for key in ALL_STUDENTS if "kd" in key} | SYNTHETIC_STUDENTS
SAMPLING = {"candidates", "fidelity", "synthetic", *SYNTHETIC_STUDENTS, "report"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("synthetic.quantile=0.7", {"synthetic", *SYNTHETIC_STUDENTS, "report"}),
        ("candidates.per_label=13", SAMPLING),
        ("ratio.steps=5", {"ratio", *SAMPLING}),
        ("generator.steps=4", {"generator", "ratio", *SAMPLING}),
        ("features.steps=5", {"features", "generator", "ratio", *SAMPLING}),
        ("fidelity.images=70", {"fidelity", "report"}),
        ("teacher.training.steps=7", {"teacher", "answers", *SAMPLING, *TEACHER_STUDENTS}),
        ("distill.training.steps=6", {*ALL_STUDENTS, "report"}),
        ("distill.real_fraction=0.25", {*SYNTHETIC_STUDENTS, "report"}),
        ("compute.checkpoint_seconds=9", set()),
        ("compute.threads=1", set()),
        ("compute.device=cpu", set()),
        ("compute.block_rows=64", set()),
        ("compute.compile=true", set()),
        ("name=other", {"report"}),
    ],
)
def test_a_changed_key_reruns_its_stage_and_what_follows(tiny, override, expected):
    assert changed(tiny(), override) == expected


def test_everything_depends_on_the_split_and_the_precision_is_part_of_all_but_data(tiny):
    everything = set(fingerprints(plan_of(tiny())))
    assert changed(tiny(), "prepare.labels_per_class=6") == everything
    assert changed(tiny(), "compute.precision=bf16") == everything - {"prepare"}


def test_real_data_only_needs_no_generator(tiny):
    plan = plan_of(tiny(), "distill.data=[real]")
    assert {node.stage for node in plan} == {"prepare", "teacher", "answers", "distill", "report"}
    with pytest.raises(ConfigError, match="has no stage 'generator'"):
        Selection(only="generator").chosen(plan)


def test_without_subsampling_there_is_no_ratio(tiny):
    plan = plan_of(tiny(), "candidates.subsample=false")
    assert "ratio" not in {node.stage for node in plan}


def test_a_generator_without_snapshots_does_not_wait_for_features(tiny):
    by_key = {node.key: node for node in plan_of(tiny(), "generator.snapshots=0")}
    assert set(by_key["generator"].inputs) == {"real"}
    assert set(by_key["ratio"].inputs) == {"real", "features", "generator"}


def test_without_fidelity_nothing_else_changes(tiny):
    before, after = fingerprints(plan_of(tiny())), fingerprints(plan_of(tiny(), "fidelity.enabled=false"))
    assert {key for key in before if before[key] != after.get(key)} == {"fidelity", "report"}


def test_selection_names_stages_and_follows_inputs(tiny):
    plan = plan_of(tiny())
    selection = Selection(start="ratio")
    assert {node.key for node in plan if selection.forces(node)} == {"ratio", *SAMPLING}
    assert [node.key for node in plan if Selection(force="ratio").forces(node)] == ["ratio"]
    assert [node.key for node in Selection(only="ratio").chosen(plan)] == ["ratio"]
    with pytest.raises(ConfigError, match=r"--force must be one of prepare, .* got 'rato'"):
        Selection(force="rato")


def test_statuses_say_why(tiny, tmp_path):
    store = Store(tmp_path / "store")
    path = tiny()
    for node in plan_of(path):
        store.build(node.request, lambda workspace: {})
    assert all(status.cached for status in statuses(plan_of(path), store))
    why = {
        status.node.key: status.why
        for status in statuses(plan_of(path, "synthetic.quantile=0.7"), store)
        if not status.cached
    }
    assert why["synthetic"] == "changed: synthetic.quantile 0.9 -> 0.7"
    assert why["small / ce / real+synthetic / seed 0"] == "changed: input synthetic"
    assert set(why) == {"synthetic", *SYNTHETIC_STUDENTS, "report"}


def test_planning_imports_neither_torch_nor_prefect(tiny, tmp_path):
    code = (
        "import sys; from flows.cli import main; "
        f"status = main(['stages', {str(tiny())!r}, '--store', {str(tmp_path / 'store')!r}]); "
        "heavy = {'torch', 'prefect', 'h5py', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "would run" in done.stdout
