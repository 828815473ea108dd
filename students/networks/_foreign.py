"""Networks that other code builds: errors in one sentence, a trial on one image, a first layer for other images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import ConfigError, StillhouseError
from data.factories import in_one_line
from students.networks import ImageShape

#: Options that would fetch or unpickle weights; those of a teacher have a section of their own.
REFUSED = ("weights", "weights_backbone", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path")


def build_foreign(what: str, make: Callable[[], Any]) -> nn.Module:
    """Calls what builds a network.

    Args:
        what: names it, for messages.
        make: returns the network.

    Raises:
        ConfigError: if it fails, or gives no network.
    """
    try:
        network = make()
    except StillhouseError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} cannot be built ({in_one_line(error)}); check its options.") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{what} must be a torch.nn.Module, got {type(network).__name__}.")
    return network


def check_handed_on(what: str, options: Mapping[str, Any]) -> None:
    """Refuses options that bring weights along.

    Raises:
        ConfigError: naming the option.
    """
    for name in REFUSED:
        if name in options:
            raise ConfigError(
                f"options of {what} must leave weights out, got '{name}'; a network here starts with new weights, and "
                "a pretrained teacher is a teacher of kind 'pretrained'."
            )


def try_network(what: str, network: nn.Module, image_shape: ImageShape, outputs: int) -> nn.Module:
    """Gives a network one blank image and looks at what comes back; its mode and statistics stay as they are.

    Raises:
        ConfigError: if it fails on an image of that size, or gives other outputs.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            given = network(torch.zeros(1, *image_shape))
    except Exception as error:
        size = "x".join(map(str, image_shape))
        raise ConfigError(f"{what} must take images of {size}, but it fails ({in_one_line(error)}).") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(given, Tensor) or given.shape != (1, outputs) or not given.is_floating_point():
        got = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ConfigError(f"{what} must give floating point outputs of shape (1, {outputs}) for an image, got {got}.")
    return network


def adapt_first_layer(what: str, network: nn.Module, channels: int, *, small_stem: bool) -> None:
    """Makes the first convolution take images of other channels, and of small size if asked for.

    A small stem is the usual change of ImageNet's residual networks for images of 32 pixels: the first convolution
    moves by one pixel and is at most 3x3, and a pooling layer called ``maxpool`` after it is left out.

    Args:
        what: names the network, for messages.
        network: changed in place; new weights are drawn from torch's global generator.
        channels: of the images.
        small_stem: whether the stem keeps the image's size.

    Raises:
        ConfigError: if it has no first convolution, or one that cuts the image into patches.
    """
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    if not found:
        if small_stem or channels != 3:
            raise ConfigError(f"{what} must have a convolution as its first layer to be adapted, got none.")
        return
    name, first = found[0]
    if first.in_channels == channels and not small_stem:
        return
    changed = _like(first, channels, small=small_stem, what=what)
    nn.init.kaiming_normal_(changed.weight, mode="fan_out", nonlinearity="relu")
    if changed.bias is not None:
        nn.init.zeros_(changed.bias)
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, changed)
    if small_stem and isinstance(getattr(network, "maxpool", None), nn.Module):
        network.maxpool = nn.Identity()


def _like(first: nn.Conv2d, channels: int, *, small: bool, what: str) -> nn.Conv2d:
    """A convolution like ``first`` for images of other channels; a small one moves by one pixel, at most 3x3 large."""
    height, width = first.kernel_size[0], first.kernel_size[1]
    if not small:
        whole = copy.deepcopy(first)
        whole.in_channels = channels
        whole.weight = nn.Parameter(torch.empty(first.out_channels, channels, height, width))
        return whole
    if max(first.stride) > 2 or max(first.stride) >= max(height, width):
        raise ConfigError(
            f"option 'small_stem' of {what} must stay false: its first convolution cuts the image into pieces of "
            f"{height}x{width}, moving by {first.stride[0]}; try an option of the model, such as 'patch_size'."
        )
    height, width = min(height, 3), min(width, 3)
    return nn.Conv2d(
        channels, first.out_channels, (height, width), padding=(height // 2, width // 2), bias=first.bias is not None
    )
