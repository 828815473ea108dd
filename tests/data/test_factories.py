"""Factories: identified without importing anything, imported, and trusted only when the user names them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data import factories
from data.errors import ConfigError
from data.factories import check_trusted, factory_identity, import_factory, trust_factory


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a package ``house_of_tests.rooms.kitchen`` beside a module; all unique to the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    folder = tmp_path / "house_of_tests" / "rooms"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('planning must not import this')\n")
    (folder / "kitchen.py").write_text("x = 1\n")
    path = tmp_path / "renderer_of_tests.py"
    path.write_text("def make(*shape, level=3):\n    return shape, level\n")
    yield path
    sys.modules.pop("renderer_of_tests", None)


def test_a_factory_in_the_working_directory_is_imported(module):
    assert import_factory("renderer_of_tests:make", "some.key")(1, 2, level=4) == ((1, 2), 4)


def test_messages_name_the_key_of_the_configuration(module):
    with pytest.raises(ConfigError, match=r"^some\.key must be 'module:function', got 'x'"):
        import_factory("x", "some.key")
    with pytest.raises(ConfigError, match=r"^some\.key must be .* no function 'absent'"):
        import_factory("renderer_of_tests:absent", "some.key")
    with pytest.raises(ConfigError, match=r"^some\.key: there is no module 'absent_of_tests'"):
        factory_identity("absent_of_tests:make", "some.key")


def test_what_only_a_file_names_is_not_trusted(monkeypatch):
    monkeypatch.setattr(factories, "_trusted", set())
    trust_factory("mine:make")
    check_trusted("mine:make", "model card")
    with pytest.raises(ConfigError, match=r"^model card names the factory 'os:system'.*--factory os:system"):
        check_trusted("os:system", "model card")


def test_identity_is_that_of_the_file_and_imports_nothing(module):
    before = set(sys.modules)
    assert factory_identity("renderer_of_tests:make", "some.key") == hashlib.sha256(module.read_bytes()).hexdigest()
    kitchen = Path("house_of_tests/rooms/kitchen.py")
    assert (
        factory_identity("house_of_tests.rooms.kitchen:make", "some.key")
        == hashlib.sha256(kitchen.read_bytes()).hexdigest()
    )
    module.write_text("changed = True\n")
    assert factory_identity("renderer_of_tests:make", "some.key") == hashlib.sha256(b"changed = True\n").hexdigest()
    assert not {name for name in set(sys.modules) - before if "of_tests" in name}
    nested = Path("spaces_of_tests/inner")
    nested.mkdir(parents=True)
    (nested / "leaf.py").write_text("y = 2\n")
    assert factory_identity("spaces_of_tests.inner.leaf:make", "some.key") == hashlib.sha256(b"y = 2\n").hexdigest()


def test_identity_of_what_has_no_file_is_its_distribution(module):
    # A namespace package has no file.
    Path("spaces_of_tests").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.metadata.packages_distributions", lambda: {"spaces_of_tests": ["numpy"]})
        assert factory_identity("spaces_of_tests:make", "some.key") == f"numpy {np.__version__}"
    with pytest.raises(ConfigError, match=r"no module 'renderer_of_tests\.absent'"):
        factory_identity("renderer_of_tests.absent:make", "some.key")
    with pytest.raises(ConfigError, match="must lie in a module with a file, or of an installed distribution"):
        factory_identity("sys:exit", "some.key")


def test_planning_imports_no_torch():
    code = (
        "import sys, data.factories as e; e.factory_identity('data.errors:x', 'key'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
