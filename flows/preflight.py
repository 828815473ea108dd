"""What must hold before anything trains: methods that fit the labels, options that exist, a device that is there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from data.errors import ConfigError
from data.labels import LabelSpace
from data.sources import Source
from flows.config import Config
from flows.filtering import check_filter
from flows.generator_config import ClassGenerator, ContinuousGenerator
from flows.plan import STAGES, make_source
from flows.recipes import check_batches, check_recipes
from flows.student_config import Network, Training
from flows.teacher_config import Imported, PretrainedTeacher, TrainedTeacher
from flows.teacher_identity import check_teacher, members_of, teacher_gives, why_not_live
from students.methods import LIVE_NEEDS, NEEDS, check_fits, make_method, recentring_of

#: Stages that read the methods and students, and those that make or judge images.
_DISTILLING = frozenset({"tuning", "recipes", "distill"})
_SYNTHETIC = frozenset({"generator", "ratio", "candidates", "fidelity", "tuning", "synthetic", "audit"})


def preflight(config: Config, stages: Collection[str] = STAGES) -> None:
    """Checks what the schema alone cannot.

    Torch is imported inside the checks that need it, so that ``check_labels`` alone does without.

    Args:
        config: of the run.
        stages: those that will run; what only others read is not checked, so that ``--only prepare`` needs no methods.

    Raises:
        ConfigError: naming the first thing that cannot work.
    """
    from data.compute import pick_compute

    source = make_source(config)
    pick_compute(config.compute.device, config.compute.precision)
    distills = not _DISTILLING.isdisjoint(stages)
    if config.uses_synthetic and not _SYNTHETIC.isdisjoint(stages):
        _check_images(config, source)
    check_labels(config, stages)
    for member in members_of(config.teacher):
        if isinstance(member, TrainedTeacher):
            _check_training("teacher.training", member.training, source)
    _check_teacher(config, source)
    if distills:
        check_batches(config)
        _check_training("distill.training", config.distill.training, source)
        _check_students(config, source)


def _check_students(config: Config, source: Source) -> None:
    from students.networks import make_network
    from students.recentring import output_bias

    outputs = source.label_space.outputs
    recentres = any(recentring_of(make_method(item.name, item.options)) for item in config.distill.methods)
    for student in config.distill.students:
        network = make_network(student.network, student.options, source.image_shape, outputs)
        if recentres:
            output_bias(network, outputs, student.network)


def _check_training(key: str, training: Training, source: Source) -> None:
    if training.warmup_steps >= training.steps:
        raise ConfigError(
            f"{key}.warmup_steps must be below {key}.steps, got {training.warmup_steps} of {training.steps} steps; "
            f"try {training.steps // 20}."
        )
    if training.label_smoothing and not source.label_space.has_classes:
        raise ConfigError(
            f"{key}.label_smoothing must be 0 for {source.label_space.kind} labels, which have no classes, got "
            f"{training.label_smoothing:g}."
        )
    side = max(source.image_shape[1:])
    if training.cutout_pixels >= 2 * side - 1:
        # The centre of the hole is a pixel of the image: such a hole is all of every image, wherever it lies.
        raise ConfigError(
            f"{key}.cutout_pixels must be below {2 * side - 1}, or every image is one hole, got "
            f"{training.cutout_pixels}; try {side // 2}."
        )


def check_labels(config: Config, stages: Collection[str] = STAGES) -> None:
    """Checks what needs no torch: methods against labels and teacher, the ratio, how images are filtered.

    Args:
        config: of the run.
        stages: those that will run, as ``preflight``.

    Raises:
        ConfigError: naming the first thing that cannot work.
    """
    source = make_source(config)
    check_teacher(config.teacher)
    if not _DISTILLING.isdisjoint(stages):
        _check_methods(config, source)
        check_recipes(config, source.label_space)
    if config.uses_synthetic and not _SYNTHETIC.isdisjoint(stages):
        check_filter(config.synthetic, source.label_space)
        if config.candidates.file is None and config.candidates.subsample:
            _check_ratio_labels(config, source.label_space)
            _check_ratio_teacher(config)


def _check_methods(config: Config, source: Source) -> None:
    space, given = source.label_space, teacher_gives(config.teacher)
    for method in config.distill.methods:
        made = make_method(method.name, method.options)
        tasks = made.tasks
        if space.kind not in tasks:
            raise ConfigError(
                f"distill.methods: '{method.name}' is for {' and '.join(sorted(tasks))} labels, "
                f"got the {space.kind} labels of source '{config.source.kind}'; "
                "'stillhouse list methods' shows which fit."
            )
        check_fits(made, method.name, space.classes, source.image_shape[0])
        lacking = [need for need in NEEDS if need in (made.needs & LIVE_NEEDS) - given]
        if lacking:
            raise ConfigError(
                f"distill.methods: '{method.name}' needs {' and '.join(lacking)}, which this teacher cannot give, as "
                f"{why_not_live(config.teacher)}; try a method that needs its answers alone, such as 'kd' for classes "
                "or 'imitation' for values, or a teacher of kind trained, checkpoint or pretrained."
            )


def _check_teacher(config: Config, source: Source) -> None:
    """Builds what can be built of the teacher without its weights, and checks what it takes and gives."""
    from students.networks import make_network

    for member in members_of(config.teacher):
        shape = _input_shape(member, source)
        if isinstance(member, Network):
            make_network(member.network, member.options, shape, source.label_space.outputs)


def _input_shape(teacher: Any, source: Source) -> tuple[int, int, int]:
    """(C, H, W) of what a teacher, no ensemble, takes."""
    from flows.teacher_cards import configured_interface

    if not isinstance(teacher, Imported):
        return source.image_shape
    more: dict[str, Any] = {}
    if isinstance(teacher, PretrainedTeacher):
        from students.teachers.pretrained import check_published

        size, mean, std = check_published(teacher.library, teacher.model, teacher.weights)
        more = {"input_size": size, "input_channels": len(mean), "mean": mean, "std": std}
    return configured_interface(teacher, source.label_space, source.image_shape, **more).input_shape


def _check_images(config: Config, source: Source) -> None:
    space, generator = source.label_space, config.generator
    if config.fidelity.enabled and config.fidelity.extractor == "inception":
        from generators.fidelity.inception import check_inception_weights

        check_inception_weights(config.fidelity.inception_weights)
    if config.candidates.file is not None:
        from data.foreign import open_foreign

        open_foreign(config.candidates.file, space, source.image_shape, resize=config.candidates.resize)
    elif generator.kind == "external":
        from generators.external import load_external

        if config.candidates.truncation < 1.0:
            raise ConfigError("candidates.truncation must be 1 with generator.kind 'external', which has no latents.")
        load_external(generator.factory, generator.options, space, source.image_shape)
    else:
        _check_network(generator, space, config.source.kind)
    if config.candidates.file is None and config.candidates.subsample:
        _check_ratio_networks(config, source)


def _check_network(generator: ClassGenerator | ContinuousGenerator, space: LabelSpace, source: str) -> None:
    wanted = "class_gan" if space.kind == "class" else "continuous_gan"
    if generator.kind != wanted:
        raise ConfigError(
            f"generator.kind must be '{wanted}' for the {space.kind} labels of source '{source}', "
            f"got '{generator.kind}'."
        )
    from generators.networks import build_network, check_serves

    build_network(generator.network, generator.options)
    check_serves(generator.network, space.kind)


def _check_ratio_labels(config: Config, space: LabelSpace) -> None:
    ratio, generator = config.ratio, config.generator
    if ratio.vicinity_gaps and space.kind == "class":
        raise ConfigError(
            f"ratio.vicinity_gaps must be 0 for class labels, which have no neighbours, got {ratio.vicinity_gaps:g}."
        )
    if ratio.features == "generator" and not getattr(generator, "density_ratio_weight", 0.0):
        raise ConfigError(
            "ratio.features 'generator' must have a generator that learns a density ratio, got kind "
            f"'{generator.kind}' without one; set generator.density_ratio_weight 0.5 (continuous_gan only), "
            "or try ratio.features 'classifier'."
        )


def _check_ratio_teacher(config: Config) -> None:
    if config.ratio.features == "teacher" and "teacher_features" not in teacher_gives(config.teacher):
        raise ConfigError(
            f"ratio.features 'teacher' needs a teacher with features, but {why_not_live(config.teacher)}; try "
            "ratio.features 'classifier'."
        )


def _check_ratio_networks(config: Config, source: Source) -> None:
    ratio, space = config.ratio, source.label_space
    if ratio.features == "autoencoder":
        from filters.autoencoder import check_side

        check_side(source.image_shape)
    if ratio.features in ("teacher", "student"):
        from students.model import last_linear
        from students.networks import make_network

        network = config.teacher if ratio.features == "teacher" else config.distill.students[0]
        if isinstance(network, Network):
            shape = _input_shape(network, source)
            last_linear(make_network(network.network, network.options, shape, space.outputs), network.network)
