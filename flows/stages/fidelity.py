"""Stage ``fidelity``: how near generated images are to real ones. Nothing else depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.compute import Compute
    from flows.execute import StageContext
    from flows.stages.common import Part
    from generators.fidelity.assessment import Observed
    from generators.fidelity.extraction import Extract

VERSION = 1
FILE = "fidelity.json"


class Labelled(NamedTuple):
    """Images uint8 (n, C, H, W), their labels, and the validation rows that share these, (n,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]
    partners: npt.NDArray[np.int64] | None = None


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``fidelity.json``: raw and accepted images against the validation rows, and what real ones reach there.

    Raw images are drawn at the labels of the validation rows, each as often as any other; accepted ones are chosen
    among the candidates at the same labels. The test rows are not read.
    """
    from importlib.metadata import version

    from data.files import write_json
    from data.random import derive_seed
    from flows.stages.common import RealSet, compute_of
    from flows.teachers import judging_teacher
    from generators.fidelity.assessment import assess, assess_held_out, headline, observe, sentences
    from generators.fidelity.extraction import has_torch_fidelity
    from generators.fidelity.memorisation import audit_memorisation

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    space, training, validation = real.label_space, real.train, real.validation
    extract, extractor = _extractor(context, validation, compute)
    sets = {
        "validation": Labelled(validation.images, validation.labels),
        "training": Labelled(training.images, training.labels),
        **_generated(context, validation, compute),
    }
    seen: dict[str, Observed] = {}
    with judging_teacher(context, compute) as teacher:
        for place, (name, part) in enumerate(sets.items()):
            ask = None if teacher is None else teacher.answer
            seen[name] = observe(part.images, part.labels, space, extract, ask)
            context.workspace.report("fidelity", place + 1, len(sets))
        asked = 0 if teacher is None else sum(len(part.images) for part in sets.values())
        paid = {} if teacher is None else teacher.paid()

    settings: dict[str, Any] = {
        "windows": context.config.fidelity.windows,
        "seed": derive_seed(context.seed, "subsets"),
    }
    held_out, trained = seen.pop("validation"), seen.pop("training")
    compared = {}
    for name, generated in seen.items():
        compared[name] = assess(generated, held_out, space, partners=sets[name].partners, **settings)
        audit = audit_memorisation(generated.features, held_out.features, trained.features)
        compared[name]["memorisation"] = audit
    extractor["dimensions"] = held_out.features.shape[1]
    notes = sentences(compared)
    write_json(
        context.workspace.path(FILE),
        {
            "format": 1,
            "extractor": extractor,
            "torch_fidelity": version("torch-fidelity") if has_torch_fidelity() else None,
            "label_space": space.to_dict(),
            "seed": context.seed,
            "truncation": {"raw": 1.0, "accepted": context.config.candidates.truncation},
            "compared": compared,
            "real": {
                "held_out": assess_held_out(held_out, space, **settings),
                "training": assess(trained, held_out, space, **settings),
            },
            "notes": notes,
        },
    )
    return {
        **{f"{name}_{key}": value for name, found in compared.items() for key, value in headline(found).items()},
        "dimensions": extractor["dimensions"],
        "not_computed": len(notes),
        "teacher_calls_to_judge": asked,
        **paid,
    }


def _extractor(context: StageContext, validation: Part, compute: Compute) -> tuple[Extract, dict[str, Any]]:
    """What gives features, and logits for the inception score, with what is to be recorded of it."""
    options = context.config.fidelity
    if options.extractor == "inception":
        from generators.fidelity.inception import inception_extract

        return inception_extract(options.inception_weights, compute.device)
    from filters.features import load_extractor, pooled_features
    from generators.fidelity.extraction import own_extract

    network = load_extractor(context.inputs["features"].folder, compute)
    extract = own_extract(lambda images: pooled_features(network, images, compute), reference=validation.images)
    return extract, {"name": "own", "features": context.inputs["features"].fingerprint}


def _generated(context: StageContext, validation: Part, compute: Compute) -> dict[str, Labelled]:
    """Raw and accepted images at the labels of the validation rows; none raw where candidates came from a file."""
    import numpy as np

    from data.random import derive_seed, row_seeds
    from data.reading import open_set
    from flows.stages.common import sampler_of
    from generators.fidelity.matching import rows_at_labels

    candidates = open_set(context.inputs["candidates"].path("candidates.h5"))
    partners = np.resize(np.arange(len(validation.labels)), context.config.fidelity.images)
    labels = validation.labels[partners]
    sets = {}
    if "generator" in context.inputs:
        seeds = row_seeds(derive_seed(context.seed, "raw"), np.arange(len(labels)))
        sets["raw"] = Labelled(sampler_of(context, compute).sample(labels, seeds), labels, partners)
    conditions = np.asarray(candidates.columns["condition"])
    rows = rows_at_labels(labels, conditions, candidates.label_space)
    there = rows >= 0
    if there.any():
        chosen = rows[there]
        sets["accepted"] = Labelled(candidates.take("images", chosen), conditions[chosen], partners[there])
    return sets
