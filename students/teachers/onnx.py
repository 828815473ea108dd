"""A teacher in an ONNX file, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError, StageError
from data.factories import in_one_line
from students.teachers.function import FunctionAnswers
from students.teachers.interface import Interface

if TYPE_CHECKING:
    from data.compute import Compute

#: Types of inputs that images can be given as, by their names in ONNX.
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def open_onnx(path: Path, interface: Interface, compute: Compute, block_rows: int) -> FunctionAnswers:
    """An ONNX file as a teacher.

    It takes one input of images: float32 or float16 normalised ones, or uint8 grey levels if it normalises them itself.
    Its first output is read. Where the file fixes the number of images, that many are given at a time.

    Args:
        path: the file; weights that lie outside of it must be in ``<file>.data``.
        interface: what it takes and gives.
        compute: decides between CPU and CUDA.
        block_rows: images a call, where the file leaves it open.

    Raises:
        ConfigError: without the extra ``onnx``, or if mean and std are given for a file that takes uint8.
        DataError: if the file cannot be read.
        StageError: if it does not take such images.
    """
    runtime = _runtime()
    who = f"teacher {path}"
    check_weights_beside(path)
    wanted = ["CPUExecutionProvider"]
    if compute.device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        wanted.insert(0, "CUDAExecutionProvider")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:
        raise DataError(f"{who} must be an ONNX file, got {in_one_line(error)}.") from error
    given = session.get_inputs()
    if len(given) != 1 or given[0].type not in _TYPES or len(given[0].shape) != 4:
        got = ", ".join(f"{item.type} {item.shape}" for item in given)
        raise StageError(f"{who} must take one input of images (B, C, H, W), float or uint8, got {got}.")
    kind = _TYPES[given[0].type]
    _check_shape(given[0].shape, interface, who)
    if kind is np.uint8 and (interface.mean, interface.std) != ((0.0,), (1.0,)):
        raise ConfigError(f"teacher.mean and teacher.std must be unset, as {who} takes uint8 images, got others.")
    name, output = given[0].name, session.get_outputs()[0].name

    def call(images: npt.NDArray[Any]) -> Any:
        return session.run([output], {name: images.astype(kind, copy=False)})[0]

    rows = given[0].shape[0] if isinstance(given[0].shape[0], int) else block_rows
    return FunctionAnswers(call, interface, who, rows, raw=kind is np.uint8)


def check_weights_beside(path: Path) -> None:
    """Checks that a file's weights lie in it or in ``<file>.data``, which are what it is known by.

    Raises:
        DataError: if it is no ONNX file, or its weights lie elsewhere.
        ConfigError: without the extra ``onnx``.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(
            "teacher.kind onnx needs the packages of its extra; pip install 'stillhouse[onnx]'."
        ) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise DataError(f"teacher {path} must be an ONNX file, got {in_one_line(error)}.") from error
    places = {entry.value for tensor in _tensors(model) for entry in tensor.external_data if entry.key == "location"}
    others = places - {f"{path.name}.data"}
    if others:
        raise DataError(
            f"teacher {path} must have its weights in it or in {path.name}.data, got {', '.join(sorted(others))}; save "
            "it anew with onnx.save."
        )


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor of a message of ONNX: of graphs, of graphs inside nodes, of attributes and functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for _, value in message.ListFields():
        # One message, or several; numbers and words hold no tensors.
        for inner in [value] if hasattr(value, "ListFields") else value if hasattr(value, "add") else ():
            yield from _tensors(inner)


def _runtime() -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError(
            "teacher.kind onnx needs the packages of its extra; pip install 'stillhouse[onnx]'."
        ) from error
    return onnxruntime


def _check_shape(shape: list[Any], interface: Interface, who: str) -> None:
    fixed = [
        (wanted, got) for wanted, got in zip(interface.input_shape, shape[1:], strict=True) if isinstance(got, int)
    ]
    if any(wanted != got for wanted, got in fixed):
        raise ConfigError(
            f"{who} must take images of shape {interface.input_shape}, got {tuple(shape[1:])}; set "
            "teacher.input_size and teacher.input_channels."
        )
