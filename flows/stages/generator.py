"""Stage ``generator``: trains the conditional GAN on the real training images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from data.compute import Compute
    from data.labels import LabelSpace
    from flows.execute import StageContext
    from flows.stages.common import Part, RealSet
    from generators.fidelity.judge import Sample

VERSION = 2
_GRID_COLUMNS = 12
_GRID_ROWS = 10
#: Validation images that a snapshot is compared with, at most.
_JUDGED_IMAGES = 1000


def run(context: StageContext) -> dict[str, Any]:
    """Writes the kept averaged weights, their card, a grid of samples and the curves.

    While it trains, ``samples.png`` and ``curves.png`` of the work folder show the last snapshot.
    """
    from flows.reporting.live import write_curves
    from flows.stages.common import RealSet, compute_of, external_sampler
    from generators.external import check_external
    from generators.sampling import load_generator

    compute = compute_of(context.config)
    real = RealSet.of(context.inputs["real"])
    folder = context.workspace.folder
    if context.config.generator.kind == "external":
        external = external_sampler(context)
        metrics = check_external(external, context.seed)
        write_samples(folder / "samples.png", external.sample, real.label_space, context.seed)
        return metrics
    metrics = _train(context, real, compute)
    write_samples(folder / "samples.png", load_generator(folder, compute).sample, real.label_space, context.seed)
    write_curves(folder)
    return metrics


def _train(context: StageContext, real: RealSet, compute: Compute) -> dict[str, Any]:
    from flows.reporting.live import write_curves
    from generators.continuous import train_continuous_gan
    from generators.training import train_class_gan

    train, validation, space, settings = real.train, real.validation, real.label_space, context.config.generator
    folder = context.workspace.folder
    judge = _judge(context, real, validation, compute) if "features" in context.inputs else None

    def watch(step: int, sample: Sample) -> dict[str, float]:
        write_samples(folder / "samples.png", sample, space, context.seed)
        write_curves(folder)
        return {} if judge is None else judge(step, sample)

    return dict(
        (train_class_gan if settings.kind == "class_gan" else train_continuous_gan)(
            train.images,
            train.labels,
            space,
            network_options=settings.options,
            **settings.model_dump(exclude={"kind", "options"}),
            judge=None if judge is None else watch,
            validation=(validation.images, validation.labels),
            warn=context.warn,
            compile_networks=context.config.compute.compile,
            seed=context.seed,
            compute=compute,
            workspace=context.workspace,
        )
    )


def _judge(
    context: StageContext, real: RealSet, validation: Part, compute: Compute
) -> Callable[[int, Sample], dict[str, float]]:
    """Compares samples with validation images, which the generator never sees, in the features of the run."""
    from data.random import derive_seed
    from filters.features import load_extractor, pooled_features
    from generators.fidelity.judge import make_judge

    extractor = load_extractor(context.inputs["features"].folder, compute)
    return make_judge(
        validation.images,
        validation.labels,
        real.label_space,
        lambda images: pooled_features(extractor, images, compute),
        images=_JUDGED_IMAGES,
        seed=derive_seed(context.seed, "judge"),
    )


def shown_labels(space: LabelSpace) -> npt.NDArray[Any]:
    """The labels of a grid of samples: every class, or values evenly over the range; at most a few rows."""
    import numpy as np

    if space.kind == "class":
        return np.arange(space.classes)
    steps = np.linspace(0.0, 1.0, _GRID_ROWS)
    if space.kind == "scalar":
        return np.asarray(space.restore(steps), space.dtype)
    if space.kind == "class+scalar":
        each = max(2, _GRID_ROWS // space.classes)
        classes = np.repeat(np.arange(space.classes), each)
        return np.asarray(space.restore(np.stack([classes, np.tile(np.linspace(0, 1, each), space.classes)], 1)))
    # A line through the cube for each axis, the others at their middle.
    rows = [
        np.where(np.arange(len(space.axes)) == axis, value, 0.5)
        for axis in range(len(space.axes))
        for value in np.linspace(0.0, 1.0, max(2, _GRID_ROWS // len(space.axes)))
    ]
    return np.asarray(space.restore(np.stack(rows)))


def write_samples(path: Path, sample: Sample, space: LabelSpace, seed: int) -> None:
    """Writes a grid with a row a label and the same latent in every row of a column."""
    import numpy as np

    from data.files import replace_durably
    from data.pictures import image_grid
    from data.random import derive_seed, row_seeds

    shown = shown_labels(space)
    seeds = np.tile(row_seeds(derive_seed(seed, "samples"), np.arange(_GRID_COLUMNS)), len(shown))
    images = sample(np.repeat(shown, _GRID_COLUMNS, axis=0).astype(space.dtype), seeds)
    temporary = path.with_name(f"{path.stem}.tmp.png")
    image_grid(images, _GRID_COLUMNS).save(temporary, format="PNG")
    replace_durably(temporary, path)
