"""A teacher with the weights that torchvision or timm publishes for one of their models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from data.errors import ConfigError, StageError
from data.factories import in_one_line
from students.model import ImageModel
from students.teachers.checkpoint import named_model
from students.teachers.interface import Interface

#: Options that go with the published weights and that a network with new weights does not have.
_WITH_WEIGHTS = {"googlenet": {"transform_input": True}, "inception_v3": {"transform_input": True}}
#: Outputs that only training reads, which networks are built without here.
_FOR_TRAINING = ("aux1.", "aux2.", "AuxLogits.")


@dataclass(frozen=True)
class Published:
    """Weights as a library publishes them.

    Args:
        name: of the weights, resolved where DEFAULT was asked for.
        tensors: by name.
        architecture: name of the model under which the registered network of that library knows it.
        options: further options of that network.
        input_size: pixels a side that they were trained for.
        mean: of pixels in 0..1, one a channel.
        std: one a channel.
    """

    name: str
    tensors: Mapping[str, Tensor]
    architecture: str
    options: Mapping[str, Any]
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def published(library: str, model: str, weights: str) -> Published:
    """The published weights, from the library's cache or, if they are not there, by its own download.

    torchvision keeps them in ``$TORCH_HOME/hub/checkpoints``, timm in the cache of the Hugging Face hub.

    Args:
        library: "torchvision" or "timm".
        model: name of the model there.
        weights: name of the weights there; "DEFAULT" takes the library's choice.

    Raises:
        ConfigError: for an unknown library, model or name of weights.
        StageError: if the weights are neither here nor can be fetched.
    """
    find = {"torchvision": _of_torchvision, "timm": _of_timm}
    if library not in find:
        raise ConfigError(f"teacher.library must be torchvision or timm, got '{library}'.")
    return find[library](model, weights)


def pretrained_model(library: str, found: Published, interface: Interface) -> ImageModel:
    """An image model with published weights.

    Args:
        library: "torchvision" or "timm".
        found: the weights.
        interface: what it takes and gives.

    Raises:
        ConfigError: if it does not fit the images.
        DataError: if the weights do not fit the network.
        StageError: if it gives other outputs than are wanted.
    """
    options = {"name": found.architecture, **found.options}
    return named_model(library, options, found.tensors, interface, f"{library} {found.architecture} ({found.name})")


def check_published(library: str, model: str, weights: str) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Size, mean and standard deviation that published weights want of images; fetches nothing.

    Raises:
        ConfigError: for an unknown model or name of weights, or without the extra.
    """
    if library == "torchvision":
        return _recipe(_torchvision_weights(model, weights))
    _, config = _timm_config(model, weights)
    return _timm_recipe(config)


def _torchvision_weights(model: str, weights: str) -> Any:
    from torchvision import models

    try:
        known = models.get_model_weights(model)
    except ValueError as error:
        raise ConfigError(
            f"teacher.model must be a model of torchvision, got '{model}'; torchvision.models.list_models() lists them."
        ) from error
    if weights not in known.__members__:
        names = ", ".join(known.__members__) or "none"
        raise ConfigError(f"teacher.weights must be one of {names} for torchvision's {model}, got '{weights}'.")
    chosen = known[weights]
    if not hasattr(chosen.transforms(), "crop_size"):
        raise ConfigError(f"teacher.model must be a classification model of torchvision, got '{model}'.")
    return chosen


def _recipe(chosen: Any) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    wanted = chosen.transforms()
    return int(wanted.crop_size[0]), tuple(map(float, wanted.mean)), tuple(map(float, wanted.std))


def _of_torchvision(model: str, weights: str) -> Published:
    chosen = _torchvision_weights(model, weights)
    try:
        state = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:
        raise _not_fetched(f"torchvision's {model} ({chosen.name})", chosen.url, error) from error
    tensors = {name: tensor for name, tensor in state.items() if not name.startswith(_FOR_TRAINING)}
    return Published(chosen.name, tensors, model, _WITH_WEIGHTS.get(model, {}), *_recipe(chosen))


def _timm_config(model: str, weights: str) -> tuple[str, Any]:
    try:
        import timm
    except ImportError as error:
        raise ConfigError("teacher.library timm needs the package timm; pip install 'stillhouse[timm]'.") from error
    architecture, _, tag = model.partition(".")
    name = model if weights == "DEFAULT" else f"{architecture}.{weights}"
    if tag and weights not in ("DEFAULT", tag):
        raise ConfigError(
            f"teacher.weights must be DEFAULT where teacher.model names them ('{model}'), got '{weights}'."
        )
    try:
        config = timm.get_pretrained_cfg(name) if timm.is_model(architecture) else None
    except RuntimeError:  # of an unknown tag
        config = None
    if config is None or not config.has_weights:
        raise ConfigError(
            f"teacher.model must be a model of timm with published weights, got '{name}'; "
            f"timm.list_pretrained('{architecture}*') lists them."
        )
    return f"{architecture}.{config.tag}" if config.tag else architecture, config


def _timm_recipe(config: Any) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    return int(config.input_size[1]), tuple(map(float, config.mean)), tuple(map(float, config.std))


def _of_timm(model: str, weights: str) -> Published:
    name, config = _timm_config(model, weights)
    import timm

    try:
        network = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise _not_fetched(f"timm's {name}", f"https://huggingface.co/{config.hf_hub_id}", error) from error
    return Published(name, network.state_dict(), name.partition(".")[0], {}, *_timm_recipe(config))


def _not_fetched(what: str, address: str, error: Exception) -> StageError:
    return StageError(
        f"the weights of {what} must be in the library's cache or at {address}, got {in_one_line(error)}; fetch them "
        "where there is a network, or name a file by teacher.kind checkpoint."
    )
