"""The command ``predict``: what a student says of images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.store import Store
from flows.exporting import MODEL_STAGES, open_model

#: What is said of a file of ``--format torch-export``.
_PROGRAM = "; a torch-export program is code, which is not run here: load it with torch.export.load."
#: Images that are read and answered at a time.
BLOCK = 64


@dataclass(frozen=True)
class Student:
    """Something that answers images.

    Args:
        label_space: what its outputs mean.
        image_shape: (C, H, W) of the images that it takes.
        answer: maps images uint8 (n, C, H, W), n at most ``BLOCK``, to float32 (n, K).
    """

    label_space: LabelSpace
    image_shape: tuple[int, int, int]
    answer: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def predict_command(
    reference: str,
    images: list[Path],
    store_path: Path,
    *,
    top: int,
    resize: bool,
    device: str,
    factory: str | None,
    as_json: bool,
) -> None:
    """Prints what a student says of every image.

    Args:
        reference: folder of a distill or teacher artifact, the first digits of its fingerprint, or an exported
            safetensors or ONNX file.
        images: PNG and JPEG files, folders of them, or HDF5 sets.
        store_path: where artifacts lie.
        top: classes told of each image, the likeliest first.
        resize: whether files of another size are resized.
        device: where the network runs.
        factory: a factory of the user's own that the model may be built by.
        as_json: whether one JSON object is printed.

    Raises:
        ConfigError: if the student cannot be used.
        DataError: if the student or an image cannot be read.
    """
    found = list(_found(images))
    student = open_student(reference, store_path, device, factory)
    rows = []
    for names, block in _blocks(found, student.image_shape, resize=resize):
        for name, outputs in zip(names, student.answer(block), strict=True):
            row = {"image": name, **describe(outputs, student.label_space, top)}
            if as_json:
                rows.append(row)
            else:
                print(f"{name}  {in_words(row)}")
    if as_json:
        print(json.dumps({"student": reference, "label_space": student.label_space.to_dict(), "predictions": rows}))


def open_student(reference: str, store_path: Path, device: str, factory: str | None) -> Student:
    """Opens an artifact or an exported file.

    Raises:
        ConfigError: if it is of a kind that cannot be used.
        DataError: if it is not there or damaged.
    """
    path = Path(reference)
    if path.is_file():
        if path.suffix == ".onnx":
            from students.onnx_file import open_onnx_student

            program = open_onnx_student(path)
            return Student(program.label_space, program.image_shape, program.predict)
        if path.suffix != ".safetensors":
            raise ConfigError(
                f"STUDENT must be an artifact, or a file of 'stillhouse export' that ends with .safetensors or .onnx, "
                f"got '{path.name}'{_PROGRAM if path.suffix == '.pt2' else '.'}"
            )
    from data.compute import pick_compute
    from data.factories import trust_factory
    from students.evaluation import predict
    from students.export import open_exported

    compute = pick_compute(device, "fp32")
    if path.is_file():
        if factory is not None:
            trust_factory(factory)
        model = open_exported(path)[0]
        compute.place(model)
    else:
        artifact = Store(store_path).resolve(reference)
        stage = artifact.manifest["stage"]
        if stage not in MODEL_STAGES:
            raise ConfigError(f"predict takes a {' or '.join(MODEL_STAGES)} artifact, got a {stage} artifact.")
        model = open_model(artifact, compute, factory)
    channels, height, width = model.card["image_shape"]
    return Student(model.label_space, (channels, height, width), lambda block: predict(model, block, compute, BLOCK))


def describe(outputs: npt.NDArray[np.floating[Any]], space: LabelSpace, top: int) -> dict[str, Any]:
    """What outputs (K,) say, JSON-ready.

    Args:
        outputs: logits, then predictions in the labels' own units.
        space: what they mean.
        top: most classes that are told, at least 1.

    Returns:
        ``class`` and ``classes`` (name and probability, the likeliest first) where labels have classes; ``values``
        (name, value, unit) where they have a continuous part.
    """
    told: dict[str, Any] = {}
    if space.has_classes:
        logits = outputs[: space.classes].astype(np.float64)
        weights = np.exp(logits - logits.max())
        probabilities = weights / weights.sum()
        order = np.argsort(-probabilities, kind="stable")[:top]
        told["class"] = space.names[order[0]]
        told["classes"] = [
            {"name": space.names[place], "probability": round(float(probabilities[place]), 6)} for place in order
        ]
    if space.dimensions:
        values = outputs[space.classes :]
        told["values"] = [
            {"name": axis.name, "value": float(value), "unit": axis.unit}
            for axis, value in zip(space.dimensions, values, strict=True)
        ]
    return told


def in_words(told: dict[str, Any]) -> str:
    """What ``describe`` says, in one line."""
    parts = [f"{found['name']} {100.0 * found['probability']:.1f} %" for found in told.get("classes", ())]
    values = told.get("values", ())
    for axis in values:
        named = f"{axis['name']} " if len(values) > 1 else ""
        parts.append(f"{named}{axis['value']:.4g} {axis['unit']}".strip())
    return ", ".join(parts)


def _found(paths: list[Path]) -> Iterator[Path]:
    """Image files and sets, those of a folder sorted by name."""
    from data.image_files import SUFFIXES

    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: there is no such file or folder.")
            yield path
            continue
        inside = sorted(item for item in path.iterdir() if item.suffix.lower() in SUFFIXES and item.is_file())
        if not inside:
            raise DataError(f"{path}: must hold image files ({', '.join(SUFFIXES)}), got a folder without any.")
        yield from inside


def _blocks(
    paths: list[Path], image_shape: tuple[int, int, int], *, resize: bool
) -> Iterator[tuple[list[str], npt.NDArray[np.uint8]]]:
    """Names and images, at most ``BLOCK`` at a time; neighbouring files together, sets each by itself."""
    from data.image_files import read_image_file

    names: list[str] = []
    images: list[npt.NDArray[np.uint8]] = []
    for path in paths:
        if path.suffix.lower() in (".h5", ".hdf5"):
            if names:
                yield names, np.stack(images)
                names, images = [], []
            yield from _rows(path, image_shape)
            continue
        names.append(str(path))
        images.append(read_image_file(path, image_shape, resize=resize, resize_option="try --resize"))
        if len(names) == BLOCK:
            yield names, np.stack(images)
            names, images = [], []
    if names:
        yield names, np.stack(images)


def _rows(path: Path, image_shape: tuple[int, int, int]) -> Iterator[tuple[list[str], npt.NDArray[np.uint8]]]:
    """The images of a set, named by their rows."""
    from data.untrusted import open_untrusted

    found = open_untrusted(path)
    if "images" not in found.columns:
        raise DataError(f"{path}: must be a set of images, got kind '{found.kind}' without any.")
    shape = found.columns["images"].shape[1:]
    if shape != image_shape:
        wanted, got = ("x".join(map(str, sizes)) for sizes in (image_shape, shape))
        raise DataError(f"{path}: must hold images of {wanted}, got {got}; make a set of that size.")
    for start in range(0, len(found), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(found)))
        yield [f"{path}:{row}" for row in rows], found.take("images", rows)
