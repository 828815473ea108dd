"""Whether images show what their labels say, as a classifier or a regressor sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace


def class_accuracy(outputs: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any], label_space: LabelSpace) -> float:
    """Share of images that a classifier sees the class of their label in, in percent.

    Args:
        outputs: (n, K) of a network over the label space; the logits come first.
        labels: a column of the label space.
        label_space: one with classes.
    """
    seen = outputs[:, : label_space.classes].argmax(axis=1)
    return 100.0 * float(np.mean(seen == label_space.class_part(labels)))


def label_scores(
    outputs: npt.NDArray[np.floating[Any]], labels: npt.NDArray[Any], label_space: LabelSpace
) -> list[float]:
    """The label score, mean |regressor(image) - label| in the label's own unit, one a continuous dimension.

    Source: CcGAN (Ding et al., 2021, arXiv 2011.07466). On real images it is the regressor's own error, below which
    no score of generated images means anything.

    Args:
        outputs: (n, K) of a network over the label space; continuous values, in their own units, come last.
        labels: a column of the label space.
        label_space: what labels mean.

    Returns:
        L numbers; none for classes.
    """
    wanted = label_space.continuous_part(labels)
    seen = np.asarray(outputs, np.float64)[:, label_space.classes :]
    return [float(score) for score in np.abs(seen - wanted).mean(axis=0)]
