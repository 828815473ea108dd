"""Stage ``report``: tables, plots and provenance of a run as one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 2


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``report.html`` and ``report.json``."""
    from flows.reporting.build import build_report
    from flows.reporting.inputs import ReportInputs, StudentRun

    shared = {name: artifact for name, artifact in context.inputs.items() if artifact.manifest["stage"] != "distill"}
    students = [
        StudentRun.of(node, context.inputs[name])
        for name, node in context.node.inputs.items()
        if node.stage == "distill"
    ]
    inputs = ReportInputs(
        name=context.config.name,
        config=dict(context.node.request.config),
        folders={name: artifact.folder for name, artifact in shared.items()},
        manifests=_with_teacher({name: dict(artifact.manifest) for name, artifact in shared.items()}),
        students=students,
    )
    report = build_report(inputs, context.workspace.folder)
    return {"students": len(students), "sentence": report["sentence"]}


def _with_teacher(manifests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The manifests, with the test figures of a teacher that only the stage ``assess`` could measure."""
    teacher = manifests["teacher"]
    judged = manifests.get("assess", {}).get("metrics", {}).get("teacher_figures", [])
    if not judged or "figures" in teacher["metrics"]:
        return manifests
    first = {name: judged[0][name] for name in ("metric", "value", "unit")}
    return {**manifests, "teacher": {**teacher, "metrics": {**teacher["metrics"], **first, "figures": judged}}}
