"""The report of a run: one self-contained page, and the same numbers as JSON."""

from __future__ import annotations

from flows.reporting.build import build_report
from flows.reporting.inputs import ReportInputs, StudentRun
from flows.reporting.results import Result, Summary, TableRow, collect_results, results_table, summarise

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
]
