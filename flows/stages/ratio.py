"""Stage ``ratio``: trains the conditional density ratio of real against generated images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes the feature network, the ratio network and their card."""
    from filters.ratio import train_ratio
    from flows.stages.common import RealSet, compute_of
    from generators.sampling import load_generator

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train = real.train
    sampler = load_generator(context.inputs["generator"].folder, compute)
    return train_ratio(
        train.images,
        train.labels,
        real.label_space,
        sampler.sample,
        **context.config.ratio.model_dump(),
        seed=context.seed,
        compute=compute,
        workspace=context.workspace,
    )
