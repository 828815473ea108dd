"""Stage ``ablation``: what each step of the data path adds, as one table and one plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext
    from flows.reporting.inputs import StudentRun

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``ablation.html``, ``ablation.json``, and ``ablation.png`` with the plot alone."""
    from data.reading import open_set
    from flows.reporting.ablation.build import build_ablation
    from flows.reporting.ablation.inputs import AblationInputs, Arm

    section = dict(context.node.request.config)
    described = section.pop("ablation")
    manifests = {name: dict(artifact.manifest) for name, artifact in context.inputs.items()}
    students = _students(context)
    arms = [
        Arm(
            name=entry["arm"],
            students=tuple(students[entry["arm"]]),
            settings=_settings(context, entry) if "synthetic" in entry else {},
            candidates=manifests.get(entry.get("candidates", "")),
            synthetic=manifests.get(entry.get("synthetic", "")),
        )
        for entry in described["arms"]
    ]
    inputs = AblationInputs(
        name=context.config.name,
        config=section,
        arms=tuple(arms),
        left_out=described["left_out"],
        manifests=manifests,
        real=open_set(context.inputs["prepare"].path("real.h5")),
    )
    result = build_ablation(inputs, context.workspace.folder)
    return {"arms": [arm.name for arm in arms], "sentence": result["sentence"]}


def _settings(context: StageContext, entry: dict[str, Any]) -> dict[str, Any]:
    """How an arm's images were chosen and labelled; what was auto is resolved, as its selection says."""
    import json

    chosen = json.loads(context.inputs[entry["synthetic"]].path("selection.json").read_text(encoding="utf-8"))
    names = ("error", "quantile", "count", "scope", "relabel")
    return {"subsample": entry["subsample"], **{name: chosen[name] for name in names}}


def _students(context: StageContext) -> dict[str, list[StudentRun]]:
    """The trained students of every arm."""
    from flows.reporting.inputs import StudentRun

    students: dict[str, list[StudentRun]] = {}
    for name, node in context.node.inputs.items():
        # A student that only the density ratio reads belongs to no arm.
        if "arm" in node.arguments:
            students.setdefault(node.arguments["arm"], []).append(StudentRun.of(node, context.inputs[name]))
    return students
