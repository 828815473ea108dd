"""How results change when the images are corrupted; block by block, so that no second test set is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from students.assessment.corruptions import corrupt
from students.evaluation import figures, headlines

#: Maps images uint8 (n, C, H, W) to outputs (n, K).
Answers = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def corrupted_figures(
    models: Sequence[Answers],
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    rows: npt.NDArray[np.integer],
    label_space: LabelSpace,
    *,
    corruption: str,
    severity: int,
    seed: int,
    block_rows: int = 1024,
) -> list[dict[str, float]]:
    """The headline figures of every model on corrupted images, by metric.

    Args:
        models: what answers, logits first and then predictions in their own units.
        images: uint8 (N, C, H, W), N at least 1.
        labels: a column of the label space, N rows.
        rows: number of each image, (N,); noise belongs to it.
        label_space: decides what is measured.
        corruption: of ``corruptions.CONSTANTS``.
        severity: 1 to 5.
        seed: makes the noise.
        block_rows: images that are corrupted at a time.

    Returns:
        A dict a model: "accuracy" in percent, "mae" in the unit of the headline figure.
    """
    sums: list[dict[str, float]] = [{} for _ in models]
    for start in range(0, len(images), block_rows):
        block = slice(start, start + block_rows)
        changed = corrupt(images[block], corruption, severity, seed=seed, rows=rows[block])
        for total, answer in zip(sums, models, strict=True):
            # Both figures are means over images, so those of blocks add up.
            for figure in headlines(figures(answer(changed), labels[block], label_space)):
                total[figure.metric] = total.get(figure.metric, 0.0) + figure.value * len(changed)
    return [{metric: total / len(images) for metric, total in found.items()} for found in sums]


def robustness(
    clean: Mapping[str, float], corrupted: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> dict[str, dict[str, Any]]:
    """The figures under corruption beside the clean one, by metric, JSON-ready.

    Args:
        clean: the headline figures on the images as they are, by metric.
        corrupted: the same by corruption and severity.

    Returns:
        For each metric ``clean``; ``mean``, over the corruptions of the means over their severities; ``drop``, by how
        much that is worse than clean, so above 0 for worse whatever the metric; and ``by`` corruption, then severity.
    """
    found = {}
    for metric, value in clean.items():
        by = {
            corruption: {str(severity): figures[metric] for severity, figures in severities.items()}
            for corruption, severities in corrupted.items()
        }
        mean = float(np.mean([np.mean(list(severities.values())) for severities in by.values()]))
        drop = value - mean if metric == "accuracy" else mean - value
        found[metric] = {"clean": value, "mean": mean, "drop": drop, "by": by}
    return found
