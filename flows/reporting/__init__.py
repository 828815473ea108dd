"""The report of a run: one self-contained page, and the same numbers as JSON."""

from __future__ import annotations

from flows.reporting.build import build_report
from flows.reporting.inputs import ReportInputs, StudentRun
from flows.reporting.results import Result, Summary, collect_results, summarise, teacher_summary
from flows.reporting.table import TableRow, results_table

__all__ = [
    "ReportInputs",
    "Result",
    "StudentRun",
    "Summary",
    "TableRow",
    "build_report",
    "collect_results",
    "results_table",
    "summarise",
    "teacher_summary",
]
