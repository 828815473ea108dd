"""Options are checked against what they configure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import ConfigError
from data.options import check_options
from students.methods import make_method
from students.networks import make_network


def test_whole_numbers_become_floats_where_floats_are_expected() -> None:
    checked = check_options("it", {"rate": 1, "count": 3, "name": "x"}, {"rate": 0.5, "count": 1, "name": ""})
    assert checked == {"rate": 1.0, "count": 3, "name": "x"}
    assert type(checked["rate"]) is float


@pytest.mark.parametrize("value", ["4", True, None, [4.0]])
def test_values_of_another_type_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="'temperature' of method 'kd' must be of type float, got"):
        make_method("kd", {"temperature": value})


def test_a_float_is_no_whole_number() -> None:
    with pytest.raises(ConfigError, match=r"'depth' of network 'resnet' must be of type int, got 8\.0"):
        make_network("resnet", {"depth": 8.0}, (1, 8, 8), 2)


def test_unknown_options_name_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'temperature'") as caught:
        make_method("kd", {"temprature": 4.0})
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="did you mean 'channels'"):
        make_network("convnet", {"channel": 4}, (1, 8, 8), 2)
    with pytest.raises(ConfigError, match="known: none"):
        make_method("ce", {"zzz": 1})


def test_unknown_names_name_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'imitation'"):
        make_method("immitation")
    with pytest.raises(ConfigError, match="did you mean 'resnet'"):
        make_network("resnet2", {}, (1, 8, 8), 2)


def test_methods_are_checked_without_torch() -> None:
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys; from students.methods import make_method, methods; "
        "[make_method(name) for name in methods.names()]; print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
