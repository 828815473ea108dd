"""Any network of timm (PyTorch image models), with new weights and a head for the labels at hand."""

from __future__ import annotations

import difflib
import re
from typing import Any

from torch import nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._foreign import adapt_first_layer, build_foreign, check_handed_on, try_network


@networks.register("timm")
def build(
    image_shape: ImageShape, outputs: int, *, name: str = "resnet18", small_stem: bool = False, **options: Any
) -> nn.Module:
    """A network of ``timm.create_model``.

    Args:
        image_shape: channels, height and width.
        outputs: number of outputs K.
        name: name of an architecture, see ``timm.list_models``; names on a hub, which would be downloaded, are refused.
        small_stem: whether the first layers keep the size of the image, see ``_foreign.adapt_first_layer``.
        options: keyword arguments of the model, such as ``img_size`` and ``patch_size`` of vision transformers.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: without the extra ``timm``, for an unknown model or option, or images that the model does not take.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError("network 'timm' needs the package timm; pip install 'stillhouse[timm]'.") from error
    what = f"timm's network '{name}'"
    check_handed_on(what, options)
    if not re.fullmatch(r"[A-Za-z0-9_]+", name) or not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "see timm.list_models()."
        raise ConfigError(f"option 'name' of network 'timm' must be one of its architectures, got '{name}'; {hint}")
    network = build_foreign(
        what,
        lambda: timm.create_model(name, pretrained=False, num_classes=outputs, in_chans=image_shape[0], **options),
    )
    adapt_first_layer(what, network, image_shape[0], small_stem=small_stem)
    return try_network(what, network, image_shape, outputs)
