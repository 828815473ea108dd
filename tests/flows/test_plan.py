"""Plans: order, fingerprints, what a changed key makes run again, and that planning stays light."""

import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import ConfigError
from data.store import Artifact, Store
from flows.cli import main
from flows.execute import Selection
from flows.loading import load_config
from flows.plan import make_plan, statuses
from flows.reporting.inputs import StudentRun
from flows.tuning import TUNING_SHARE, tuning_steps


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
    assert [node.stage for node in plan[:10]] == [
        "prepare", "teacher", "answers", "features", "generator", "ratio", "candidates", "fidelity", "synthetic",
        "audit",
    ]  # fmt: skip
    assert [node.stage for node in plan[10:]] == ["distill"] * 8 + ["assess", "report"]


ALL_STUDENTS = {
    f"small / {m} / {d} / seed {s}" for m in ("ce", "kd") for d in ("real", "real+synthetic") for s in (0, 1)
}
SYNTHETIC_STUDENTS = {key for key in ALL_STUDENTS if "synthetic" in key}
TEACHER_STUDENTS = {key for key in ALL_STUDENTS if "kd" in key} | SYNTHETIC_STUDENTS
SAMPLING = {"candidates", "fidelity", "synthetic", "audit", *SYNTHETIC_STUDENTS, "assess", "report"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("synthetic.quantile=0.7", {"synthetic", "audit", *SYNTHETIC_STUDENTS, "assess", "report"}),
        ("audit.images=70", {"audit", "report"}),
        ("tuning.seeds=[2,3]", {"report"}),
        ("candidates.per_label=13", SAMPLING),
        ("ratio.steps=5", {"ratio", *SAMPLING}),
        ("generator.steps=4", {"generator", "ratio", *SAMPLING}),
        ("features.steps=5", {"features", "generator", "ratio", *SAMPLING}),
        ("fidelity.images=70", {"fidelity", "report"}),
        ("teacher.training.steps=7", {"teacher", "answers", *SAMPLING, *TEACHER_STUDENTS}),
        ("distill.training.steps=6", {*ALL_STUDENTS, "assess", "report"}),
        ("distill.real_fraction=0.25", {"audit", *SYNTHETIC_STUDENTS, "assess", "report"}),
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
    assert {node.stage for node in plan} == {"prepare", "teacher", "answers", "distill", "assess", "report"}
    with pytest.raises(ConfigError, match="has no stage 'generator': no student trains on synthetic data"):
        Selection(only="generator").chosen(plan)


@pytest.mark.parametrize(
    ("override", "stage", "why"),
    [
        ("assess.enabled=false", "assess", "assess.enabled is false"),
        ("audit.enabled=false", "audit", "audit.enabled is false"),
        ("fidelity.enabled=false", "fidelity", "fidelity.enabled is false"),
        ("candidates.subsample=false", "ratio", "candidates.subsample is false"),
        ("synthetic.quantile=0.5", "tuning", "neither synthetic.quantile nor synthetic.count is auto"),
        ("distill.data=[real]", "synthetic", "no student trains on synthetic data"),
    ],
)
def test_a_stage_that_is_not_there_is_told_with_its_reason(tiny, override, stage, why):
    with pytest.raises(ConfigError, match=f"has no stage '{stage}': {why}\\."):
        Selection(only=stage).chosen(plan_of(tiny(), override))


def test_without_subsampling_there_is_no_ratio(tiny):
    plan = plan_of(tiny(), "candidates.subsample=false")
    assert "ratio" not in {node.stage for node in plan}


def test_a_generator_without_snapshots_does_not_wait_for_features(tiny):
    by_key = {node.key: node for node in plan_of(tiny(), "generator.snapshots=0")}
    assert set(by_key["generator"].inputs) == {"real"}
    assert set(by_key["ratio"].inputs) == {"real", "features", "generator"}


def inputs_of(path, *overrides):
    return {node.key: set(node.inputs) for node in plan_of(path, *overrides)}


@pytest.mark.parametrize(
    ("overrides", "ratio", "candidates"),
    [
        (("ratio.features=classifier",), {"features"}, {"features"}),
        (("ratio.features=autoencoder",), set(), set()),
        (("ratio.features=teacher",), {"teacher"}, set()),
        (("ratio.features=student",), {"student"}, {"student"}),
        (("ratio.features=generator",), set(), set()),
        (("ratio.features=generator", "ratio.vicinity_gaps=6"), {"features"}, {"features"}),
    ],
)
def test_the_ratio_and_its_use_get_the_networks_that_they_read(tiny, overrides, ratio, candidates):
    inputs = inputs_of(tiny(), *overrides)
    assert inputs["ratio"] == {"real", "generator", *ratio}
    assert inputs["candidates"] == {"real", "teacher", "generator", "ratio", *candidates}


def test_the_student_that_the_ratio_reads_is_one_of_the_results(tiny):
    plan = plan_of(tiny(), "ratio.features=student")
    by_key = {node.key: node for node in plan}
    alone = by_key["small / ce / real / seed 0"]
    assert by_key["ratio"].inputs["student"] is alone
    assert [node.key for node in plan].count(alone.key) == 1
    assert by_key["report"].inputs[alone.key] is alone
    # The same student is read where no result is asked of it.
    only = plan_of(tiny(), "ratio.features=student", "distill.methods=[{name: kd}]", "distill.data=[real+synthetic]")
    assert "small / ce / real / seed 0" in {node.key for node in only}
    assert "small / ce / real / seed 0" not in only[-1].inputs


def test_options_of_the_autoencoder_count_only_where_there_is_one(tiny):
    assert changed(tiny(), "ratio.autoencoder.steps=7") == {"report"}
    assert "ratio" in set(fingerprints(plan_of(tiny(), "ratio.features=autoencoder")))
    before, after = (
        {node.key: node.request.fingerprint for node in plan_of(tiny(), "ratio.features=autoencoder", *more)}
        for more in ((), ("ratio.autoencoder.steps=7",))
    )
    assert before["ratio"] != after["ratio"]


@pytest.mark.parametrize(
    ("settings", "override"),
    [
        *(("candidates.subsample=false", f"candidates.{name}") for name in (
            "burn_in=40", "bound=running_maximum", "bound_quantile=0.5", "least_acceptance=0.5", "max_draws=7",
            "fallback=none",
        )),
        ("ratio.features=generator", "ratio.steps=7"),
        ("ratio.features=generator", "ratio.penalty=batch"),
        ("synthetic.count=auto", "tuning.quantiles=[0.2,0.4]"),
        ("synthetic.quantile=auto", "tuning.shares=[0.2,0.4]"),
    ],
)  # fmt: skip
def test_options_that_have_no_effect_make_nothing_again(tiny, settings, override):
    before, after = fingerprints(plan_of(tiny(), settings)), fingerprints(plan_of(tiny(), settings, override))
    assert {key for key in before if before[key] != after[key]} == {"report"}


def test_short_runs_choose_only_what_is_left_to_them(tiny):
    assert "tuning" not in inputs_of(tiny())
    for override in ("synthetic.quantile=auto", "synthetic.count=auto"):
        inputs = inputs_of(tiny(), override)
        assert inputs["tuning"] == {"real", "candidates"}
        assert inputs["synthetic"] == {"candidates", "tuning"}
    # A method that reads the teacher's answers needs them in the short runs too.
    assert inputs_of(tiny(), "synthetic.count=auto", "distill.methods=[{name: kd}]")["tuning"] == {
        "real", "candidates", "answers",
    }  # fmt: skip


@pytest.mark.parametrize(
    "overrides", [("synthetic.quantile=auto",), ("synthetic.quantile=auto", "synthetic.count=auto")]
)
def test_short_runs_take_at_most_their_share_of_the_students_steps(tiny, overrides):
    config = load_config(tiny(), [*overrides, "distill.training.steps=4000"])
    settings = 1 + len(config.tuning.quantiles) + (len(config.tuning.shares) if len(overrides) == 2 else 0)
    total = tuning_steps(config) * settings * len(config.tuning.seeds)
    assert 0.9 * TUNING_SHARE * 8 * 4000 < total <= TUNING_SHARE * 8 * 4000
    assert tuning_steps(load_config(tiny(), [*overrides, "tuning.steps=17"])) == 17


def test_without_the_audit_nothing_else_changes(tiny):
    before, after = fingerprints(plan_of(tiny())), fingerprints(plan_of(tiny(), "audit.enabled=false"))
    assert {key for key in before if before[key] != after.get(key)} == {"audit", "report"}


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
    assert set(why) == {"synthetic", "audit", *SYNTHETIC_STUDENTS, "assess", "report"}


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


@pytest.mark.parametrize("command", [["stages"], ["run", "--dry-run"], ["ablate", "--dry-run"]])
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("synthetic.error=absolute", "synthetic.error: "),
        ("synthetic.scope=per_window", "synthetic.scope: "),
        ("ratio.vicinity_gaps=6", "ratio.vicinity_gaps must be 0 for class labels"),
        ("ratio.features=generator", "must have a generator that learns a density ratio"),
        ("synthetic.count=9", "synthetic.count must be at least the number of classes, 10, got 9."),
    ],
)
def test_a_plan_that_cannot_run_is_refused_as_the_run_is(tiny, tmp_path, capsys, command, override, sentence):
    name, *more = command
    assert main([name, str(tiny()), "--store", str(tmp_path), "--set", override, *more]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert not shown.out


def test_variants_of_a_method_are_told_apart_by_labels_that_decide_nothing(tiny):
    def students(*methods):
        path = tiny(distill={"methods": list(methods), "data": ["real"], "seeds": [0]})
        return {node.key: node for node in plan_of(path) if node.stage == "distill"}

    warm = {"name": "kd", "options": {"temperature": 2.0}}
    both = students({"name": "kd"}, {**warm, "label": "kd-t2"})
    assert list(both) == ["small / kd / real / seed 0", "small / kd-t2 / real / seed 0"]
    plain, labelled = both.values()
    (unlabelled,) = students(warm).values()
    assert labelled.request.fingerprint == unlabelled.request.fingerprint != plain.request.fingerprint
    assert labelled.arguments["method"] == "kd-t2"
    assert labelled.request.config["distill"]["method"] == warm
    assert "label" not in labelled.request.config["distill"]["method"]
    run = StudentRun.of(labelled, Artifact(Path("nowhere"), {"metrics": {}}))
    assert (run.method, run.shown, run.words) == ("kd", "kd-t2", "kd-t2")


def test_the_student_that_the_ratio_reads_has_the_options_of_its_method(tiny):
    method = {"name": "ce", "label": "own"}
    path = tiny(distill={"methods": [method]}, ratio={"features": "student"})
    keys = [node.key for node in plan_of(path) if node.stage == "distill"]
    assert len(set(keys)) == len(keys)
    assert "small / own / real / seed 0" in keys
