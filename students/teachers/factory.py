"""A teacher that a function of the user's makes: a torch network, or any function of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from data.errors import ConfigError, StillhouseError
from data.factories import import_factory, in_one_line

KEY = "teacher.factory"


def call_factory(factory: str, options: Mapping[str, Any], seed: int) -> nn.Module | Callable[..., Any]:
    """What the factory makes, with torch's global generator seeded, so that new weights are the same each time.

    Args:
        factory: "module:function", from the user's configuration, never from an artifact.
        options: its keyword arguments.
        seed: of torch's global generator, whose state is put back.

    Raises:
        ConfigError: if it cannot be imported, fails, or makes nothing that can be called.
    """
    function = import_factory(factory, KEY)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = function(**options)
    except StillhouseError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{KEY} '{factory}' fails when it is called with its options ({in_one_line(error)})."
        ) from error
    if not callable(made):
        raise ConfigError(
            f"{KEY} '{factory}' must return a torch network or a function of images, got {type(made).__name__}."
        )
    found: nn.Module | Callable[..., Any] = made
    return found
