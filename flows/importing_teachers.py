"""Teachers from elsewhere enter a run: what the artifact of the stage ``teacher`` keeps of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.teacher_cards import CARD, configured_interface
from flows.teacher_config import (
    CheckpointTeacher,
    FactoryTeacher,
    HttpTeacher,
    Imported,
    OnnxTeacher,
    PretrainedTeacher,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.compute import Compute
    from data.labels import LabelSpace
    from students.model import ImageModel
    from students.teachers.interface import Interface

#: Images that a network is tried on.
_TRIED = 16


def import_teacher(
    teacher: Imported, space: LabelSpace, images: npt.NDArray[np.uint8], folder: Path, compute: Compute, seed: int
) -> dict[str, Any]:
    """Writes ``teacher.json``, and the model of a teacher that is a network.

    A network, which costs nothing to run, is tried on a few images; a function, file or endpoint is not asked.

    Args:
        teacher: its section.
        space: labels of this run.
        images: some training images of this run, uint8 (n, C, H, W); a network is tried on the first of them.
        folder: of the artifact, or of a member of an ensemble in it.
        compute: where functions run.
        seed: of factories.

    Returns:
        Metrics: ``parameters`` of a network.

    Raises:
        ConfigError: if it cannot take the images.
        DataError: if a file is not what it must be, or weights are not finite.
        StageError: if it gives other outputs than are wanted.
    """
    from data.files import write_json
    from students.model import parameter_count, save_model

    channels, height, width = images.shape[1:]
    image_shape = (channels, height, width)
    model, interface = _loaded(teacher, space, image_shape, compute, seed)
    card = {
        "format": 1,
        "kind": getattr(teacher, "kind", ""),
        "identity": _identity(teacher),
        "label_space": space.to_dict(),
        "image_shape": list(image_shape),
        "interface": _told(interface),
        "network": model is not None,
        "seed": seed,
    }
    metrics: dict[str, Any] = {}
    if model is not None:
        from students.teachers.network import Adapted, check_network

        check_network(model, interface, images[:_TRIED], _named(teacher))
        save_model(folder, model)
        metrics["parameters"] = parameter_count(model)
        if isinstance(model.network, Adapted):
            card |= {"adapted": True, "raw_outputs": model.network.outputs}
    write_json(folder / CARD, card)
    return metrics


def _loaded(
    teacher: Imported, space: LabelSpace, image_shape: tuple[int, int, int], compute: Compute, seed: int
) -> tuple[ImageModel | None, Interface]:
    """The model of a teacher that is a network, else None; and what it takes and gives."""
    if isinstance(teacher, PretrainedTeacher):
        from students.teachers.pretrained import pretrained_model, published

        found = published(teacher.library, teacher.model, teacher.weights)
        recipe = {"input_size": found.input_size, "input_channels": len(found.mean)}
        interface = configured_interface(teacher, space, image_shape, **recipe, mean=found.mean, std=found.std)
        return pretrained_model(teacher.library, found, interface), interface
    interface = configured_interface(teacher, space, image_shape)
    if isinstance(teacher, CheckpointTeacher):
        from students.teachers.checkpoint import checkpoint_model

        return checkpoint_model(Path(teacher.path), teacher.network, teacher.options, interface), interface
    if isinstance(teacher, FactoryTeacher):
        from torch import nn

        from students.teachers.factory import call_factory
        from students.teachers.network import imported_model

        made, who = call_factory(teacher.factory, teacher.options, seed), f"teacher {teacher.factory}"
        if not isinstance(made, nn.Module):
            return None, interface
        return imported_model(made, interface, {"network": who, "options": {}}, who), interface
    if isinstance(teacher, OnnxTeacher):
        from students.teachers.onnx import open_onnx

        open_onnx(Path(teacher.path), interface, compute, 1)
    elif not isinstance(teacher, HttpTeacher):
        raise ValueError(f"teacher must be of a kind from elsewhere, got {type(teacher).__name__}.")
    return None, interface


def _identity(teacher: Any) -> dict[str, Any]:
    from flows.teacher_identity import teacher_identity

    return teacher_identity(teacher)


def _named(teacher: Any) -> str:
    """A teacher that is a network, for messages."""
    return f"teacher {next(getattr(teacher, key) for key in ('path', 'factory', 'model') if hasattr(teacher, key))}"


def _told(interface: Interface) -> dict[str, Any]:
    names = ("input_size", "input_channels", "mean", "std", "gives", "values", "outputs")
    return {name: getattr(interface, name) for name in names}
