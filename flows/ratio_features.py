"""What the density ratio of a run reads and how it rates images, whatever ``ratio.features`` is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from data.compute import Compute
    from filters.features import FeatureNetwork
    from filters.vicinity import Vicinity
    from flows.execute import StageContext

#: (images uint8 (n, C, H, W), labels (n, ...)) to density ratios float32 (n,), at least 0.
Rate = Callable[[npt.NDArray[np.uint8], npt.NDArray[Any]], npt.NDArray[np.float32]]
#: Images uint8 (n, C, H, W) to logits, then normalised values, float32 (n, K).
Predict = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def open_ratio(context: StageContext, compute: Compute) -> Rate:
    """The trained density ratio of a stage that has it as its input.

    Where ``ratio.vicinity_gaps`` is above 0, it is 0 for images whose predicted label is not near their label.

    Args:
        context: of a stage with the inputs "real", "generator", "ratio" and those that ``ratio.features`` asks for.
        compute: where and in what precision.

    Raises:
        DataError: if an input is damaged or does not fit the ratio.
    """
    return rate_within(context, compute, load_rate(context, context.inputs["ratio"].folder, compute))


def load_rate(context: StageContext, folder: Path, compute: Compute) -> Rate:
    """The density ratio as it was learnt, before the rule of vicinities.

    Args:
        context: as for ``open_ratio``, but for the input "ratio".
        folder: of the ratio.
        compute: where and in what precision.
    """
    if context.config.ratio.features == "generator":
        from generators.ratio_head import load_density_ratio

        return load_density_ratio(context.inputs["generator"].folder, compute)
    from filters.ratio import load_ratio

    return load_ratio(folder, feature_network(context, folder, compute), compute).ratio


def rate_within(context: StageContext, compute: Compute, rate: Rate) -> Rate:
    """The ratio with the rule of vicinities, if the configuration has it: 0 for what lies outside."""
    vicinity = vicinity_of(context)
    if vicinity is None:
        return rate
    predict = predict_of(context, compute)

    def rate_inside(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        inside = vicinity.holds(predict(images), labels)
        return np.where(inside, rate(images, labels), np.float32(0.0))

    return rate_inside


def feature_network(context: StageContext, folder: Path, compute: Compute) -> FeatureNetwork:
    """The frozen network that the ratio reads; not for ``ratio.features`` "generator", which has none.

    Args:
        context: of a stage with the inputs that ``ratio.features`` asks for.
        folder: of the ratio, which holds the auto-encoder.
        compute: where and in what precision.
    """
    kind = context.config.ratio.features
    if kind == "classifier":
        from filters.features import load_extractor

        return load_extractor(context.inputs["features"].folder, compute)
    if kind == "autoencoder":
        from filters.autoencoder import load_autoencoder

        return load_autoencoder(folder, compute)
    if kind == "teacher":
        from flows.teachers import teacher_network

        return teacher_network(context, compute).requires_grad_(False)
    from students.model import load_model

    return load_model(context.inputs[kind].folder, compute).requires_grad_(False)


def vicinity_of(context: StageContext) -> Vicinity | None:
    """The vicinity of labels that the density ratio was learnt with; None without one, or without a ratio."""
    gaps = context.config.ratio.vicinity_gaps
    if not gaps or not context.config.candidates.subsample:
        return None
    from data.splitting import TRAIN
    from filters.vicinity import Vicinity
    from flows.stages.common import RealSet

    images = RealSet.of(context.inputs["real"]).images
    labels = images.take("labels", np.flatnonzero(images.columns["split"] == TRAIN))
    return Vicinity.from_labels(labels, images.label_space, gaps)


def predict_of(context: StageContext, compute: Compute) -> Predict:
    """Predicts labels with the network of the stage ``features``."""
    from filters.features import answers, load_extractor

    network = load_extractor(context.inputs["features"].folder, compute)
    return lambda images: answers(network, images, compute)
