"""What must hold before anything trains: methods that fit the labels, options that exist, a device that is there."""

from __future__ import annotations

from data.compute import pick_compute
from data.errors import ConfigError
from data.labels import LabelSpace
from data.sources import Source
from flows.config import Config
from flows.generator_config import ClassGenerator, ContinuousGenerator
from flows.plan import make_source
from generators.networks import build_network, check_serves
from students.methods import make_method
from students.networks import make_network


def preflight(config: Config) -> None:
    """Checks what the schema alone cannot.

    Raises:
        ConfigError: naming the first thing that cannot work.
    """
    source = make_source(config)
    space = source.label_space
    pick_compute(config.compute.device, config.compute.precision)
    if config.uses_synthetic:
        _check_images(config, source)
    for method in config.distill.methods:
        tasks = make_method(method.name, method.options).tasks
        if space.kind not in tasks:
            raise ConfigError(
                f"distill.methods: '{method.name}' is for {' and '.join(sorted(tasks))} labels, "
                f"got the {space.kind} labels of source '{config.source.kind}'; "
                "'stillhouse list methods' shows which fit."
            )
    for network in (config.teacher, *config.distill.students):
        make_network(network.network, network.options, source.image_shape, space.outputs)


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


def _check_network(generator: ClassGenerator | ContinuousGenerator, space: LabelSpace, source: str) -> None:
    wanted = "class_gan" if space.kind == "class" else "continuous_gan"
    if generator.kind != wanted:
        raise ConfigError(
            f"generator.kind must be '{wanted}' for the {space.kind} labels of source '{source}', "
            f"got '{generator.kind}'."
        )
    build_network(generator.network, generator.options)
    check_serves(generator.network, space.kind)
