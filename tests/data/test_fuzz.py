"""A few hundred damaged files of every kind; ``benchmarks/fuzz.py`` reads ten thousand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

MINE = ("attribute_mutants", "fuzz", "hdf5_bytes", "mutants", "record")


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    before = set(sys.modules)
    import fuzz
    import mutants

    yield fuzz, mutants
    for name in set(MINE) - before:
        sys.modules.pop(name, None)


def test_each_damaged_set_reads_right_or_is_refused_by_the_typed_error(tmp_path, tools):
    fuzz, mutants = tools
    counts = fuzz.run(mutants.make_sets(tmp_path), 300, seed=1, folder=tmp_path)
    assert counts.wrong == counts.escaped == counts.memory == []
    assert counts.right + counts.refused == counts.mutants == 300
    # Both happen, and the parser is reached behind its checksums.
    assert counts.right > 30
    assert counts.refused > 150
    assert len(counts.sentences) > 30


def test_each_damaged_file_of_the_papers_layout_gives_arrays_or_the_typed_error(tmp_path, tools):
    fuzz, mutants = tools
    counts = fuzz.run(mutants.make_foreign(tmp_path), 120, seed=1, folder=tmp_path)
    assert counts.escaped == counts.memory == []
    assert counts.right + counts.refused + len(counts.wrong) == 120
    assert counts.refused > 50


def test_a_set_that_lies_with_right_digests_is_refused_or_can_be_told_of(tmp_path, tools):
    fuzz, mutants = tools
    import attribute_mutants

    how = {"change": attribute_mutants.mutate_attributes, "judge": fuzz.is_describable}
    counts = fuzz.run(mutants.make_sets(tmp_path), 300, seed=1, folder=tmp_path, **how)
    assert counts.wrong == counts.escaped == counts.crashed == counts.hung == counts.memory == []
    assert counts.right + counts.refused == 300
    assert counts.right > 50
    # None stops at the digests.
    assert not any("recorded digest" in sentence for sentence in counts.sentences)


def test_a_mutant_is_a_function_of_its_number(tmp_path, tools):
    _, mutants = tools
    original = mutants.make_sets(tmp_path)[0]
    first, again = ([mutants.mutate(original, 3, number) for number in range(50)] for _ in range(2))
    assert first == again
    assert len({content for content, _ in first}) > 40
    assert sum("repaired" in how for _, how in first) > 10
