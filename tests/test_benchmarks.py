"""The benchmarks are not timed here, but each of them must still fit the code that it measures."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def test_there_are_benchmarks():
    assert len(NAMES) >= 9


def test_a_recorded_command_tells_no_folder(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    words = ["reading.py", "--folder", "/some/where", "--rounds", "9", "--folder=/else/where"]
    monkeypatch.setattr(sys, "argv", words)
    try:
        assert importlib.import_module("rounds").beginning("reading", {}, {})["command"] == (
            "python benchmarks/reading.py --rounds 9"
        )
    finally:
        for mine in set(NAMES) & (set(sys.modules) - before):
            del sys.modules[mine]
    for path in (FOLDER / "results").glob("*.json"):
        assert "--folder" not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_finds_what_it_imports_and_says_how_it_is_called(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    try:
        module = importlib.import_module(name)
        if hasattr(module, "main"):
            monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
            with pytest.raises(SystemExit) as end:
                module.main()
            assert end.value.code == 0
            assert "usage" in capsys.readouterr().out
    finally:
        for mine in set(NAMES) & (set(sys.modules) - before):
            del sys.modules[mine]
