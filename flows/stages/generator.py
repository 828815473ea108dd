"""Stage ``generator``: trains the conditional GAN on the real training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes the averaged generator's weights, its card and a grid of samples."""
    import numpy as np

    from data.pictures import image_grid
    from data.random import derive_seed, row_seeds
    from flows.stages.common import RealSet, compute_of
    from generators.continuous import train_continuous_gan
    from generators.sampling import load_generator
    from generators.training import train_class_gan

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    train, space = real.train, real.label_space
    settings = context.config.generator.model_dump(exclude={"kind", "options"})
    function = train_class_gan if context.config.generator.kind == "class_gan" else train_continuous_gan
    metrics = function(
        train.images,
        train.labels,
        space,
        network_options=context.config.generator.options,
        **settings,
        seed=context.seed,
        compute=compute,
        workspace=context.workspace,
    )
    sampler = load_generator(context.workspace.folder, compute)
    shown = np.arange(space.classes) if space.kind == "class" else np.linspace(space.minimum, space.maximum, 10)
    columns = 12
    seeds = np.tile(row_seeds(derive_seed(context.seed, "samples"), np.arange(columns)), len(shown))
    images = sampler.sample(np.repeat(shown, columns).astype(space.dtype), seeds)
    image_grid(images, columns).save(context.workspace.path("samples.png"), format="PNG")
    return metrics
