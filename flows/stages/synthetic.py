"""Stage ``synthetic``: keeps the candidates that the teacher agrees with, and relabels them. No network runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1
_LABEL_BINS = 18


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``synthetic.h5`` and ``selection.json`` (thresholds, and what each label keeps).

    Raises:
        StageError: if nothing, or nothing of some class, is kept.
    """
    import numpy as np

    from data.errors import StageError
    from data.files import write_json
    from data.reading import open_set
    from data.writing import write_set
    from filters.teacher_filter import kept_rows, relabel, thresholds

    options, workspace = context.config.synthetic, context.workspace
    candidates = open_set(context.inputs["candidates"].path("candidates.h5"))
    space = candidates.label_space
    scalar = space.kind == "scalar"
    scope = ("global" if scalar else "per_class") if options.scope == "auto" else options.scope
    mode = ("hard" if scalar else "none") if options.relabel == "auto" else options.relabel
    condition = np.asarray(candidates.columns["condition"])
    errors = np.asarray(candidates.columns["teacher_error"])
    if scalar:
        edges = np.linspace(space.minimum, space.maximum, _LABEL_BINS + 1)
        groups = np.clip(np.searchsorted(edges, condition, side="right") - 1, 0, _LABEL_BINS - 1)
        names = [f"{edges[k]:g} to {edges[k + 1]:g} {space.unit}".strip() for k in range(_LABEL_BINS)]
    else:
        groups, names = condition, list(space.names)
    if options.quantile > 0:
        limits = thresholds(errors, groups, len(names), options.quantile, scope)
        kept = np.flatnonzero(kept_rows(errors, groups, limits))
    else:
        kept = np.zeros(0, np.int64)
    counts = np.bincount(groups[kept], minlength=len(names))
    totals = np.bincount(groups, minlength=len(names))
    lost = [name for name, total, count in zip(names, totals, counts, strict=True) if total and not count]
    if not len(kept) or (lost and not scalar):
        what = "no candidate at all" if not len(kept) else f"no candidate of {', '.join(lost)}"
        raise StageError(
            f"synthetic: quantile {options.quantile:g} ({scope}) keeps {what}; raise synthetic.quantile, "
            f"or set synthetic.scope to per_class."
        )
    outputs = candidates.take("teacher_outputs", kept)
    columns = {
        name: candidates.take(name, kept) for name in ("images", "condition", "teacher_error", "density_ratio", "seed")
    }
    columns["labels"] = relabel(condition[kept], outputs, space, mode)
    columns["teacher_outputs"] = outputs
    columns["source_row"] = kept.astype(np.int64)
    changed = float(np.mean(columns["labels"] != columns["condition"]))
    write_set(
        workspace.path("synthetic.h5"),
        columns,
        kind="synthetic",
        label_space=space,
        license=candidates.license,
        provenance={
            "candidates": context.inputs["candidates"].fingerprint,
            "candidates_content": candidates.content_sha256,
            "quantile": options.quantile,
            "scope": scope,
            "relabel": mode,
            "kept": len(kept),
            "of": len(candidates),
        },
    )
    rows = [
        {"label": name, "threshold": float(limit), "candidates": int(total), "kept": int(count)}
        for name, limit, total, count in zip(names, limits, totals, counts, strict=True)
        if total
    ]
    write_json(workspace.path("selection.json"), {"quantile": options.quantile, "scope": scope, "thresholds": rows})
    return {
        "kept": len(kept),
        "candidates": len(candidates),
        "relabelled_share": changed,
        "soft_labels": mode == "soft",
        "bins_lost": len(lost),
        "teacher_calls": int(context.inputs["candidates"].metrics["teacher_calls"]),
    }
