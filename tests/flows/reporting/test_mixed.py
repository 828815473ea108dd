"""Three kinds of training data beside each other: words, comparisons, the matrix of many methods, and the plots."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.reporting.calls import stage_calls
from flows.reporting.drawing import DATA_COLOURS
from flows.reporting.effects_matrix import effects_matrix
from flows.reporting.inputs import ReportInputs, StudentRun
from flows.reporting.plots import results_plot
from flows.reporting.results import collect_results, summarise
from flows.reporting.verdict import effects, sentence
from flows.reporting.wording import plain_words

KINDS = ("real", "real+synthetic", "real+mixed")
VALUES = {
    ("ce", "real"): [90.0, 90.4, 90.2],
    ("ce", "real+synthetic"): [92.0, 92.3, 92.2],
    ("ce", "real+mixed"): [94.0, 94.3, 94.1],
    ("kd", "real"): [91.0, 91.3, 91.2],
    ("kd", "real+synthetic"): [91.1, 91.2, 91.4],
    ("kd", "real+mixed"): [89.0, 89.2, 89.3],
}


def summaries(values=VALUES):
    runs = [
        StudentRun(
            "small", method, data, seed, Path("nowhere"),
            {"metrics": {"steps": 500, "metric": "accuracy", "unit": "%", "value": value, "teacher_calls": 7}},
        )
        for (method, data), row in values.items()
        for seed, value in enumerate(row)
    ]  # fmt: skip
    return summarise(collect_results(runs))


def test_a_student_of_mixed_data_is_called_what_it_is():
    assert plain_words("ce", "real+mixed") == "real + mixed"
    assert plain_words("kd", "real+mixed") == "KD on real + mixed"
    rows = summaries()
    assert "raining on real + mixed data, the best of 5 alternatives on the test images, helped" in sentence(rows, None)
    taught = {key: row for key, row in VALUES.items() if key in (("ce", "real"), ("kd", "real+mixed"))}
    assert "Nothing helped: KD on real + mixed data gives" in sentence(summaries(taught), None)


def test_what_was_added_is_compared_with_the_real_data_alone():
    found = {effect.name: effect for effect in effects(summaries())}
    assert set(found) == {
        "KD against labels only", "KD against labels only, both on real + synthetic",
        "KD against labels only, both on real + mixed", "synthetic data added, with labels only",
        "mixed data added, with labels only", "synthetic data added, with KD", "mixed data added, with KD",
    }  # fmt: skip
    assert found["mixed data added, with labels only"].difference == pytest.approx(94.1333 - 90.2, abs=1e-3)
    assert found["mixed data added, with labels only"].verdict == "better"
    assert found["mixed data added, with KD"].verdict == "worse"
    assert found["synthetic data added, with KD"].verdict == "noise"


def test_the_matrix_has_a_column_for_everything_that_is_added():
    matrix = effects_matrix(summaries())
    assert matrix.columns == (
        "Method added, real", "Method added, real + synthetic", "Method added, real + mixed", "Synthetic added",
        "Mixed added",
    )  # fmt: skip
    cells = {name: [cell.difference for cell in row] for name, _, row in matrix.rows}
    assert cells["labels only"] == ["", "", "", "+1.97 points", "+3.93 points"]
    assert [text[:1] for text in cells["KD"]] == ["+", "\N{MINUS SIGN}", "\N{MINUS SIGN}", "+", "\N{MINUS SIGN}"]
    # Without real data alone there is nothing that anything is added to.
    without = {key: row for key, row in VALUES.items() if key[1] != "real"}
    assert effects_matrix(summaries(without)).columns == (
        "Method added, real + synthetic",
        "Method added, real + mixed",
    )


def test_kinds_of_data_have_colours_of_their_own_in_every_plot():
    assert set(DATA_COLOURS) == set(KINDS)
    assert len(set(DATA_COLOURS.values())) == 3
    assert "series-2" not in DATA_COLOURS.values()
    many = {(f"{method}{place}", data): row for (method, data), row in VALUES.items() for place in range(2)}
    plot = results_plot(summaries(many), {"value": 97.0})
    assert ("series-4", "real + mixed") in plot.legend
    assert plot.svg.count("var(--series-4)") >= 4 * 3
    # A kind keeps its colour where another one is missing.
    fewer = {key: row for key, row in many.items() if key[1] != "real+synthetic"}
    fewer |= {(f"{method}3", data): row for (method, data), row in fewer.items()}
    assert ("series-4", "real + mixed") in results_plot(summaries(fewer), None).legend


def test_answers_of_all_lists_of_mixes_are_counted():
    def manifest(**metrics):
        return {"stage": "recipes", "metrics": metrics}

    manifests = {
        "recipes / mixes": manifest(teacher_calls=60, paid_calls=50),
        "recipes / mixes without the teacher": manifest(mixes=20),
        "recipes / groups of 1 and 1 / real": manifest(groups=9),
    }
    calls = stage_calls(ReportInputs("run", {}, {}, manifests))
    assert [(row.stage, row.words, row.used, row.paid) for row in calls.stages] == [("recipes", "mixed images", 60, 50)]
