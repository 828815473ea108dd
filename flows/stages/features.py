"""Stage ``features``: trains the network whose features judge generated images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes the network's weights, its card and its log; tells how well it knows the validation labels."""
    from data.random import derive_seed
    from filters.features import answers, train_extractor
    from filters.label_loss import accuracy_and_errors
    from flows.stages.common import RealSet, compute_of

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train, validation, space = real.train, real.validation, real.label_space
    extractor = train_extractor(
        train.images,
        train.labels,
        space,
        **context.config.features.model_dump(),
        seed=derive_seed(context.seed, "extractor"),
        compute=compute,
        workspace=context.workspace,
    )
    outputs = answers(extractor, validation.images, compute)
    figures = accuracy_and_errors(outputs, validation.labels, space)
    return {f"validation {name}": value for name, value in figures.items()}
