"""Stage ``ratio``: trains the conditional density ratio of real against generated images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.compute import Compute
    from filters.features import FeatureNetwork
    from flows.execute import StageContext
    from flows.ratio_features import Rate
    from flows.stages.common import RealSet

VERSION = 3

FILE = "diagnostics.json"
#: Validation images that the finished ratio rates, at most, and fakes at the label of each.
_JUDGED_IMAGES = 2000
_FAKES_EACH = 4


def run(context: StageContext) -> dict[str, Any]:
    """Writes the ratio network, its card and ``diagnostics.json``; of the generator's own ratio the last one alone.

    Validation rows are only rated by the finished ratio.
    """
    from data.files import write_json
    from filters.ratio_diagnostics import fault, rate_held_out
    from flows.ratio_features import load_rate, rate_within
    from flows.stages.common import RealSet, compute_of

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    learnt = {} if context.config.ratio.features == "generator" else _train(context, real, compute)
    rate = rate_within(context, compute, load_rate(context, context.workspace.folder, compute))
    fakes, reals, inside = _rated(context, real, rate, compute)
    figures = rate_held_out(fakes, reals)
    if context.config.ratio.vicinity_gaps:
        figures["validation_inside"] = float(inside.mean())
    if inside.mean() < 0.5:
        # The rule sets the ratio of all others to 0: what the ratio itself knows hardly shows.
        sentence: str | None = (
            f"Only {100 * inside.mean():.0f}% of {len(inside)} fresh generated images are predicted to lie within "
            f"{context.config.ratio.vicinity_gaps:g} gaps of their label; raise ratio.vicinity_gaps or features.steps."
        )
    else:
        sentence = fault(figures, fakes, len(reals))
    if sentence is not None:
        context.warn(sentence)
    numbers = {**learnt, **figures}
    counts = {"validation_images": len(reals), "fakes": len(fakes)}
    write_json(
        context.workspace.path(FILE),
        {"format": 1, "features": context.config.ratio.features, **numbers, **counts, "fault": sentence},
    )
    return numbers


def _train(context: StageContext, real: RealSet, compute: Compute) -> dict[str, float]:
    from filters.ratio import train_ratio
    from flows.ratio_features import predict_of, vicinity_of
    from flows.stages.common import sampler_of

    train, vicinity = real.train, vicinity_of(context)
    options = context.config.ratio.model_dump(exclude={"features", "autoencoder", "vicinity_gaps"})
    return train_ratio(
        train.images,
        train.labels,
        real.label_space,
        sampler_of(context, compute).sample,
        _features(context, real, compute),
        vicinity=vicinity,
        predict=None if vicinity is None else predict_of(context, compute),
        **options,
        seed=context.seed,
        compute=compute,
        workspace=context.workspace,
    )


def _features(context: StageContext, real: RealSet, compute: Compute) -> FeatureNetwork:
    """The network that the ratio is to read; an auto-encoder is trained here first."""
    from data.random import derive_seed
    from flows.ratio_features import feature_network

    if context.config.ratio.features != "autoencoder":
        return feature_network(context, context.workspace.folder, compute)
    from filters.autoencoder import train_autoencoder

    train = real.train
    return train_autoencoder(
        train.images,
        train.labels,
        real.label_space,
        **context.config.ratio.autoencoder.model_dump(),
        seed=derive_seed(context.seed, "autoencoder"),
        compute=compute,
        workspace=context.workspace,
    )


def _rated(context: StageContext, real: RealSet, rate: Rate, compute: Compute) -> tuple[Any, Any, Any]:
    """Ratios of fresh fakes at the labels of validation images, and of these images, float32 (n,) and (m,).

    The third, bool (n,), says which fakes lie in the vicinity of their label; all do where there is none.
    """
    import numpy as np

    from data.random import derive_seed, row_seeds
    from flows.ratio_features import predict_of, vicinity_of
    from flows.stages.common import sampler_of

    validation = real.validation
    order = np.random.default_rng(derive_seed(context.seed, "rows")).permutation(len(validation.labels))
    rows = np.sort(order[:_JUDGED_IMAGES])
    labels = np.repeat(validation.labels[rows], _FAKES_EACH, axis=0)
    seeds = row_seeds(derive_seed(context.seed, "diagnostics"), np.arange(len(labels)))
    vicinity = vicinity_of(context)
    made_for = labels if vicinity is None else vicinity.jitter(labels, seeds)
    fakes = sampler_of(context, compute).sample(made_for, seeds)
    inside = np.ones(len(fakes), np.bool_)
    if vicinity is not None:
        inside = vicinity.holds(predict_of(context, compute)(fakes), labels)
    return rate(fakes, labels), rate(validation.images[rows], validation.labels[rows]), inside
