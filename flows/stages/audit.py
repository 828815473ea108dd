"""Stage ``audit``: copies of real images, balance, label noise, and what limits students that learn from the set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.compute import Compute
    from data.labels import LabelSpace
    from data.reading import ImageSet
    from filters.audit.two_sample import Gap
    from flows.execute import StageContext
    from flows.stages.common import RealSet

VERSION = 1
FILE = "audit.json"
#: Synthetic images that are compared with one validation image when the gap is measured, at most.
_PARTNERS = 4


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``audit.json`` and a picture of the nearest pairs for each part of the real set.

    Test images serve to count and list copies of them alone, and nothing depends on this stage. The teacher runs on
    validation images, the feature network on these and on as many synthetic ones.
    """
    import numpy as np

    from data.files import write_json
    from data.reading import open_set
    from filters.audit.bound import error_bound
    from filters.audit.noise import label_noise, teacher_against
    from flows.auditing.copies import audit_copies
    from flows.auditing.words import advice, copy_verdicts
    from flows.stages.common import RealSet, compute_of
    from flows.teachers import judging_teacher

    compute, workspace = compute_of(context.config), context.workspace
    real = RealSet.of(context.inputs["real"])
    synthetic = open_set(context.inputs["synthetic"].path("synthetic.h5"))
    space, training, validation = real.label_space, real.train, real.validation
    copies = audit_copies(context, real, synthetic, compute)
    workspace.report("audit", 1, 3)

    with judging_teacher(context, compute) as teacher:
        answers = None if teacher is None else teacher.answer(validation.images)
        paid = {} if teacher is None else teacher.paid()
    outputs, labels = (np.asarray(synthetic.columns[name]) for name in ("teacher_outputs", "labels"))
    soft = bool(context.inputs["synthetic"].metrics["soft_labels"])
    noise: dict[str, Any] = {
        "before": teacher_against(outputs, np.asarray(synthetic.columns["condition"]), space),
        "after": teacher_against(outputs, labels, space),
        "validation": None if answers is None else teacher_against(answers, validation.labels, space),
        "soft": soft,
    }
    noise["estimate"] = label_noise(noise["after"], noise["validation"], soft=soft)
    workspace.report("audit", 2, 3)

    gap = _gap(context, real, synthetic, compute)
    bound = error_bound(
        len(training.rows),
        copies["distinct"],
        context.config.distill.real_fraction,
        gap=gap["value"],
        noise=noise["estimate"]["total"],
    )
    found: dict[str, Any] = {
        "format": 1,
        "label_space": space.to_dict(),
        "seed": context.seed,
        "real_fraction": context.config.distill.real_fraction,
        "rows": {"synthetic": len(synthetic), "training": len(training.rows), "validation": len(validation.rows)},
        "copies": copies,
        "balance": _balance(labels, training.labels, space),
        "noise": noise,
        "gap": gap,
        "bound": bound.to_dict(),
        "verdicts": copy_verdicts(copies),
        "advice": advice(bound, noise["estimate"], gap),
    }
    write_json(workspace.path(FILE), found)
    workspace.report("audit", 3, 3)
    for verdict in found["verdicts"]:
        if verdict["warn"]:
            context.warn(verdict["sentence"])
    asked = 0 if answers is None else len(answers)
    return _metrics(found) | {"teacher_calls_to_judge": asked} | paid


def _balance(labels: npt.NDArray[Any], training: npt.NDArray[Any], space: LabelSpace) -> dict[str, Any]:
    """Balance over classes, bins or cells; where labels have several parts, over the bins of each value as well."""
    from filters.audit.balance import balance
    from flows.label_bins import axis_bins, label_groups

    groups, names = label_groups(labels, space)
    found = balance(groups, label_groups(training, space)[0], names)
    found["axes"] = []
    if space.kind in ("vector", "class+scalar"):
        made, real = space.continuous_part(labels), space.continuous_part(training)
        for place, axis in enumerate(space.dimensions):
            bins, names = axis_bins(made[:, place], axis)
            found["axes"].append({"axis": axis.name, **balance(bins, axis_bins(real[:, place], axis)[0], names)})
    return found


def _gap(context: StageContext, real: RealSet, synthetic: ImageSet, compute: Compute) -> dict[str, Any]:
    """Distance of synthetic from validation images at the same labels, in the pooled features, and its noise."""
    import numpy as np

    from data.random import derive_seed
    from data.reading import Selected
    from filters.audit.equal_images import first_of_each
    from filters.audit.two_sample import LEAST_SAMPLES, null_gaps, two_sample_gap
    from filters.features import load_extractor, pooled_features
    from flows.auditing.copies import sample_rows
    from generators.fidelity.matching import rows_at_labels

    most, seed = context.config.audit.images, derive_seed(context.seed, "gap")
    validation = real.validation
    chosen = sample_rows(len(validation.rows), most, seed)
    partners = int(np.clip(most // max(1, len(chosen)), 1, _PARTNERS))
    pool = sample_rows(len(synthetic), _PARTNERS * most, seed)
    wanted = np.repeat(validation.labels[chosen], partners, axis=0)
    places = rows_at_labels(wanted, synthetic.take("labels", pool), real.label_space)
    rows = pool[places[places >= 0]]
    # Copies of one image on both sides of a fold would be recognised, and not told apart.
    rows = rows[first_of_each(synthetic.take("images", rows))]
    counts = {"validation": len(chosen), "synthetic": len(rows)}
    if len(chosen) < 2 * LEAST_SAMPLES or len(rows) < LEAST_SAMPLES:
        reason = (
            f"The gap was not measured: it needs {2 * LEAST_SAMPLES} validation images and {LEAST_SAMPLES} "
            f"synthetic ones of their labels, and there are {len(chosen)} and {len(rows)}; raise "
            "prepare.validation_images or candidates.per_label."
        )
        return {"value": None, "error": None, "null_mean": None, "null_high": None, "reason": reason, **counts}
    network = load_extractor(context.inputs["features"].folder, compute)
    held_out = pooled_features(network, validation.images[chosen], compute)
    images = Selected(synthetic.columns["images"], rows)
    made = np.concatenate([pooled_features(network, images[places], compute) for places in _blocks(len(rows), context)])
    found: Gap = two_sample_gap(held_out, made, seed)
    null = null_gaps(held_out, seed)
    return {
        "value": found.value,
        "error": found.error,
        "null_mean": float(null.mean()),
        "null_high": float(np.quantile(null, 0.95)),
        "dimensions": held_out.shape[1],
        **counts,
    }


def _blocks(count: int, context: StageContext) -> list[npt.NDArray[np.int64]]:
    import numpy as np

    size = 4 * context.config.compute.block_rows
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def _metrics(found: dict[str, Any]) -> dict[str, Any]:
    copies, bound = found["copies"], found["bound"]
    numbers: dict[str, Any] = {"distinct": copies["distinct"]}
    for name, part in copies["parts"].items():
        numbers |= {f"exact_{name}": part["exact"], f"near_{name}": part["compared"]["share"]}
        numbers |= {f"near_{name}_control": part["control"]["share"], f"repeated_{name}": part["repeated"]}
    return numbers | {
        "balance_entropy": found["balance"]["entropy"],
        "groups_missing": len(found["balance"]["missing"]),
        "label_noise": found["noise"]["estimate"]["total"],
        "gap": found["gap"]["value"],
        "gap_error": found["gap"]["error"],
        "gap_null": found["gap"]["null_high"],
        **{f"term_{name}": bound[name] for name in ("images", "gap", "labels", "alone")},
        "largest_term": bound["largest"],
    }
