"""A student in an ONNX file that was exported here, run by onnxruntime and without torch."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace

#: See ``students.export.KEY``.
_KEY = "stillhouse_model"


@dataclass(frozen=True)
class OnnxStudent:
    """A program with what its file says of it.

    Args:
        label_space: what its outputs mean.
        image_shape: (C, H, W) of the images that it takes.
        about: what else is known of it.
        session: of onnxruntime, on the CPU.
    """

    label_space: LabelSpace
    image_shape: tuple[int, int, int]
    about: dict[str, Any]
    session: Any

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Outputs float32 (n, K) for images uint8 (n, C, H, W): logits, then predictions in the labels' own units."""
        (outputs,) = self.session.run(["outputs"], {"images": np.ascontiguousarray(images)})
        return np.asarray(outputs, np.float32)


def open_onnx_student(path: Path) -> OnnxStudent:
    """Opens what ``students.export.export_model`` wrote as "onnx".

    Raises:
        ConfigError: without the extra ``onnx``.
        DataError: if it is no ONNX file, or none that was exported here.
    """
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ConfigError("an ONNX file needs the package onnxruntime; pip install 'stillhouse[onnx]'.") from error
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise DataError(f"{path} must be an ONNX file ({first}); export it again.") from error
    try:
        described = json.loads(session.get_modelmeta().custom_metadata_map[_KEY])
        card = described["card"]
        channels, height, width = (int(size) for size in card["image_shape"])
        space = LabelSpace.from_dict(card["label_space"])
        return OnnxStudent(space, (channels, height, width), dict(described["about"]), session)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} must be an ONNX file of 'stillhouse export', got one without its description; export it again."
        ) from error
