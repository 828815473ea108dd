"""Stage ``synthetic``: keeps the candidates that the teacher agrees with, and relabels them. No network runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 2
_COPIED = ("images", "condition", "teacher_outputs", "teacher_error", "density_ratio", "seed")


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``synthetic.h5`` and ``selection.json``: thresholds, and what is kept of each class, window, bin or cell.

    For vectors, and classes with a scalar, ``selection.json`` also has ``axes``: what is kept of each bin of each axis.
    Images are copied from file to file, a block at a time.

    Raises:
        StageError: if nothing, or nothing of some class, is kept.
    """
    import numpy as np

    from data.files import write_json
    from data.reading import Selected, open_set
    from data.writing import write_set
    from filters.teacher_filter import LEAST_ROWS
    from flows.coverage import axis_shares, coverage_sentence, kept_shares, lost_coverage
    from flows.filtering import CandidateFilter

    options, workspace = context.config.synthetic, context.workspace
    candidates = open_set(context.inputs["candidates"].path("candidates.h5"))
    space = candidates.label_space
    chosen = CandidateFilter(candidates, options)
    quantile, count = _chosen(context)
    kept, limits = chosen.keep(quantile)
    taken = chosen.take(kept, count)
    if count is not None and count > len(kept):
        context.warn(f"synthetic.count is {count}, but the filter keeps {len(kept)} images: all of them are taken.")

    labels = chosen.labels(taken)
    settings = {
        "quantile": quantile,
        "count": count,
        "error": options.error,
        "scope": chosen.scope,
        "relabel": chosen.relabelling,
    }
    columns: dict[str, Any] = {name: Selected(candidates.columns[name], taken) for name in _COPIED}
    write_set(
        workspace.path("synthetic.h5"),
        {**columns, "labels": labels, "source_row": taken},
        kind="synthetic",
        label_space=space,
        license=candidates.license,
        provenance={
            "candidates": context.inputs["candidates"].fingerprint,
            "candidates_content": candidates.content_sha256,
            **settings,
            "kept": len(kept),
            "of": len(candidates),
        },
    )

    groups, names = chosen.groups
    present = np.unique(groups)
    in_set = np.bincount(groups[taken], minlength=len(names))
    rows = [
        {**row, "threshold": limit, "taken": number}
        for row, limit, number in zip(
            kept_shares(groups, names, kept), limits[present].tolist(), in_set[present].tolist(), strict=True
        )
    ]
    axes = axis_shares(chosen.condition, kept, space, options.windows) if space.label_shape else []
    overall = len(kept) / len(candidates)
    lost = lost_coverage([*rows, *axes], overall)
    sentence = coverage_sentence(lost, overall, chosen.scope, space)
    if sentence:
        context.warn(sentence)
    shared = sum(row["candidates"] < LEAST_ROWS for row in rows) if chosen.scope == "per_window" else 0
    selection: dict[str, Any] = {
        **settings,
        "windows": options.windows,
        "thresholds": rows,
        "share": overall,
        "lost": [{**row} for row in lost],
        "sentence": sentence,
        "windows_with_global_threshold": shared,
    }
    if axes:
        selection["axes"] = axes
    write_json(workspace.path("selection.json"), selection)
    changed = (labels != chosen.condition[taken]).reshape(len(taken), -1).any(axis=1)
    return {
        "kept": len(kept),
        "taken": len(taken),
        "candidates": len(candidates),
        "quantile": quantile,
        "relabelled_share": float(changed.mean()),
        "soft_labels": chosen.relabelling == "soft",
        "bins_lost": sum(not row["kept"] for row in axes or rows),
        "coverage_lost": len(lost),
        "teacher_calls": int(context.inputs["candidates"].metrics["teacher_calls"]),
    }


def _chosen(context: StageContext) -> tuple[float, int | None]:
    """Quantile and count: those of the configuration, or what stage ``tuning`` chose where they are auto."""
    import json

    quantile, count = context.config.synthetic.quantile, context.config.synthetic.count
    if isinstance(quantile, str) or isinstance(count, str):
        found = json.loads(context.inputs["tuning"].path("tuning.json").read_text(encoding="utf-8"))
        quantile = found["quantile"]["chosen"] if isinstance(quantile, str) else quantile
        count = found["count"]["chosen"] if isinstance(count, str) else count
    return quantile, count
