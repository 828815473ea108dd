"""Stage ``synthetic``: keeps the candidates that the teacher agrees with, and relabels them. No network runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filters.teacher_filter import Relabelling
    from flows.execute import StageContext

VERSION = 1
#: What ``relabel: auto`` stands for: a class is kept, a value becomes the teacher's.
_RELABEL: dict[str, Relabelling] = {"class": "none", "scalar": "hard", "vector": "hard", "class+scalar": "values"}


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``synthetic.h5`` and ``selection.json``: thresholds, and what is kept of each class, bin or cell.

    For vectors, and classes with a scalar, ``selection.json`` also has ``axes``: what is kept of each bin of each axis.

    Raises:
        StageError: if nothing, or nothing of some class, is kept.
    """
    import numpy as np

    from data.errors import StageError
    from data.files import write_json
    from data.reading import open_set
    from data.writing import write_set
    from filters.teacher_filter import kept_rows, relabel, thresholds
    from flows.label_bins import kept_shares, label_groups

    options, workspace = context.config.synthetic, context.workspace
    candidates = open_set(context.inputs["candidates"].path("candidates.h5"))
    space = candidates.label_space
    scope = ("per_class" if space.has_classes else "global") if options.scope == "auto" else options.scope
    mode = _RELABEL[space.kind] if options.relabel == "auto" else options.relabel
    condition = np.asarray(candidates.columns["condition"])
    errors = np.asarray(candidates.columns["teacher_error"])
    groups, names = label_groups(condition, space)
    if options.quantile > 0:
        limits = thresholds(errors, groups, len(names), options.quantile, scope)
        kept = np.flatnonzero(kept_rows(errors, groups, limits))
    else:
        kept = np.zeros(0, np.int64)
    counts = np.bincount(groups[kept], minlength=len(names))
    totals = np.bincount(groups, minlength=len(names))
    lost = [name for name, total, count in zip(names, totals, counts, strict=True) if total and not count]
    if not len(kept) or (lost and space.has_classes):
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
    changed = (columns["labels"] != columns["condition"]).reshape(len(kept), -1).any(axis=1)
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
    selection: dict[str, Any] = {"quantile": options.quantile, "scope": scope, "thresholds": rows}
    if space.kind in ("vector", "class+scalar"):
        selection["axes"] = kept_shares(condition, kept, space)
    write_json(workspace.path("selection.json"), selection)
    return {
        "kept": len(kept),
        "candidates": len(candidates),
        "relabelled_share": float(changed.mean()),
        "soft_labels": mode == "soft",
        "bins_lost": sum(not row["kept"] for row in selection.get("axes", rows)),
        "teacher_calls": int(context.inputs["candidates"].metrics["teacher_calls"]),
    }
