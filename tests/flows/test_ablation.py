"""The plan of an ablation: its arms, what they share, and what stays equal."""

from collections import Counter

import pytest

from data.errors import ConfigError
from data.store import Store
from flows.ablation import make_ablation, plan_ablation
from flows.loading import load_config
from flows.plan import make_plan, statuses

CHAIRS = {
    "source": {"kind": "chairs", "types": 2, "angle_step": 5.0},
    "prepare": {"labels_per_class": None, "images_per_label": 1, "validation_images": 5, "test_images": 10},
    "generator": {"kind": "continuous_gan"},
}
ARMS = ["alone", "raw", "subsampled", "filtered", "relabelled"]


def planned(path, *overrides, seeds=None, method=None):
    ablation = make_ablation(load_config(path, overrides), seeds, method)
    return ablation, plan_ablation(ablation)


def chain(ablation):
    """What distinguishes the arms, by name."""
    return {
        arm.name: (arm.config.candidates.subsample, arm.config.synthetic.error, arm.config.synthetic.relabel)
        for arm in ablation.arms
        if arm.synthetic
    }


def test_every_arm_has_one_step_more_than_the_one_before(tiny):
    ablation, _ = planned(tiny())
    assert [arm.name for arm in ablation.arms] == ARMS
    assert chain(ablation) == {
        "raw": (False, "none", "auto"),  # auto leaves classes as they are
        "subsampled": (True, "none", "auto"),
        "filtered": (True, "auto", "auto"),
        "relabelled": (True, "auto", "soft"),
    }
    assert {arm.config.distill.data for arm in ablation.arms[1:]} == {("real+synthetic",)}
    assert ablation.arms[0].config.distill.data == ("real",)
    assert ablation.left_out == {}


@pytest.mark.parametrize(
    ("override", "plain", "last"),
    [
        ("synthetic.relabel=none", "none", "hard"),
        ("synthetic.relabel=auto", "none", "auto"),
        ("synthetic.relabel=hard", "none", "hard"),
    ],
)
def test_values_are_relabelled_by_the_teachers(tiny, override, plain, last):
    ablation, _ = planned(tiny(**CHAIRS), override)
    labels = {name: relabel for name, (_, _, relabel) in chain(ablation).items()}
    assert labels == {"raw": plain, "subsampled": plain, "filtered": plain, "relabelled": last}
    assert {arm.config.distill.methods[0].name for arm in ablation.arms} == {"mse"}


@pytest.mark.parametrize(
    ("override", "last"),
    [("synthetic.relabel=auto", "auto"), ("synthetic.relabel=none", "soft"), ("synthetic.relabel=hard", "hard")],
)
def test_a_class_with_a_value_is_relabelled_as_configured(tiny, override, last):
    sections = {**CHAIRS, "source": {**CHAIRS["source"], "label": "model+yaw"}}
    ablation, _ = planned(tiny(**sections), override)
    assert chain(ablation)["filtered"][2] == "none"
    assert chain(ablation)["relabelled"][2] == last
    assert {arm.config.distill.methods[0].name for arm in ablation.arms} == {"joint"}


def test_a_filter_that_is_configured_away_is_there_all_the_same(tiny):
    ablation, _ = planned(tiny(), "synthetic.error=none", "candidates.subsample=false")
    assert chain(ablation)["filtered"] == (True, "auto", "auto")
    ablation, _ = planned(tiny(), "synthetic.error=margin", "synthetic.scope=global")
    assert chain(ablation)["filtered"] == (True, "margin", "auto")
    assert {arm.config.synthetic.scope for arm in ablation.arms} == {"global"}


def test_what_arms_share_is_there_once_and_inputs_come_first(tiny):
    _, plan = planned(tiny(), "distill.seeds=[0,1,2,3]")
    stages = Counter(node.stage for node in plan)
    assert stages == {
        "prepare": 1, "teacher": 1, "features": 1, "generator": 1, "ratio": 1, "candidates": 2, "synthetic": 4,
        "distill": 5 * 4, "ablation": 1,
    }  # fmt: skip
    assert len({node.key for node in plan}) == len({node.request.fingerprint for node in plan}) == len(plan)
    seen = []
    for node in plan:
        assert all(any(parent is other for other in seen) for parent in node.inputs.values())
        seen.append(node)
    assert {node.key for node in plan if node.stage in ("candidates", "synthetic")} == {
        "raw: candidates", "subsampled: candidates", *(f"{arm}: synthetic" for arm in ARMS[1:]),
    }  # fmt: skip
    assert set(plan[-1].inputs) == {node.key for node in plan[:-1]}


def test_what_no_arm_reads_is_not_asked_for(tiny):
    def last(*overrides):
        return planned(tiny(), *overrides)[1][-1].request.fingerprint

    assert last("recipes.mixes.alpha=0.3", "tuning.steps=3") == last()
    assert last("recipes.groups.seed=3") != last()


def test_nodes_keep_the_configuration_of_their_arm(tiny):
    _, plan = planned(tiny())
    by_key = {node.key: node for node in plan}
    assert by_key["raw: candidates"].config.candidates.subsample is False
    assert by_key["subsampled: candidates"].config.candidates.subsample is True
    assert by_key["raw: synthetic"].config.synthetic.error == "none"
    assert by_key["relabelled: synthetic"].config.synthetic.relabel == "soft"
    assert by_key["filtered: synthetic"].inputs["candidates"] is by_key["subsampled: candidates"]


def test_everything_but_the_data_is_equal(tiny):
    _, plan = planned(tiny(), "synthetic.count=40")
    students = [node for node in plan if node.stage == "distill"]
    assert Counter(node.arguments["arm"] for node in students) == dict.fromkeys(ARMS, 3)
    for arm in ARMS:
        assert [node.request.seed for node in students if node.arguments["arm"] == arm] == [0, 1, 2]
    equal = ("student", "method", "training")
    assert len({str([node.request.config["distill"][key] for key in equal]) for node in students}) == 1
    sets = [node.request.config["synthetic"] for node in plan if node.stage == "synthetic"]
    assert {(section["quantile"], section["count"], section["scope"]) for section in sets} == {(0.9, 40, "auto")}


def test_what_a_run_has_made_is_not_made_again(tiny, tmp_path):
    path, store = tiny(distill={"seeds": [0, 1, 2]}), Store(tmp_path / "store")
    for node in make_plan(load_config(path)):
        store.build(node.request, lambda workspace: {})
    _, plan = planned(path)
    waiting = {status.node.key for status in statuses(plan, store) if not status.cached}
    seeds = range(3)
    assert waiting == {
        "raw: candidates", "raw: synthetic", "subsampled: synthetic", "relabelled: synthetic", "ablation",
        *(f"{arm}: small / seed {seed}" for arm in ("raw", "subsampled", "relabelled") for seed in seeds),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("configured", "given", "expected"),
    [("[0,1]", None, (0, 1, 2)), ("[5,6,7]", None, (5, 6, 7)), ("[0]", (4, 2, 9, 0), (4, 2, 9, 0))],
)
def test_seeds_are_three_at_least(tiny, configured, given, expected):
    ablation, _ = planned(tiny(), f"distill.seeds={configured}", seeds=given)
    assert {arm.config.distill.seeds for arm in ablation.arms} == {expected}


def test_a_method_with_a_teacher_asks_it_for_the_real_images(tiny):
    methods = "distill.methods=[{name: ce}, {name: kd, options: {temperature: 2.0}}]"
    ablation, plan = planned(tiny(), methods, method="kd")
    assert {arm.config.distill.methods[0].options["temperature"] for arm in ablation.arms} == {2.0}
    students = [node for node in plan if node.stage == "distill"]
    assert len(students) == 15
    assert all("answers" in node.inputs for node in students)


def test_methods_can_be_joined(tiny):
    methods = "distill.methods=[{name: ce}, {name: kd+dkd, options: {kd.temperature: 2.0}}]"
    ablation, plan = planned(tiny(), methods, method="kd+dkd")
    assert {arm.config.distill.methods[0].options["kd.temperature"] for arm in ablation.arms} == {2.0}
    assert {node.arguments["method"] for node in plan if node.stage == "distill"} == {"kd+dkd"}
    with pytest.raises(ConfigError, match="kd\\+kd"):
        planned(tiny(), method="kd+kd")


def test_a_student_that_the_ratio_reads_is_the_student_alone(tiny):
    _, plan = planned(tiny(), "ratio.features=student")
    ratio = next(node for node in plan if node.stage == "ratio")
    assert ratio.inputs["student"].key == "alone: small / seed 0"
    _, plan = planned(tiny(), "ratio.features=student", method="kd")
    ratio = next(node for node in plan if node.stage == "ratio")
    assert ratio.inputs["student"].key == "small / ce / real / seed 0"
    assert sum("arm" in node.arguments for node in plan) == 15


def test_an_arm_that_cannot_be_is_left_out(tiny, tmp_path):
    ablation, plan = planned(tiny(), "synthetic.quantile=1")
    assert list(chain(ablation)) == ["raw", "subsampled", "relabelled"]
    assert "quantile is 1" in ablation.left_out["filtered"]
    assert plan[-1].request.config["ablation"]["left_out"] == ablation.left_out

    ablation, plan = planned(tiny(**CHAIRS), "ratio.features=generator")
    assert list(chain(ablation)) == ["raw", "filtered", "relabelled"]
    assert {subsample for subsample, _, _ in chain(ablation).values()} == {False}
    assert "no density ratio" in ablation.left_out["subsampled"]
    assert Counter(node.stage for node in plan)["candidates"] == 1
    assert "ratio" not in {node.stage for node in plan}
    overrides = ("ratio.features=generator", "generator.density_ratio_weight=0.1")
    assert "subsampled" in chain(planned(tiny(**CHAIRS), *overrides)[0])


@pytest.mark.parametrize(
    ("overrides", "arguments", "sentence"),
    [
        (["synthetic.quantile=auto"], {}, "synthetic.quantile must be a number for ablate"),
        (["synthetic.count=auto"], {}, "the tuning stage of a run chose: --set synthetic.count=NUMBER"),
        ([], {"seeds": (0, 1)}, "--seeds must be at least 3 different numbers"),
        ([], {"seeds": (0, 1, 1)}, "--seeds must be at least 3 different numbers"),
        ([], {"seeds": (0, 1, -1)}, "from 0 up, got 0,1,-1"),
        ([], {"method": "kdd"}, "did you mean 'kd'?"),
    ],
)
def test_what_cannot_be_compared_is_refused(tiny, overrides, arguments, sentence):
    with pytest.raises(ConfigError, match="must be") as caught:
        planned(tiny(), *overrides, **arguments)
    assert sentence in str(caught.value)


def test_a_label_chooses_a_variant_of_a_method(tiny):
    methods = "distill.methods=[{name: kd, options: {temperature: 8.0}, label: hot}, {name: kd, label: plain}]"
    for method, options in (("hot", {"temperature": 8.0}), ("plain", {}), ("kd", {"temperature": 8.0})):
        _, plan = planned(tiny(), methods, method=method)
        students = [node for node in plan if "arm" in node.arguments]
        assert students
        assert all(node.request.config["distill"]["method"]["options"] == options for node in students)
