"""Stage ``ratio``: trains the conditional density ratio of real against generated images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 2


def run(context: StageContext) -> dict[str, Any]:
    """Writes the ratio network and its card; the features are those of the stage before it."""
    from filters.features import load_extractor
    from filters.ratio import train_ratio
    from flows.stages.common import RealSet, compute_of, sampler_of

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train = real.train
    return dict(
        train_ratio(
            train.images,
            train.labels,
            real.label_space,
            sampler_of(context, compute).sample,
            load_extractor(context.inputs["features"].folder, compute),
            **context.config.ratio.model_dump(),
            seed=context.seed,
            compute=compute,
            workspace=context.workspace,
        )
    )
