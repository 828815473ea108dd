"""The report of a run: one self-contained page, and the same numbers as JSON.

``build.build_report`` makes both from ``inputs.ReportInputs``.
"""
