"""What must hold before anything trains: methods that fit the labels, options that exist, a device that is there."""

from __future__ import annotations

from data.errors import ConfigError
from data.labels import LabelSpace
from data.sources import Source
from flows.config import Config
from flows.filtering import check_filter
from flows.generator_config import ClassGenerator, ContinuousGenerator
from flows.plan import make_source
from students.methods import make_method


def preflight(config: Config) -> None:
    """Checks what the schema alone cannot.

    Torch is imported inside the checks that need it, so that ``check_labels`` alone does without.

    Raises:
        ConfigError: naming the first thing that cannot work.
    """
    from data.compute import pick_compute
    from students.networks import make_network

    source = make_source(config)
    pick_compute(config.compute.device, config.compute.precision)
    if config.uses_synthetic:
        _check_images(config, source)
    check_labels(config)
    for network in (config.teacher, *config.distill.students):
        make_network(network.network, network.options, source.image_shape, source.label_space.outputs)


def check_labels(config: Config) -> None:
    """Checks what must fit the kind of labels, without importing torch: methods, the ratio, how images are filtered.

    Raises:
        ConfigError: naming the first thing that cannot work.
    """
    space = make_source(config).label_space
    for method in config.distill.methods:
        tasks = make_method(method.name, method.options).tasks
        if space.kind not in tasks:
            raise ConfigError(
                f"distill.methods: '{method.name}' is for {' and '.join(sorted(tasks))} labels, "
                f"got the {space.kind} labels of source '{config.source.kind}'; "
                "'stillhouse list methods' shows which fit."
            )
    if config.uses_synthetic:
        check_filter(config.synthetic, space)
        if config.candidates.file is None and config.candidates.subsample:
            _check_ratio_labels(config, space)


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


def _check_ratio_networks(config: Config, source: Source) -> None:
    ratio, space = config.ratio, source.label_space
    if ratio.features == "autoencoder":
        from filters.autoencoder import check_side

        check_side(source.image_shape)
    if ratio.features in ("teacher", "student"):
        from students.model import last_linear
        from students.networks import make_network

        network = config.teacher if ratio.features == "teacher" else config.distill.students[0]
        last_linear(make_network(network.network, network.options, source.image_shape, space.outputs), network.network)
