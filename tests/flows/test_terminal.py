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
