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
        ({}, ("synthetic.quantile=2",), "synthetic.quantile: input should be less than or equal to 1, got 2"),
        ({}, ("synthetic.quantile=.nan",), "synthetic.quantile"),
        ({}, ("distill.methods=[{name: kdd}]",), "distill.methods.0.name: method must be one of"),
        ({}, ("teacher.network=resnett",), "did you mean 'resnet'?"),
        ({}, ("distill.seeds=[1, 1]",), "distill.seeds must be distinct"),
        ({}, ("seed",), "--set must be key.path=value, got 'seed'"),
        ({}, ("seed.x=1",), "seed: input should be a valid integer"),
        ({"seed": 1}, ("seed.x=1",), "'seed' is no section"),
        ({}, ("seed=[",), "the value must be YAML"),
        ({}, ("profile=gpu",), "profile must be one of its profiles (none), got 'gpu'"),
        ({"profiles": {"cpu": 3}}, ("profile=cpu",), "profiles.cpu must be a mapping"),
        ("- 1\n- 2\n", (), "must hold a mapping of sections, got list"),
        ("a: [1\n", (), "must be a YAML file"),
        (
            {"source": {"kind": "digit"}},
            (),
            "source.kind must be one of 'digits', 'fashion_mnist', 'chairs', got 'digit'",
        ),
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
    sections = {"Config.source", "Config.generator", "Distill.students", "Distill.methods"}
    assert set(bare) <= sections
