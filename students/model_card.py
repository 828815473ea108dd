"""The model card: what a person must know of a model before using it, as Markdown (after Mitchell et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data.labels import LabelSpace

#: Most class names that a card lists.
_MOST_NAMES = 100

_USE = {
    "onnx": """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
images = np.zeros((1, {shape}), np.uint8)  # {order}
{results} = session.run([{names}], {{"images": images}})""",
    "torch-export": """\
import torch

model = torch.export.load("{file}").module()
images = torch.zeros(1, {shape}, dtype=torch.uint8)  # {order}
{results} = (model(images)[name] for name in [{names}])""",
    "safetensors": """\
import torch
from pathlib import Path
from students.export import open_exported

model, about = open_exported(Path("{file}"))
images = torch.zeros(1, {shape}, dtype=torch.uint8)  # {order}
outputs = model(images)""",
}


def model_card(card: Mapping[str, Any], about: Mapping[str, Any], file: str, format: str) -> str:
    """The card of an exported model.

    Args:
        card: ``ImageModel.card``.
        about: what is known of how it was made, see ``flows.exporting``; what is missing is said to be unknown.
        file: name of the exported file.
        format: its format, see ``students.export``.
    """
    space = LabelSpace.from_dict(card["label_space"])
    parts = [
        f"# {about.get('name') or card['network']}",
        _sentence(space, card, about),
        "## Task\n\n" + _table(_task(space, card, about)),
        "## Results\n\n" + _results(about),
        "## Training\n\n" + _table(_training(about)),
        "## Use\n\n" + _use(space, card, file, format),
        "## Limits\n\n" + _limits(space),
    ]
    return "\n\n".join(parts) + "\n"


def _sentence(space: LabelSpace, card: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    task = {
        "class": f"one of {space.classes} classes",
        "scalar": "a value",
        "vector": f"{len(space.dimensions)} values",
        "class+scalar": f"one of {space.classes} classes and a value",
    }[space.kind]
    made = "trained" if about.get("stage") == "teacher" else "distilled"
    version = about.get("packages", {}).get("stillhouse", "")
    return (
        f"A network ({card['network']}) that tells {task} of an image, {made} with Stillhouse {version}".rstrip() + "."
    )


def _task(space: LabelSpace, card: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, str]:
    channels, height, width = card["image_shape"]
    rows = {}
    if space.has_classes:
        names = ", ".join(space.names[:_MOST_NAMES])
        rows["classes"] = names + (f" and {space.classes - _MOST_NAMES} more" if space.classes > _MOST_NAMES else "")
    for axis in space.dimensions:
        rows[axis.name] = f"{axis.describe(axis.minimum)} to {axis.describe(axis.maximum)}"
    rows["input"] = f"uint8 (N, {channels}, {height}, {width}), {_order(channels)}, any N"
    prepared = card.get("preprocessing")
    inside = "pixels are normalised"
    if prepared:
        size = f"{prepared['input_size']} pixels a side" if prepared["input_size"] else "their own size"
        inside = f"images are brought to {prepared['input_channels'] or channels} channels and {size}, then {inside}"
    rows["preprocessing"] = f"inside the model: {inside}; images of another size must be resized before"
    rows["outputs"] = " then ".join(
        [f"{space.classes} logits"] * space.has_classes
        + ["predictions: " + ", ".join(f"{axis.name} ({axis.unit or 'no unit'})" for axis in space.dimensions)]
        * bool(space.dimensions)
    )
    options = ", ".join(f"{key} {value}" for key, value in card["options"].items())
    rows["network"] = f"{card['network']}" + (f" ({options})" if options else "")
    for name, key in (("parameters", "parameters"), ("multiply-adds an image", "multiply_adds")):
        if about.get(key) is not None:
            rows[name] = f"{int(about[key]):,}"
    return rows


def _results(about: Mapping[str, Any]) -> str:
    figures: Sequence[Mapping[str, Any]] = about.get("figures", ())
    if not figures:
        return "None were recorded."
    images = about.get("test_images")
    on = f"On the {images:,} images of the test split" if images is not None else "On the test split"
    rows = {
        f"{figure['metric']} {figure.get('of', '')}".strip(): f"{figure['value']:.4g} {figure['unit']}".strip()
        for figure in figures
    }
    return f"{on}, which was read once, after the weights had been chosen on the validation split:\n\n" + _table(rows)


def _training(about: Mapping[str, Any]) -> dict[str, str]:
    unknown = "unknown"
    rows = {
        "source": str(about.get("source", unknown)),
        "home of the data": str(about.get("homepage", unknown)),
        "licence of the data": str(about.get("license", unknown)),
        "training images": f"{about['train_images']:,}" if about.get("train_images") is not None else unknown,
    }
    if about.get("data") == "real+synthetic":
        rows["synthetic images"] = "images of a generator trained on the same images, filtered by the teacher"
    if about.get("data") == "real+mixed":
        rows["mixed images"] = "pairs of the training images, blended or pasted together"
    for name, key in (("method", "method"), ("teacher", "teacher"), ("steps", "steps"), ("seed", "seed")):
        if about.get(key) not in (None, ""):
            rows[name] = str(about[key])
    rows["fingerprint"] = str(about.get("fingerprint", unknown))
    return rows


def _use(space: LabelSpace, card: Mapping[str, Any], file: str, format: str) -> str:
    channels, height, width = card["image_shape"]
    names = ["outputs", "probabilities"] if space.has_classes else ["outputs"]
    code = _USE[format].format(
        file=file,
        shape=f"{channels}, {height}, {width}",
        order=_order(channels),
        results=", ".join(names) if len(names) > 1 else f"({names[0]},)",
        names=", ".join(f'"{name}"' for name in names),
    )
    block = f"```python\n{code}\n```"
    if format == "torch-export":
        return block
    return f"{block}\n\n`stillhouse predict {file} IMAGE...` does the same from the command line."


def _limits(space: LabelSpace) -> str:
    lines = [
        "- The results hold for images like those of the test split, which are from the same source as the training "
        "images. Nothing is known of others.",
    ]
    if space.has_classes:
        lines.append(
            "- It names one of its classes for any image, also for one that shows none of them. Probabilities are the "
            "network's own; how well calibrated they are is in the report of the run."
        )
    if space.dimensions:
        lines.append("- Predictions are not cut off at the range of the labels, and come without an uncertainty.")
    lines.append(
        "- The licence above is that of the data. Whether the model may be used, shared or sold follows from it, from "
        "the teacher's terms and from your law; this card does not decide that."
    )
    return "\n".join(lines)


def _order(channels: int) -> str:
    return {1: "grey", 3: "red, green, blue"}.get(channels, f"{channels} channels")


def _table(rows: Mapping[str, str]) -> str:
    lines = ["| | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
