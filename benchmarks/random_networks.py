"""Networks with random weights in the place of trained ones: what they cost is the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from data.checkpoint import save_weights
from data.files import write_json
from data.labels import LabelSpace
from data.schema import KINDS
from data.store import Artifact
from data.workspace import Workspace
from data.writing import write_set
from filters.features import FILES, Extractor
from filters.ratio import CARD as RATIO_CARD
from filters.ratio_fitting import WEIGHTS as RATIO_WEIGHTS
from filters.ratio_network import RatioNetwork
from flows.config import Config
from flows.execute import StageContext
from generators.card import describe_network, save_generator
from generators.networks import build_network
from students.model import build_model, save_model

SHAPE = (3, 32, 32)
SPACE = LabelSpace("class", tuple(f"class {number}" for number in range(10)))
#: The last weights of the ratio are made larger by this, so that it does not accept nearly all.
_SPREAD = 20.0


def write_networks(
    root: Path, *, generator_width: int, feature_width: int, ratio_widths: tuple[int, ...], teacher_channels: int
) -> dict[str, Artifact]:
    """Writes an SNGAN, an extractor, a density ratio and a teacher for 3 x 32 x 32 pixels and ten classes.

    Returns:
        What stage ``candidates`` takes as its inputs.
    """
    torch.manual_seed(0)
    folders = {name: root / name for name in ("real", "generator", "features", "ratio", "teacher")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    network = build_network("sngan", {"width": generator_width})
    card = describe_network("sngan", network, SHAPE, SPACE, {})
    save_generator(folders["generator"], card, network.generator(SHAPE, SPACE))
    extractor = Extractor(SHAPE, SPACE.outputs, feature_width)
    FILES.save(folders["features"], extractor, SHAPE, SPACE, feature_width)
    described: dict[str, Any] = {"image_shape": list(SHAPE), "label_space": SPACE.to_dict()}
    ratio = RatioNetwork(extractor.feature_size, SPACE, ratio_widths, activation="softplus")
    last = ratio.body[-2]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(_SPREAD)
    save_weights(folders["ratio"] / RATIO_WEIGHTS, ratio)
    shape = {"feature_size": extractor.feature_size, "widths": list(ratio_widths), "dropout": 0.5}
    write_json(folders["ratio"] / RATIO_CARD, {**described, **shape, "activation": "softplus"})
    save_model(
        folders["teacher"],
        build_model("convnet", {"channels": teacher_channels}, SHAPE, SPACE, np.full(3, 127.5), np.full(3, 64.0)),
    )
    columns: dict[str, Any] = {
        "images": np.zeros((20, *SHAPE), np.uint8),
        "labels": np.arange(20) % 10,
        "split": np.zeros(20, np.uint8),
        "source_row": np.arange(20),
    }
    assert set(columns) == set(KINDS["real"])
    write_set(folders["real"] / "real.h5", columns, kind="real", label_space=SPACE, provenance={}, license="CC0-1.0")
    return {name: Artifact(folder, {"fingerprint": name, "metrics": {}}) for name, folder in folders.items()}


def context_of(config: Config, inputs: dict[str, Artifact], folder: Path) -> StageContext:
    """What a stage takes, outside of any run."""
    request = SimpleNamespace(config={"seed": 0}, seed=0)
    node: Any = SimpleNamespace(config=config, request=request, stage="")
    return StageContext(node, inputs, Workspace(folder), print)
