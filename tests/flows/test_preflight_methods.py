"""Methods that cannot take the data are refused before anything trains, with a remedy of their own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data import factories
from data.errors import ConfigError
from data.labels import LabelSpace
from flows import preflight as checks
from flows.loading import load_config
from flows.preflight import check_labels, preflight


@dataclass(frozen=True)
class FakeSource:
    """What checks read of a source."""

    label_space: LabelSpace
    image_shape: tuple[int, int, int]


@pytest.mark.parametrize(
    ("name", "options", "classes", "channels", "message"),
    [
        ("lskd", {}, 2, 1, "'lskd' must have at least 3 classes, got 2; try kd"),
        (
            "dtkd",
            {"center": True},
            2,
            1,
            "'dtkd' must have at least 3 classes, got 2; try center false and exact false",
        ),
        ("dtkd", {"exact": True}, 2, 1, "'dtkd' must have at least 3 classes, got 2; try center false and exact false"),
        ("kd+dtkd", {"dtkd.exact": True}, 2, 1, "got 2; try center false and exact false for dtkd"),
        ("r2kd", {"centered": True}, 2, 1, "'r2kd' must have at least 3 classes, got 2; try centered false"),
        (
            "r2kd",
            {"augment": "autoaugment"},
            4,
            2,
            "'r2kd' must have images of 1 or 3 channels, got 2; try augment cutmix",
        ),
        ("augmented_kd", {"augment": "autoaugment"}, 4, 4, "'augmented_kd' must have .* got 4; try augment cutmix"),
        (
            "mlld",
            {},
            4,
            2,
            "'mlld' must have images of 1 or 3 channels, got 2; try augmented_kd, whose cutmix takes any",
        ),
        ("kd+mlld", {}, 4, 2, "got 2; try augmented_kd, whose cutmix takes any for mlld"),
        ("dtkd", {}, 2, 2, None),
        ("r2kd", {}, 2, 2, None),
        ("augmented_kd", {}, 2, 4, None),
        ("mlld", {}, 2, 3, None),
    ],
)
def test_classes_and_channels_that_do_not_fit(
    tiny: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: dict[str, Any],
    classes: int,
    channels: int,
    message: str | None,
) -> None:
    space = LabelSpace("class", tuple("abcdef"[:classes]))
    monkeypatch.setattr(checks, "make_source", lambda config: FakeSource(space, (channels, 8, 8)))
    config = load_config(tiny(distill={"methods": [{"name": name, "options": options}], "data": ["real"]}), ())
    if message is None:
        check_labels(config)
        return
    with pytest.raises(ConfigError, match=message):
        check_labels(config)


SOURCE = """
from torch import nn

def make(image_shape, outputs, bias=True):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs, bias=bias))
"""


def test_a_student_whose_outputs_cannot_be_moved(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(factories, "_trusted", set())
    (tmp_path / "moving_of_tests.py").write_text(SOURCE)

    def config(bias: bool, recenter_bias: bool) -> Any:
        options = {"factory": "moving_of_tests:make", "bias": bias}
        section = {
            "students": [{"name": "own", "network": "factory", "options": options}],
            "methods": [{"name": "kd"}, {"name": "ckd", "options": {"recenter_bias": recenter_bias}}],
            "data": ["real"],
        }
        return load_config(tiny(distill=section), ())

    preflight(config(bias=True, recenter_bias=True))
    preflight(config(bias=False, recenter_bias=False))
    with pytest.raises(ConfigError, match="must end in a linear layer with a bias, got 'factory'"):
        preflight(config(bias=False, recenter_bias=True))
    sys.modules.pop("moving_of_tests", None)
