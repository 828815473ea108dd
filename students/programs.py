"""Models as programs that need nothing of this project, compared with the model before they count as written."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import ConfigError, StageError
from data.factories import in_one_line
from students.model import ImageModel
from students.networks import ImageShape

INPUT = "images"
OUTPUTS = "outputs"
PROBABILITIES = "probabilities"
#: See ``students.export.KEY``.
_KEY = "stillhouse_model"

#: Most that outputs may differ, in standard deviations of the labels, or in shares of outputs that are above 1.
MOST_DIFFERENCE = 1e-4
#: Rows that a program is traced with, and others that it is compared with.
_TRACED, _COMPARED = 2, (1, 7)


class Inference(nn.Module):
    """What a program computes: outputs, and probabilities where labels have classes.

    Args:
        model: in evaluation mode.
    """

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.model = model
        self.classes = model.label_space.classes

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps uint8 (N, C, H, W) to float32 (N, K), and to (N, classes) where there are classes."""
        outputs = self.model(images)
        if not self.classes:
            return {OUTPUTS: outputs}
        return {OUTPUTS: outputs, PROBABILITIES: torch.softmax(outputs[:, : self.classes], dim=1)}


def example_images(image_shape: ImageShape, count: int) -> Tensor:
    """Images uint8 (count, C, H, W) to compare programs with: noise; of several, the last are black and white."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *image_shape), dtype=torch.uint8, generator=rng)
    if count > 2:
        images[-2:] = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None]
    return images


def write_program(path: Path, model: ImageModel, described: str) -> None:
    """Writes a torch.export program; ``torch.export.load(path).module()`` gives it back.

    Args:
        path: the file.
        model: on the CPU, in evaluation mode, without gradients.
        described: JSON that the file carries along.

    Raises:
        StageError: if the network cannot be traced, or the program's outputs are not the model's.
    """
    inference = Inference(model).eval()
    batch = torch.export.Dim("batch", min=1)
    try:
        program = torch.export.export(inference, (_examples(model),), dynamic_shapes=({0: batch},))
    except Exception as error:
        raise _untraceable(model, error) from error
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={f"{_KEY}.json": described})
    with path.open("rb") as file, warnings.catch_warnings():
        # Torch 2.11 reads weights into memory that it does not write to.
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        loaded = torch.export.load(file).module()
    compare(inference, loaded, "torch-export")


def write_onnx(path: Path, model: ImageModel, described: str) -> None:
    """Writes an ONNX file.

    Args:
        path: the file.
        model: on the CPU, in evaluation mode, without gradients.
        described: JSON that the file carries along.

    Raises:
        ConfigError: without the extra ``onnx``.
        StageError: if the network cannot be traced, or the program's outputs are not the model's.
    """
    # Torch's exporter is written in onnxscript.
    onnx, onnxruntime, _ = (_package(name) for name in ("onnx", "onnxruntime", "onnxscript"))
    inference = Inference(model).eval()
    names = list(inference(_examples(model)))
    try:
        with warnings.catch_warnings():
            # What the exporter's own parts tell each other.
            for category in (DeprecationWarning, FutureWarning):
                warnings.filterwarnings(
                    "ignore", category=category, module=r"(torch|onnx|onnxscript|onnx_ir|copyreg)\b"
                )
            program = torch.onnx.export(
                inference,
                (_examples(model),),
                dynamo=True,
                input_names=[INPUT],
                output_names=names,
                dynamic_shapes={INPUT: {0: torch.export.Dim("batch", min=1)}},
                verbose=False,
            )
        if program is None:
            raise RuntimeError("the exporter gave no program")
        made = program.model_proto
    except Exception as error:
        raise _untraceable(model, error) from error
    onnx.helper.set_model_props(made, {_KEY: described})
    onnx.checker.check_model(made)
    onnx.save(made, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> dict[str, Tensor]:
        found = session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(values) for name, values in zip(names, found, strict=True)}

    compare(inference, run, "onnx")


def compare(inference: Inference, run: Callable[[Tensor], Mapping[str, Tensor]], format: str) -> None:
    """Compares a program with the model, in batches of other sizes than the one that it was traced with.

    Args:
        inference: the model.
        run: the program.
        format: for messages.

    Raises:
        StageError: if shapes, types or numbers differ by more than rounding does.
    """
    model = inference.model
    channels, height, width = model.card["image_shape"]
    for count in _COMPARED:
        images = example_images((channels, height, width), count)
        with torch.inference_mode():
            wanted, given = inference(images), run(images)
            for name, values in wanted.items():
                found = given[name] if name in given else torch.empty(0)
                if found.shape != values.shape or found.dtype != values.dtype:
                    raise StageError(
                        f"the {format} program must give {name} of shape {tuple(values.shape)} for {count} images, got "
                        f"{tuple(found.shape)} of {found.dtype}; export as safetensors."
                    )
                if name == OUTPUTS:
                    found, values = model.standardised(found), model.standardised(values)
                difference = float(((found - values).abs() / values.abs().clamp(min=1.0)).max())
                if not difference <= MOST_DIFFERENCE:
                    raise StageError(
                        f"the {format} program must give the model's {name} within {MOST_DIFFERENCE:g}, got a "
                        f"difference of {difference:g} in a batch of {count}; export as safetensors."
                    )


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"an ONNX file needs the package {name}; pip install 'stillhouse[onnx]'.") from error


def _examples(model: ImageModel) -> Tensor:
    channels, height, width = model.card["image_shape"]
    return example_images((channels, height, width), _TRACED)


def _untraceable(model: ImageModel, error: Exception) -> StageError:
    name = model.card.get("network", type(model.network).__name__)
    return StageError(f"network '{name}' cannot be traced ({in_one_line(error)}); export as safetensors.")
