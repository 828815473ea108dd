"""A network of your own: any function of the image's shape and the number of outputs, named 'module:function'."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from data.errors import ConfigError
from data.factories import import_factory
from students.networks import ImageShape, networks
from students.networks._foreign import build_foreign, try_network

KEY = "option 'factory' of network 'factory'"


@networks.register("factory")
def build(image_shape: ImageShape, outputs: int, *, factory: str = "", **options: Any) -> nn.Module:
    """What a function of yours makes.

    It is code that runs here, so its name may come from a configuration or a command, never from a file alone; see
    ``students.model.load_model``.

    Args:
        image_shape: channels, height and width.
        outputs: number of outputs K.
        factory: "module:function"; called with ``image_shape``, ``outputs`` and the options.
        options: keyword arguments of the function.

    Returns:
        A network that maps normalised images (B, C, H, W) to (B, K).

    Raises:
        ConfigError: if the function cannot be imported or takes other arguments, or what it makes is no such network.
    """
    make = import_factory(factory, KEY)
    what = f"the network of factory '{factory}'"
    try:
        inspect.signature(make).bind(image_shape, outputs, **options)
    except TypeError as error:
        raise ConfigError(
            f"{KEY}, '{factory}', must take (image_shape, outputs, **options) with the options "
            f"{', '.join(options) or 'none'}, got: {error}."
        ) from error
    return try_network(what, build_foreign(what, lambda: make(image_shape, outputs, **options)), image_shape, outputs)
