from __future__ import annotations

import json
from dataclasses import replace

from flows.reporting.build import build_report
from flows.reporting.samples import Samples, label_rows
from flows.reporting.sampling import outcome_words, sampling_notes


def rewrite(inputs, change) -> None:
    path = inputs.file("candidates", "sampling.json")
    rows = json.loads(path.read_text())["labels"]
    path.write_text(json.dumps({"labels": [{**row, **change(place)} for place, row in enumerate(rows)]}))


def test_outcomes_in_words():
    one, other = {"outcome": "resampled", "rounds": 12}, {"outcome": "not subsampled", "rounds": 1}
    usual = {"outcome": "rejection", "rounds": 3}
    assert outcome_words([]) == outcome_words([usual, {}]) == ""
    assert outcome_words([one]) == "resampled after 12 rounds"
    assert outcome_words([other]) == "not subsampled after 1 round"
    assert outcome_words([usual, one, one, {**one, "rounds": 30}]) == "3 of 4 resampled after up to 30 rounds"
    assert outcome_words([one, other]) == "1 of 2 resampled after 12 rounds, 1 of 2 not subsampled after 1 round"
    assert sampling_notes([{"drawn": 3}]) == []


def page(inputs, folder) -> str:
    build_report(inputs, folder)
    return (folder / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


def test_the_table_tells_of_labels_that_were_filled_up(one_seed, tmp_path):
    assert "Subsampling" not in page(one_seed, tmp_path / "report")
    rewrite(one_seed, lambda place: {"name": f"<{place}>", "outcome": "rejection", "rounds": 4})
    assert "Subsampling" not in page(one_seed, tmp_path / "report")
    rewrite(one_seed, lambda place: {"outcome": "resampled" if place == 1 else "rejection"})
    assert [row.outcome for row in label_rows(Samples(one_seed))] == ["", "resampled after 4 rounds", ""]
    html = page(one_seed, tmp_path / "report")
    assert "1 of 3 labels got what they lacked by resampling" in html
    assert "(&lt;1&gt;)" in html
    assert html.count("by rejection") == 2


def test_a_run_without_subsampling_has_nothing_unusual(one_seed, tmp_path):
    rewrite(one_seed, lambda place: {"name": str(place), "outcome": "not subsampled", "rounds": 1})
    assert "Subsampling" in page(one_seed, tmp_path / "report")
    without = replace(one_seed, config={**one_seed.config, "candidates": {"subsample": False}})
    assert "Subsampling" not in page(without, tmp_path / "report")
