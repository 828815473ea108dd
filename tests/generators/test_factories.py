"""External generators: loaded from the user's own modules."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest

from data.errors import ConfigError, StageError
from data.labels import LabelSpace
from generators.external import load_external

CLASSES = LabelSpace("class", names=("a", "b", "c"))
SHAPE = (1, 2, 3)
ROWS = np.array([0, 1, 0]), np.arange(3, dtype=np.uint64)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a package ``house.rooms.kitchen`` beside a module; all unique to the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    folder = tmp_path / "house_of_tests" / "rooms"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('planning must not import this')\n")
    (folder / "kitchen.py").write_text("x = 1\n")
    body = """
        import numpy as np

        def make(label_space, image_shape, level=3):
            def draw(seeds, labels):
                return np.full((len(seeds), *image_shape), level, np.uint8)
            return draw

        def fails(label_space, image_shape):
            raise RuntimeError("no weights here")

        def nothing(label_space, image_shape):
            return 5

        value = 7
    """
    path = tmp_path / "renderer_of_tests.py"
    path.write_text(textwrap.dedent(body))
    yield path
    sys.modules.pop("renderer_of_tests", None)


def test_a_factory_in_the_working_directory_is_loaded_with_its_options(module):
    sampler = load_external("renderer_of_tests:make", {"level": 9}, CLASSES, SHAPE)
    assert set(sampler.sample(*ROWS).ravel()) == {9}
    assert sampler.label_space is CLASSES
    assert sampler.image_shape == SHAPE


@pytest.mark.parametrize(
    ("factory", "options", "error", "sentence"),
    [
        ("renderer_of_tests", {}, ConfigError, "must be 'module:function', got 'renderer_of_tests'"),
        ("renderer_of_tests:make:x", {}, ConfigError, "must be 'module:function'"),
        ("../x:make", {}, ConfigError, "must be 'module:function'"),
        ("absent_of_tests.x:make", {}, ConfigError, r"no module 'absent_of_tests\.x' \(no 'absent_of_tests'\)"),
        ("renderer_of_tests:absent", {}, ConfigError, "has no function 'absent'"),
        ("renderer_of_tests:value", {}, ConfigError, "has no function 'value'"),
        (
            "renderer_of_tests:make",
            {"levels": 9},
            ConfigError,
            "must take .* with the options levels, got: got an unexpected",
        ),
        ("renderer_of_tests:nothing", {}, ConfigError, "must return a function of .*, got int"),
        ("renderer_of_tests:fails", {}, StageError, r"failed \(RuntimeError: no weights here\)"),
        ("house_of_tests.rooms.kitchen:make", {}, ConfigError, "cannot be imported .*planning must not"),
    ],
)
def test_factories_that_do_not_work_are_refused(module, factory, options, error, sentence):
    with pytest.raises(error, match=sentence):
        load_external(factory, options, CLASSES, SHAPE)
