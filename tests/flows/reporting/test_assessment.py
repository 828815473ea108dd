"""The section on teacher and students, teacher answers by stage, many methods, and students that stopped early."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from flows.reporting.assessment import _note, assessment_section, read_assessment
from flows.reporting.build import build_report
from flows.reporting.calls import stage_calls
from flows.reporting.curves import student_curves
from flows.reporting.effects_matrix import effects_matrix
from flows.reporting.groups import group_results, headline_groups, squared_groups
from flows.reporting.inputs import ReportInputs
from flows.reporting.results import collect_results, summarise
from flows.reporting.stopping import stopped_note
from flows.reporting.table import results_table
from flows.reporting.verdict import compare, sentence
from flows.reporting.wording import method_words, plain_words
from students.methods import methods

CLASSES = LabelSpace("class", ("zero", "one", "two"))
SPACES = {
    "digits": CLASSES,
    "chairs": LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0, maximum=90),
    "pose": LabelSpace(
        "vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("tilt", "degree", 0, 9), Axis("size", "", 0.5, 1.5))
    ),
    "models": LabelSpace(
        "class+scalar", ("stool", "chair", "bench"), name="yaw angle", unit="degree", minimum=0, maximum=90
    ),
}


def page_of(run) -> str:
    return (run.folder / "report.html").read_text(encoding="utf-8")


def with_metrics(inputs: ReportInputs, change) -> ReportInputs:
    """The same run, where ``change(place, metrics)`` gives metrics of each student that are added to its own."""
    students = [
        replace(run, manifest={**run.manifest, "metrics": {**run.manifest["metrics"], **change(place, run)}})
        for place, run in enumerate(inputs.students)
    ]
    return replace(inputs, students=students)


def test_every_method_has_a_name_of_its_own_in_words():
    names = [method_words(name) for name in methods.names()]
    assert len(set(names)) == len(names) >= 20
    assert not [name for name in names if "_" in name]
    assert plain_words("dtkd+ckd", "real+synthetic") == "DTKD + CKD on real + synthetic"
    assert plain_words("ce+ckd", "real") == "cross-entropy + CKD"
    assert plain_words("own", "real") == "own"
    assert plain_words("kd", "real+synthetic", "kd-t2") == "kd-t2 on real + synthetic"
    assert plain_words("joint", "real", "heavy") == "student alone (heavy)"


def test_the_table_has_the_means_of_the_seeds(many):
    found = json.loads((many.folder / "report.json").read_text(encoding="utf-8"))["assessment"]
    section = assessment_section(many.inputs, headline_groups(groups_of(many.inputs))[0].summaries)
    titles = [title for title, _ in section.columns]
    assert titles == ["Agreement [%]", "KL [nats]", "ECE [%]", "NLL [nats]", "Accuracy, corrupted [%]", "Its drop"]
    assert len(section.rows) == 1 + 28
    assert section.rows[0][:2] == ("teacher", "")
    assert section.rows[0][2][:2] == ("—", "—")
    words, student, cells = section.rows[-1]
    assert (words, student) == ("DTKD + CKD on real + synthetic", "tiny")
    entries = [row for row in found["summary"] if row["method"] == "dtkd+ckd" and row["data"] == "real+synthetic"]
    (entry,) = entries
    assert cells[0] == f"{entry['agreement']['top1']['mean']:.1f} ± {entry['agreement']['top1']['std']:.1f}"
    # Half of the severities take five points, so that the mean is two and a half below.
    assert cells[-1] == "2.50 ± 0.00"
    page = page_of(many)
    assert page.count("Student and teacher") == 1
    for text in (*titles, *cells, "5.5 KiB", "31\N{NARROW NO-BREAK SPACE}234"):
        assert text.replace("&", "&amp;") in page


def groups_of(inputs: ReportInputs):
    return group_results(summarise(collect_results(inputs.students)), inputs.manifests.get("teacher"))


def test_latency_is_in_milliseconds_with_its_ratio(many):
    section = assessment_section(many.inputs, groups_of(many.inputs)[0].summaries)
    assert section.size_columns[3:] == ("Time of 1 image", "As fast as the teacher, at 1 image")
    assert [row[0] for row in section.sizes] == ["teacher", "tiny"]
    ratios = np.array([4.0, 6.0, 2.0])
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    assert section.sizes[1][2][3:] == ("1.00 ms", f"{middle:.2f} × ({low:.2f}–{high:.2f})")
    # The teacher is not compared with itself.
    assert section.sizes[0][2][3:] == ("6.00 ms", "")
    assert "cpu with 1 thread in fp32" in section.size_note


@pytest.mark.parametrize("name", SPACES)
def test_every_label_space_has_its_columns(name, request, assess, tmp_path):
    space = SPACES[name]
    inputs = assess(request.getfixturevalue(name).inputs, tmp_path, space)
    section = assessment_section(inputs, headline_groups(groups_of(inputs))[0].summaries)
    titles = [title for title, _ in section.columns]
    expected = {
        "digits": ["Agreement [%]", "Its drop"],
        "chairs": ["From teacher [degree]", "Bias [degree]", "Error, corrupted [degree]", "Its rise"],
        "pose": ["Yaw from teacher [degree]", "Size from teacher", "Size bias", "Error, corrupted [% of range]"],
        "models": ["Agreement [%]", "From teacher [degree]", "ECE [%]", "Bias [degree]", "Error, corrupted [degree]"],
    }[name]
    assert set(expected) <= set(titles)
    assert bool(section.reliability) == space.has_classes
    assert len(section.severities) == 2
    report = build_report(inputs, tmp_path / "report")
    assert report["assessment"]["summary"][0]["seeds"] == [0, 1, 2]


def test_what_was_not_measured_is_said_and_left_out(digits, assess, tmp_path):
    inputs = assess(digits.inputs, tmp_path, CLASSES)
    path = tmp_path / "assess" / "assess.json"
    found = json.loads(path.read_text())
    for entry in found["summary"]:
        entry |= {"agreement": None, "robustness": None}
    path.write_text(json.dumps({**found, "teacher": None, "skipped": ["Nobody asked."], "corruptions": []}))
    times = json.loads((tmp_path / "assess" / "latency.json").read_text())
    times["batches"]["1"] = {
        "teacher": None,
        "students": {"tiny": {"seconds": {"median": 2.0, "low": 1.0, "high": 3.0}}},
    }
    (tmp_path / "assess" / "latency.json").write_text(json.dumps(times))
    section = assessment_section(inputs, groups_of(inputs)[0].summaries)
    assert [title for title, _ in section.columns] == ["ECE [%]", "NLL [nats]"]
    assert [row[0] for row in section.sizes] == ["tiny"]
    assert section.sizes[0][2][3:] == ("2000.0 ms",)
    assert section.severities == ()
    build_report(inputs, tmp_path / "report")
    assert "Nobody asked." in (tmp_path / "report" / "report.html").read_text()


def test_a_run_without_the_stage_has_no_section(digits):
    assert read_assessment(digits.inputs) is None
    assert assessment_section(digits.inputs, ()) is None
    assert "Student and teacher" not in page_of(digits)


def test_many_methods_stand_in_a_matrix_and_in_panels(many):
    summaries = groups_of(many.inputs)[0].summaries
    matrix = effects_matrix(summaries)
    assert matrix.columns == ("Method added, real", "Method added, real + synthetic", "Synthetic added")
    assert len(matrix.rows) == 14
    rows = {name: cells for name, _, cells in matrix.rows}
    assert [cell.difference for cell in rows["labels only"]] == ["", "", "+1.00 points"]
    by = {(row.method, row.data): row for row in summaries}
    made = compare(by["dkd", "real"], by["ce", "real"], summaries)
    first = rows["DKD"][0]
    assert (first.difference, first.verdict) == (f"{made.difference:+.2f} points", made.verdict)
    panels = student_curves(many.inputs.students)
    assert len(panels) == 14
    assert panels[0].title == "tiny: labels only"
    assert [text for _, text in panels[1].legend] == ["student alone", "real", "real + synthetic"]
    page = page_of(many)
    assert page.count('class="matrix"') == 1
    assert "the best of 27 alternatives on the test images, helped" in page


def test_few_methods_are_compared_row_by_row(digits):
    page = page_of(digits)
    assert 'class="matrix"' not in page
    assert "synthetic data added, with labels only" in page
    assert "alternatives on the test images" not in page


def test_squared_errors_stand_beside_the_results(chairs, tmp_path):
    def more(place, run):
        value = run.manifest["metrics"]["value"]
        return {
            "figures": [
                {"metric": "mae", "value": value, "unit": "degree", "of": ""},
                {"metric": "rmse", "value": 1.5 * value, "unit": "degree", "of": ""},
            ]
        }

    inputs = with_metrics(chairs.inputs, more)
    groups = groups_of(inputs)
    assert [group.metric for group in headline_groups(groups)] == ["mae"]
    (squared,) = squared_groups(groups)
    assert squared.summaries[0].mean == pytest.approx(1.5 * groups[0].summaries[0].mean)
    report = build_report(inputs, tmp_path)
    assert len(report["results"]) == 9
    assert {row["metric"] for row in report["summary"]} == {"mae"}
    assert [row["metric"] for row in report["squared"]] == ["rmse"] * 3
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    table = page[page.index("Root mean squared error") :]
    assert "yaw angle [degree]" in table
    assert f"{squared.summaries[0].mean:.2f} ± {squared.summaries[0].std:.2f}" in table


def test_a_teacher_without_a_value_breaks_nothing(digits, tmp_path):
    blank = {**digits.inputs.manifests["teacher"], "metrics": {"parameters": None}}
    inputs = replace(digits.inputs, manifests={**digits.inputs.manifests, "teacher": blank})
    report = build_report(inputs, tmp_path)
    assert report["teacher"]["value"] is None
    assert "the teacher reaches" not in report["sentence"]
    (group,) = groups_of(inputs)
    assert results_table(group.summaries, group.teacher)[0].value == "—"


def test_students_that_stopped_early_keep_their_budget_and_are_named(digits, tmp_path):
    def stopped(place, run):
        if (run.data, run.seed) != ("real", 1):
            return {"stopped_early": 0.0}
        return {"stopped_early": 1.0, "steps": 30.0}

    inputs = with_metrics(digits.inputs, stopped)
    configured = {"distill": {"training": {"steps": 50}}}
    inputs = replace(
        inputs, students=[replace(run, manifest={**run.manifest, "config": configured}) for run in inputs.students]
    )
    (note,) = stopped_note(inputs.students)
    assert note.endswith("student alone after 30 (seed 1) steps.")
    rows = summarise(collect_results(inputs.students))
    assert [(row.steps, len(row.seeds)) for row in rows] == [(50, 3)] * 3
    assert [row.steps for row in results_table(rows, None)] == ["30–50 of 50", "50", "50"]
    report = build_report(inputs, tmp_path)
    assert report["stopped"] == [note]
    assert [row["steps_taken"] for row in report["summary"]] == [[50, 30, 50], [50] * 3, [50] * 3]
    assert sorted({row["steps"] for row in report["results"]}) == [30, 50]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Every student was allowed the same 50 optimiser steps" in page
    assert note in page
    assert stopped_note(digits.inputs.students) == []


def test_teacher_answers_are_listed_by_stage(digits, tmp_path):
    def told(stage: str, **numbers) -> dict:
        return {**digits.inputs.manifests["answers"], "stage": stage, "metrics": numbers}

    manifests = {
        **digits.inputs.manifests,
        "answers": told("answers", teacher_calls=200, paid_calls=150),
        "candidates": told("candidates", teacher_calls=2000, paid_calls=0),
        "audit": told("audit", teacher_calls_to_judge=0),
    }
    inputs = replace(digits.inputs, manifests=manifests, config={"teacher": {"max_calls": 5000}})
    calls = stage_calls(inputs)
    assert [(row.stage, row.used, row.paid) for row in calls.stages] == [
        ("answers", 200, 150),
        ("candidates", 2000, 0),
    ]
    assert calls.paid
    assert "5\N{NARROW NO-BREAK SPACE}000 calls" in calls.note
    report = build_report(inputs, tmp_path)
    assert report["calls"]["budget"] == 5000
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.search(r"Answers used</th>\s*<th[^>]*>Newly paid", page)


def test_a_teacher_that_costs_nothing_has_no_column_of_payments(digits):
    manifests = {"answers": {"metrics": {"teacher_calls": 90}}}
    calls = stage_calls(ReportInputs("run", {}, {}, manifests))
    assert not calls.paid
    assert calls.note.startswith("The teacher runs here")
    assert stage_calls(ReportInputs("run", {}, {}, {})).stages == ()
    assert "Teacher answers by stage" not in page_of(digits)


def test_the_best_of_many_is_said_to_be_that(many):
    summaries = groups_of(many.inputs)[0].summaries
    text = sentence(summaries, None)
    assert text.startswith(
        "DTKD + CKD on real + synthetic data, the best of 27 alternatives on the test images, helped"
    )


def test_a_teacher_in_every_step_is_told_beside_its_answers(digits, tmp_path):
    students = [
        replace(run, manifest={**run.manifest, "inputs": {"real": "r", "teacher": "t"}}) if run.method == "kd" else run
        for run in digits.inputs.students
    ]
    inputs = replace(digits.inputs, students=students)
    (group,) = groups_of(inputs)
    cells = {row.method: row.teacher_calls for row in results_table(group.summaries, None)}
    assert cells["kd"] == "180 + live"
    assert "live" not in cells["ce"]
    build_report(inputs, tmp_path)
    assert "Live: the teacher was run in every step" in (tmp_path / "report.html").read_text()
    assert "Live:" not in page_of(digits)


def test_it_is_said_how_many_images_were_corrupted(many):
    def words(**changes):
        found = {**read_assessment(many.inputs), **changes}
        return " ".join(_note(found, CLASSES).split())

    assert "Corruption was measured on 150 of the test images" in words()
    assert "Corruption was measured" not in words(corrupted_images=200)
    assert "Corruption was measured" not in words(corruptions=[], corrupted_images=0)
