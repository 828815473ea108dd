"""What the terminal shows: whole numbers in 80 columns, and one line for each finished stage."""

import io

import pytest
from rich.console import Console

from flows.terminal import show_results

REPORT = {
    "run": "digits",
    "metric": "accuracy",
    "sentence": "Synthetic data helped.",
    "teacher": {"value": 98.0},
    "summary": [
        {"student": "a-student-with-a-long-name", "method": method, "data": data, "mean": 91.234, "std": std,
         "seeds": 3, "steps": 12000, "difference": difference, "metric": "accuracy", "unit": "%"}
        for method, data, std, difference in (
            ("ce", "real", 0.5, None), ("kd", "real+synthetic", 1.25, 2.5), ("ce", "real+synthetic", None, -1.0)
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_are_never_cut(width):
    console = Console(file=io.StringIO(), width=width)
    show_results(console, REPORT)
    text = console.file.getvalue()
    for whole in (
        "98.00",
        "91.23 ± 0.50",
        "91.23 ± 1.25",
        "+2.50",
        "-1.00",
        "12000",
        "accuracy [%]",
        "seeds",
        "change",
    ):
        assert whole in text
    assert "Synthetic data helped." in text


def test_every_figure_has_a_table_of_its_own():
    both = {
        **REPORT,
        "teacher": {
            "value": 98.0,
            "figures": [
                {"metric": "accuracy", "value": 98.0, "unit": "%", "of": ""},
                {"metric": "mae", "value": 1.25, "unit": "degree", "of": ""},
            ],
        },
        "summary": [
            *REPORT["summary"],
            *({**row, "metric": "mae", "unit": "degree", "mean": 3.5} for row in REPORT["summary"]),
        ],
    }
    console = Console(file=io.StringIO(), width=100)
    show_results(console, both)
    first, second = console.file.getvalue().split("accuracy [%]")[1].split("mae [degree]")
    assert "98.00" in first
    assert "1.25" not in first.replace("± 1.25", "")
    assert first.count("91.23") == second.count("3.50") == 3
    assert "1.25" in second.replace("± 1.25", "")
    assert console.file.getvalue().count("Synthetic data helped.") == 1


def test_a_teacher_that_was_not_measured_is_said_to_be_so():
    for teacher in (None, {"value": None, "figures": []}):
        console = Console(file=io.StringIO(), width=100)
        show_results(console, {**REPORT, "teacher": teacher})
        assert "not measured" in console.file.getvalue()


def test_the_best_of_each_student_has_a_line_of_what_was_assessed():
    row = {
        "student": "small",
        "method": "kd",
        "data": "real",
        "size": {"parameters": 1362},
        "agreement": {"top1": {"mean": 94.63, "std": 0.8}},
        "calibration": {"ece": {"mean": 1.83, "std": 0.1}},
        "robustness": {"accuracy": {"mean": {"mean": 58.69, "std": 7.0}}},
    }
    other = {**row, "method": "ce"}
    best = [{**REPORT["summary"][0], "student": "small", "data": "real", "method": "kd", "best": True}]
    console = Console(file=io.StringIO(), width=200)
    show_results(console, {**REPORT, "summary": best, "assessment": {"summary": [other, row]}})
    (line,) = [line for line in console.file.getvalue().splitlines() if "parameters" in line]
    assert line == (
        "small, KD: 1,362 parameters, agrees with the teacher on 94.6 % of the test images, calibration error 1.8 %, "
        "accuracy 58.69 % on corrupted images."
    )
    bare = {**row, "agreement": None, "calibration": {"residuals": []}, "robustness": None}
    console = Console(file=io.StringIO(), width=200)
    show_results(console, {**REPORT, "summary": best, "assessment": {"summary": [bare]}})
    assert "small, KD: 1,362 parameters.\n" in console.file.getvalue()


def printed(report, width=100):
    console = Console(file=io.StringIO(), width=width)
    show_results(console, report)
    return console.file.getvalue()


def test_steps_are_those_taken_and_who_stopped_is_told():
    rows = [
        {**row, "steps": 300, "steps_taken": taken}
        for row, taken in zip(REPORT["summary"], ([300] * 3, [70] * 3, [70, 130, 300]), strict=True)
    ]
    text = printed({**REPORT, "summary": rows, "stopped": ["Stopped early: KD after 70 [seed 0] steps."]}, 120)
    assert [line.split("│")[5].strip() for line in text.splitlines() if "a-student" in line] == [
        "300", "70 of 300", "70–300 of 300",
    ]  # fmt: skip
    assert "Stopped early: KD after 70 [seed 0] steps." in text


def test_the_direction_of_an_error_is_told():
    rows = [{**row, "metric": "mae", "unit": "degree"} for row in REPORT["summary"]]
    assert "less is better" in printed({**REPORT, "metric": "mae", "summary": rows})
    assert "less is better" not in printed(REPORT)


def test_what_was_assessed_is_wrapped_and_a_label_stands_for_its_method():
    row = {
        "student": "small", "method": "kd-t2", "data": "real", "size": {"parameters": 1362},
        "agreement": {"top1": {"mean": 94.63, "std": 0.8}}, "calibration": {"ece": {"mean": 1.83, "std": 0.1}},
        "robustness": {"mae": {"mean": {"mean": 5.25, "std": 7.0}}},
    }  # fmt: skip
    best = {**REPORT["summary"][0], "student": "small", "data": "real", "method": "kd-t2", "words": "kd-t2"}
    best |= {"metric": "mae", "unit": "degree", "best": True}
    text = printed({**REPORT, "summary": [best], "assessment": {"summary": [row]}}, 60)
    assert max(map(len, text.splitlines())) <= 60
    assert "small, kd-t2: 1,362 parameters" in text
    assert "mae 5.25° on corrupted images." in " ".join(text.split())
