"""Stage ``report``: tables, plots and provenance of a run as one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``report.html`` and ``report.json``."""
    from flows.reporting.build import build_report
    from flows.reporting.inputs import ReportInputs, StudentRun

    shared = {name: artifact for name, artifact in context.inputs.items() if artifact.manifest["stage"] == name}
    students = [
        StudentRun.of(node, context.inputs[name])
        for name, node in context.node.inputs.items()
        if node.stage == "distill"
    ]
    inputs = ReportInputs(
        name=context.config.name,
        config=dict(context.node.request.config),
        folders={name: artifact.folder for name, artifact in shared.items()},
        manifests={name: dict(artifact.manifest) for name, artifact in shared.items()},
        students=students,
    )
    report = build_report(inputs, context.workspace.folder)
    return {"students": len(students), "sentence": report["sentence"]}
