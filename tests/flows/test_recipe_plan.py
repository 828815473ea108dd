"""Recipes in the plan: which nodes there are, what decides them, and what is refused before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from data.reading import open_set
from data.recipes.groups import write_groups
from data.writing import write_set
from flows.cli import main
from flows.config import Config
from flows.execute import Selection
from flows.loading import load_config
from flows.plan import make_plan
from flows.preflight import check_labels
from flows.recipes import check_batches, check_recipes
from flows.teacher_identity import asks_teacher

MIXED = "distill.data=[real, real+mixed]"
COMPARED = "distill.methods=[{name: kd}, {name: ckd}, {name: ckd, options: {positive: 2}, label: ckd-2}]"
SAME_CLASS = "recipes.groups.relation=same_class"
MIXES = "recipes / mixes"
PLAIN = "recipes / mixes without the teacher"


def nodes(path, *overrides):
    return {node.key: node for node in make_plan(load_config(path, overrides))}


def prints(path, *overrides):
    return {key: node.request.fingerprint for key, node in nodes(path, *overrides).items()}


def changed(path, settings, *overrides):
    before, after = prints(path, *settings), prints(path, *settings, *overrides)
    return {key for key in before if before[key] != after.get(key)}


def recipes_of(found):
    return [key for key, node in found.items() if node.stage == "recipes"]


def test_settings_of_recipes_that_nobody_uses_change_the_report_alone(tiny):
    path = tiny()
    assert not recipes_of(nodes(path))
    for override in ("recipes.mixes.alpha=0.4", "recipes.groups.seed=3", SAME_CLASS):
        assert changed(path, (), override) == {"report"}


def test_mixes_are_made_once_and_read_by_the_students_of_mixed_data(tiny):
    found = nodes(tiny(), MIXED)
    assert recipes_of(found) == [MIXES]
    assert set(found[MIXES].inputs) == {"real", "teacher"}
    assert list(found).index(MIXES) < min(list(found).index(key) for key in found if key.startswith("small"))
    mixed = [node for node in found.values() if node.arguments.get("data") == "real+mixed"]
    assert len(mixed) == 4
    for node in mixed:
        assert node.inputs["mixes"] is found[MIXES]
        assert node.request.config["distill"]["real_fraction"] == 0.5
    # What is real or synthetic is as it was.
    before, after = prints(tiny()), prints(tiny(), MIXED)
    assert all(after[key] == before[key] for key in before if key in after and key not in ("assess", "report"))
    assert found["report"].inputs[MIXES] is found[MIXES]
    assert "candidates" not in found


MIXED_STUDENTS = {f"small / {method} / real+mixed / seed {seed}" for method in ("ce", "kd") for seed in (0, 1)}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("recipes.mixes.alpha=0.4", {MIXES, *MIXED_STUDENTS, "assess", "report"}),
        ("recipes.mixes.pick=2", {MIXES, *MIXED_STUDENTS, "assess", "report"}),
        ("distill.synthetic_weight=2", {*MIXED_STUDENTS, "assess", "report"}),
        ("recipes.groups.relation=same_class", {"report"}),
        ("compute.image_memory=mapped", set()),
    ],
)
def test_what_decides_mixes_and_their_students(tiny, override, expected):
    assert changed(tiny(), (MIXED,), override) == expected


def test_the_teacher_is_asked_about_mixes_only_where_its_answers_are_read(tiny):
    found = nodes(tiny(), MIXED, "recipes.mixes.labels=mixed")
    assert set(recipes_of(found)) == {MIXES, PLAIN}
    assert set(found[PLAIN].inputs) == {"real"}
    assert "compute" not in found[PLAIN].request.config
    # Labels of both images need no teacher; a method that reads its answers does.
    assert found["small / ce / real+mixed / seed 0"].inputs["mixes"] is found[PLAIN]
    assert found["small / kd / real+mixed / seed 0"].inputs["mixes"] is found[MIXES]
    # Which labels are learnt is a matter of the students; the mixes and the answers to them stay.
    assert MIXES not in changed(tiny(), (MIXED,), "recipes.mixes.labels=mixed")
    teacher = load_config(tiny()).teacher
    assert asks_teacher("recipes", teacher, found[MIXES].inputs)
    assert not asks_teacher("recipes", teacher, found[PLAIN].inputs)
    # Picking asks about every mix that was drawn.
    picked = nodes(tiny(), MIXED, "recipes.mixes.labels=mixed", "recipes.mixes.pick=3")
    assert recipes_of(picked) == [MIXES]


def test_comparisons_are_drawn_by_stage_where_they_are_not_uniform(tiny):
    path = tiny()
    without = nodes(path, COMPARED)
    assert not recipes_of(without)
    found = nodes(path, COMPARED, SAME_CLASS)
    wanted = {f"recipes / groups of {positive} and 1 / {part}" for positive in (1, 2) for part in ("real", "synthetic")}
    assert set(recipes_of(found)) == wanted
    assert set(found["recipes / groups of 2 and 1 / real"].inputs) == {"real"}
    assert set(found["recipes / groups of 2 and 1 / synthetic"].inputs) == {"synthetic"}
    real, both = (found[f"small / ckd-2 / {data} / seed 0"].inputs for data in ("real", "real+synthetic"))
    assert real["groups"].key == both["groups"].key == "recipes / groups of 2 and 1 / real"
    assert both["synthetic_groups"].key == "recipes / groups of 2 and 1 / synthetic"
    assert "synthetic_groups" not in real
    assert not {"groups", "synthetic_groups"} & set(found["small / kd / real+synthetic / seed 0"].inputs)
    kept = {key for key in without if "kd / " in key and "ckd" not in key}
    assert kept
    assert all(without[key].request.fingerprint == found[key].request.fingerprint for key in kept)


def test_only_options_that_a_relation_reads_decide_its_comparisons(tiny):
    path, compared = tiny(), ("distill.methods=[{name: ckd}]", "distill.data=[real]")
    assert changed(path, (*compared, SAME_CLASS), "recipes.groups.neighbours=5") == {"report"}
    similar = "recipes.groups.relation=teacher_similar"
    key = "recipes / groups of 1 and 1 / real"
    assert key in changed(path, (*compared, similar), "recipes.groups.neighbours=5")
    assert set(nodes(path, *compared, similar)[key].inputs) == {"real", "answers"}


def test_options_that_uniform_comparisons_do_not_read_change_nothing(tiny):
    path, compared = tiny(), ("distill.methods=[{name: ckd}]", "distill.data=[real]")
    assert changed(path, compared, "recipes.groups.neighbours=5") == {"report"}
    assert not recipes_of(nodes(path, *compared, "recipes.groups.neighbours=5"))
    # Each of the others is read.
    for override in ("count=50", "most_per_row=9", "seed=1"):
        assert recipes_of(nodes(path, *compared, f"recipes.groups.{override}"))


def test_short_runs_compare_synthetic_rows_as_students_do_that_have_a_recipe(tiny, tmp_path):
    path, recipe = tiny(), tmp_path / "pairs.h5"
    images = np.zeros((9, 1, 2, 2), np.uint8)
    columns = {"images": images, "labels": np.arange(9) % 2, "split": np.zeros(9, np.uint8), "source_row": np.arange(9)}
    described = {"kind": "real", "label_space": CLASSES, "provenance": {}, "license": "CC0-1.0"}
    write_set(tmp_path / "real.h5", columns, **described)
    write_groups(recipe, open_set(tmp_path / "real.h5"), 1, 1, 9, 0)
    given = ("distill.methods=[{name: ckd}]", "synthetic.quantile=auto", f"distill.recipe={recipe}")
    found = nodes(path, *given, SAME_CLASS)
    assert "groups" not in found["tuning"].inputs
    asked = found["recipes / groups of 1 and 1 / synthetic"].request.config["recipes"]
    assert found["tuning"].request.config["recipes"] == asked
    assert "recipes" not in nodes(path, *given)["tuning"].request.config
    assert "tuning" in changed(path, (*given, SAME_CLASS), "recipes.groups.seed=5")
    others = (*given, SAME_CLASS, "distill.methods=[{name: kd}]")
    assert "recipes" not in nodes(path, *others)["tuning"].request.config


def test_short_runs_compare_as_students_do(tiny):
    found = nodes(tiny(), "distill.methods=[{name: ckd}]", SAME_CLASS, "synthetic.quantile=auto")
    assert found["tuning"].inputs["groups"].key == "recipes / groups of 1 and 1 / real"


def test_the_stage_can_be_named(tiny):
    plan = make_plan(load_config(tiny(), [MIXED]))
    assert [node.key for node in Selection(only="recipes").chosen(plan)] == [MIXES]
    forced = {node.key for node in plan if Selection(start="recipes").forces(node)}
    assert forced == {MIXES, *MIXED_STUDENTS, "assess", "report"}
    with pytest.raises(ConfigError, match="has no stage 'recipes': no student trains on mixed images, and"):
        Selection(only="recipes").chosen(make_plan(load_config(tiny())))


SCALAR = LabelSpace("scalar", name="angle", minimum=0, maximum=9)
VECTOR = LabelSpace("vector", axes=(Axis("a"), Axis("b")))
CLASSES = LabelSpace("class", ("a", "b"))
WIDE = {"name": "ckd", "options": {"negative": 2}}


@pytest.mark.parametrize(
    ("space", "recipes", "method", "sentence"),
    [
        (SCALAR, {"groups": {"relation": "same_class"}}, "ckd", "'same_class' is for labels with a class, got scalar"),
        (VECTOR, {"groups": {"relation": "different_class"}}, "ckd", "with a class, got vector labels; try near_label"),
        (CLASSES, {"groups": {"relation": "near_label"}}, "ckd", "for labels with values, got class labels"),
        (
            SCALAR,
            {"groups": {"relation": "near_label", "neighbours": 2}},
            {"name": "ckd", "options": {"positive": 3}},
            r"recipes\.groups\.neighbours must be at least 3 for method 'ckd', which compares groups of 3 and 1",
        ),
        (CLASSES, {"groups": {"relation": "teacher_similar", "neighbours": 1}}, WIDE, "neighbours must be at least 2"),
        (SCALAR, {"mixes": {"pick": 2}}, "mse", "recipes.mixes.pick must be 1 for scalar labels"),
        (CLASSES, {}, "ckd", "distill.data real.mixed must have methods whose rows come singly, got 'ckd'"),
    ],
)
def test_recipes_that_cannot_be_are_refused(space, recipes, method, sentence):
    data = ["real", "real+mixed"] if method == "mse" or not recipes else ["real"]
    chosen = method if isinstance(method, dict) else {"name": method}
    config = Config.model_validate({"recipes": recipes, "distill": {"methods": [chosen], "data": data}})
    with pytest.raises(ConfigError, match=sentence):
        check_recipes(config, space)
    # What nothing reads is not looked at.
    check_recipes(Config.model_validate({"recipes": recipes, "distill": {"methods": [{"name": "ce"}]}}), space)


def test_a_recipe_wins_over_a_relation_but_for_synthetic_rows():
    groups = {"relation": "same_class", "neighbours": 1}
    distill = {"methods": [{"name": "ckd"}], "recipe": "pairs.h5", "data": ["real"]}
    check_recipes(Config.model_validate({"recipes": {"groups": groups}, "distill": distill}), SCALAR)
    distill["data"] = ["real", "real+synthetic"]
    with pytest.raises(ConfigError, match="'same_class' is for labels with a class"):
        check_recipes(Config.model_validate({"recipes": {"groups": groups}, "distill": distill}), SCALAR)
    # Every variant of a method is looked at, not the last alone.
    variants = {"methods": [{**WIDE, "label": "wide"}, {"name": "ckd"}], "data": ["real"]}
    near = {"groups": {"relation": "near_label", "neighbours": 1}}
    with pytest.raises(ConfigError, match="neighbours must be at least 2"):
        check_recipes(Config.model_validate({"recipes": near, "distill": variants}), SCALAR)
    # As few neighbours as a comparison has other rows are enough.
    near = {"groups": {"relation": "near_label", "neighbours": 2}}
    check_recipes(Config.model_validate({"recipes": near, "distill": {"methods": [WIDE], "data": ["real"]}}), SCALAR)


def test_a_plan_of_mixes_that_no_method_can_use_is_refused_as_the_run_is(tiny, tmp_path, capsys):
    path = tiny(distill={"methods": [{"name": "ckd"}], "data": ["real", "real+mixed"]})
    for command in (["stages", str(path)], ["run", str(path), "--direct"]):
        assert main([*command, "--store", str(tmp_path / "store")]) == 2
        shown = capsys.readouterr()
        assert "mixed images are in none" in shown.err
        assert not shown.out
    assert not (tmp_path / "store" / "prepare").exists()
    with pytest.raises(ConfigError):
        check_labels(load_config(path))


def test_batches_need_room_for_both_kinds_of_rows():
    small = {"methods": [{"name": "ce"}], "data": ["real+mixed"], "training": {"batch_size": 1}}
    with pytest.raises(ConfigError, match="must hold a row of each kind of data, got 1; try 2"):
        check_batches(Config.model_validate({"distill": small}))
