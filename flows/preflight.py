"""What must hold before anything trains: methods that fit the labels, options that exist, a device that is there."""

from __future__ import annotations

from data.compute import pick_compute
from data.errors import ConfigError
from flows.config import Config
from flows.plan import make_source
from generators.networks import build_network
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
        wanted = {"class": "class_gan", "scalar": "continuous_gan"}[space.kind]
        if config.generator.kind != wanted:
            raise ConfigError(
                f"generator.kind must be '{wanted}' for the {space.kind} labels of source '{config.source.kind}', "
                f"got '{config.generator.kind}'."
            )
        build_network(config.generator.network, config.generator.options)
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
