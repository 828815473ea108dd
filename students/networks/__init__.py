"""Networks of students and teachers, one family a file, and the registry of all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from data.options import check_options
from data.registry import Registry

if TYPE_CHECKING:
    from torch import nn

#: Channels, height and width of an image.
ImageShape = tuple[int, int, int]

#: Each entry is ``build(image_shape, outputs, *, <options>)`` and returns a network (B, C, H, W) -> (B, outputs).
networks: Registry[Callable[..., nn.Module]] = Registry("network", "students.networks")


def make_network(name: str, options: Mapping[str, Any] | None, image_shape: ImageShape, outputs: int) -> nn.Module:
    """The network ``name`` with ``options`` over its defaults; its weights come from torch's global generator.

    Args:
        name: a registered network.
        options: its options, such as ``{"depth": 20, "width": 16}``; "torchvision", "timm" and "factory" hand those
            that they do not know on to the library or function.
        image_shape: channels, height and width.
        outputs: number of outputs K.

    Returns:
        A network that maps normalised images (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for an unknown network or option, naming the nearest right one, or a value out of range.
    """
    build = networks.get(name)
    parameters = inspect.signature(build).parameters.values()
    defaults = {item.name: item.default for item in parameters if item.kind is item.KEYWORD_ONLY}
    given = dict(options or {})
    # A network that takes any options hands the rest of them on to what it builds.
    handed_on = {}
    if any(item.kind is item.VAR_KEYWORD for item in parameters):
        handed_on = {key: given.pop(key) for key in options or {} if key not in defaults}
    return build(image_shape, outputs, **check_options(f"network '{name}'", given, defaults), **handed_on)
