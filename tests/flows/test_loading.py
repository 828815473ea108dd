"""Configurations: files, overrides, profiles, and errors that name the nearest right key."""

from pathlib import Path

import pytest
import yaml

from data.errors import ConfigError
from flows.config import Config
from flows.loading import load_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def load(tmp_path, document, *overrides):
    path = tmp_path / "experiment.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return load_config(path, overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_load_with_every_profile(path):
    config = load_config(path)
    for profile in config.profiles:
        assert load_config(path, [f"profile={profile}"]).profile == profile


def test_there_are_the_promised_configurations():
    assert {path.stem for path in CONFIGS} >= {"digits", "chairs", "fashion_mnist"}


def test_overrides_win_over_profile_and_file(tmp_path):
    document = {
        "synthetic": {"quantile": 0.5, "scope": "global"},
        "profile": "small",
        "profiles": {"small": {"synthetic": {"quantile": 0.6}, "seed": 4}},
    }
    config = load(tmp_path, document, "synthetic.quantile=0.7")
    assert (config.synthetic.quantile, config.synthetic.scope, config.seed) == (0.7, "global", 4)
    assert load(tmp_path, document).synthetic.quantile == 0.6


def test_overrides_are_yaml(tmp_path):
    config = load(tmp_path, "", "distill.seeds=[3, 4]", "prepare.labels_per_class=null", "compute.device=cpu")
    assert config.distill.seeds == (3, 4)
    assert config.prepare.labels_per_class is None
    assert config == load(tmp_path, "distill: {seeds: [3, 4]}\ncompute: {device: cpu}\n")


@pytest.mark.parametrize(
    ("document", "overrides", "sentence"),
    [
        ({"synthetic": {"quantil": 0.5}}, (), "unknown key 'synthetic.quantil'; did you mean 'synthetic.quantile'?"),
        ({"synthetik": {}}, (), "unknown key 'synthetik'; did you mean 'synthetic'?"),
        ({"generator": {"kind": "class_gan", "stpes": 3}}, (), "did you mean 'generator.steps'?"),
        ({"quantile": 0.5}, (), "did you mean 'synthetic.quantile'?"),
        ({"xyzzy": 0.5}, (), "'stillhouse schema' lists all keys"),
        ({}, ("synthetic.quantile=1.5",), "synthetic.quantile: must be 'auto' or in [0, 1], got 1.5."),
        ({}, ("synthetic.quantile=.nan",), "synthetic.quantile: must be a finite number or 'auto', got nan."),
        ({}, ("synthetic.quantile=autto",), "synthetic.quantile: must be a number or 'auto', got 'autto'."),
        ({}, ("synthetic.quantile=[0.5]",), "synthetic.quantile: must be a number or 'auto', got [0.5]."),
        ({}, ("synthetic.count=-3",), "synthetic.count: must be 'auto' or at least 1, got -3."),
        ({}, ("synthetic.count=2.5",), "synthetic.count: must be a whole number or 'auto', got 2.5."),
        ({}, ("synthetic.count=all",), "synthetic.count: must be a whole number or 'auto', got 'all'."),
        ({}, ("synthetic.count=x", "seed=y"), "seed: must be a whole number"),
        ({}, ("tuning.quantiles=[0.9, 0.5]",), "tuning.quantiles: must be rising and in (0, 1], got 0.9, 0.5."),
        ({}, ("synthetic.error=mse",), "synthetic.error: must be 'auto', 'cross_entropy', 'one_minus_p'"),
        (
            {"teacher": {"options": {"depth": [3]}}},
            (),
            "teacher.options.depth: must be true or false, a whole number, a number or text, got [3].",
        ),
        (
            {"generator": {"kind": "external", "options": {"a": 1}}},
            (),
            "generator.factory: field required.",
        ),
        ({}, ("distill.methods=[{name: kdd}]",), "distill.methods.0.name: method must be one of"),
        ({}, ("distill.methods=[{name: kdd}]",), "that there are, got 'kdd'; did you mean 'kd'?"),
        ({}, ("distill.methods=[{name: xyzzy}]",), "got 'xyzzy'; see 'stillhouse list methods'."),
        ({}, ("distill.methods=[kd]",), "distill.methods.0: must be a section of keys, got 'kd'; try {name: kd}."),
        ({}, ("distill.methods=kd",), "distill.methods: must be a list of sections, got 'kd'; try [{name: kd}]."),
        ({}, ("distill.methods=[]",), "distill.methods: must have 1 or more items, got []."),
        (
            {},
            ("distill.methods=[{name: kd}, {name: kd}]",),
            "--set: distill.methods must be distinct, got kd, kd; t",
        ),
        ({}, ("distill.methods=[{name: kd, label: ce}]",), "label must not be the name of another method, got 'ce'"),
        ({}, ("distill.methods=[{name: kd, label: dkd+ckd}]",), "label must not be the name of another method, got"),
        ({}, ("assess.severities=[1, 1]",), "--set: assess.severities must be distinct, got 1, 1."),
        ({}, ("teacher.network=resnett",), "did you mean 'resnet'?"),
        ({}, ("distill.seeds=[1, 1]",), "distill.seeds must be distinct"),
        ({}, ("seed",), "--set must be key.path=value, got 'seed'"),
        ({}, ("seed.x=1",), "seed: must be a whole number"),
        ({"seed": 1}, ("seed.x=1",), "'seed' is no section"),
        ({}, ("seed=[",), "the value must be YAML"),
        ({}, ("profile=gpu",), "profile must be one of its profiles (none), got 'gpu'"),
        ({"profiles": {"cpu": 3}}, ("profile=cpu",), "profiles.cpu must be a mapping"),
        ("- 1\n- 2\n", (), "must hold a mapping of sections, got list"),
        ("a: [1\n", (), "must be a YAML file"),
        (
            {"source": {"kind": "digit"}},
            (),
            "source.kind must be one of the 16 that there are, got 'digit'; did you mean 'digits'?",
        ),
        ({"source": {"kind": "xyzzy"}}, (), "that there are, got 'xyzzy'; see 'stillhouse list sources'."),
        (
            {"generator": {"kind": "clas_gan"}},
            (),
            "'class_gan', 'continuous_gan', 'external', got 'clas_gan'; did you mean 'class_gan'?",
        ),
        (
            {"generator": {"kind": "xyzzy"}},
            (),
            "generator.kind must be one of 'class_gan', 'continuous_gan', 'external', got 'xyzzy'.",
        ),
        ({"source": {"kind": "image_folder"}}, (), "source.folder: field required."),
        ({"source": {"kind": "image_folder", "folder": "x", "foldr": 1}}, (), "did you mean 'source.folder'?"),
        ({"source": {"folder": "x"}}, (), "source must name its kind"),
    ],
)
def test_wrong_configurations_get_one_sentence(tmp_path, document, overrides, sentence):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document, *overrides)
    message = str(caught.value)
    assert sentence in message
    assert "\n" not in message


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml is not a file"):
        load_config(tmp_path / "absent.yaml")


def test_every_key_has_a_description():
    schema = Config.model_json_schema()
    bare = [
        f"{name}.{key}"
        for name, section in [("Config", schema), *schema["$defs"].items()]
        for key, value in section["properties"].items()
        if "description" not in value and "$ref" not in value and key != "kind"
    ]
    sections = {"Config.source", "Config.generator", "Config.teacher", "Distill.students", "Distill.methods"}
    assert set(bare) <= sections


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("ratio.widths=64", "--set: ratio.widths: must be a list such as [64, 32], got 64."),
        ("tuning.quantiles=[0.5]", "--set: tuning.quantiles: must have 2 or more items, got [0.5]."),
        ("tuning.seeds=[0,0]", "--set: tuning.seeds: must be distinct and at least 0, got 0, 0."),
        ("synthetic=0.3", "--set: synthetic: must be a section of keys, got 0.3."),
        ("audit.enabled=maybe", "--set: audit.enabled: must be true or false, got 'maybe'."),
        ("candidates.per_label=1.5", "--set: candidates.per_label: must be a whole number, got 1.5."),
        ("candidates.bound=max", "--set: candidates.bound: must be 'quantile' or 'running_maximum', got 'max'."),
    ],
)
def test_a_wrong_override_is_told_as_such(tmp_path, override, sentence):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {}, override)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("override", ["distill.methods=[{name: kdd}]", "distill.methods=[kd]"])
def test_one_wrong_item_is_one_error(tmp_path, override):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {}, override)
    message = str(caught.value)
    assert "more)" not in message
    assert "?." not in message
    assert "attentive_imitation" not in message


def test_two_wrong_items_are_counted(tmp_path):
    with pytest.raises(ConfigError, match=r"\(1 more\)$"):
        load(tmp_path, {}, "distill.methods=[{name: kdd}, {name: dkdd}]")
