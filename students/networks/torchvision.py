"""Any classification network of torchvision, with new weights and a head for the labels at hand."""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from data.errors import ConfigError
from students.networks import ImageShape, networks
from students.networks._foreign import adapt_first_layer, build_foreign, check_handed_on, try_network

#: These have a second output for training, and warn unless they are told how their weights start.
_INCEPTIONS = {"aux_logits": False, "init_weights": True}


@networks.register("torchvision")
def build(
    image_shape: ImageShape, outputs: int, *, name: str = "resnet18", small_stem: bool = False, **options: Any
) -> nn.Module:
    """A network of ``torchvision.models``.

    Args:
        image_shape: channels, height and width.
        outputs: number of outputs K.
        name: name of a classification model, see ``torchvision.models.list_models``.
        small_stem: whether the first layers keep the size of the image, see ``_foreign.adapt_first_layer``.
        options: keyword arguments of the model, such as ``image_size`` of vision transformers.

    Returns:
        A network that maps (B, C, H, W) to (B, K).

    Raises:
        ConfigError: for an unknown model or option, or images that the model does not take.
    """
    from torchvision import models

    what = f"torchvision's network '{name}'"
    check_handed_on(what, options)
    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"try one of {', '.join(known[:5])} ..."
        raise ConfigError(f"option 'name' of network 'torchvision' must be one of its models, got '{name}'; {hint}")
    if name in ("googlenet", "inception_v3"):
        options = _INCEPTIONS | options
    network = build_foreign(what, lambda: models.get_model(name, weights=None, num_classes=outputs, **options))
    adapt_first_layer(what, network, image_shape[0], small_stem=small_stem)
    return try_network(what, network, image_shape, outputs)
