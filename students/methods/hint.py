"""Hints: the student's features predict the teacher's (Romero et al., 2015, FitNets, arXiv 1412.6550)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from data.errors import ConfigError
from students.label_loss import label_loss
from students.methods import Batch, Features, Sizes, at_least_float32, check_choice, check_positive, methods

if TYPE_CHECKING:
    from torch import Tensor, nn


def pooled_to_smaller(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two feature maps (B, C, H, W) at the smaller of their heights and widths, by adaptive average pooling.

    Features that are no maps, (B, F), stay as they are.
    """
    if first.ndim < 4 or first.shape[2:] == second.shape[2:]:
        return first, second
    from torch.nn.functional import adaptive_avg_pool2d

    size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    return adaptive_avg_pool2d(first, size), adaptive_avg_pool2d(second, size)


def hint_loss(student: Tensor, teacher: Tensor, regressor: nn.Module) -> Tensor:
    """Mean squared difference between the teacher's features and what the regressor makes of the student's.

    Source: Romero et al. 2015, equation 3, of which this is the mean over elements instead of half the sum.

    Args:
        student: (B, C, H, W) or (B, F).
        teacher: (B, C', H', W') or (B, F'); no gradient flows into them.
        regressor: maps C channels to C', or F features to F'.

    Returns:
        A scalar.
    """
    own, other = pooled_to_smaller(at_least_float32(student), at_least_float32(teacher.detach()))
    predicted: Tensor = regressor(own)
    return (predicted - other).square().mean()


@methods.register("hint")
@dataclass(frozen=True)
class Hint:
    """The loss of the labels plus w times the squared error of the teacher's features, predicted from the student's.

    The regressor is a 1x1 convolution and batch normalisation of a map, or a linear layer on pooled features; it is
    trained with the student and no part of the result. Differs from the paper in: hint and labels are learnt together
    instead of in two stages, so that every method takes the same steps, and the regressor is normalised, both as in
    the RepDistiller protocol; it has no rectifier; maps of different resolution are averaged to the smaller one; no
    teacher outputs are used.

    needs: labels, the student's features, the teacher's features. Tasks: all.

    Args:
        hint_weight: w, above 0.
        on: "maps" or "pooled" features.
        layer: which of the maps, of the last ones of each resolution, the largest first; negative from the end.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "student_features", "teacher_features"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class", "scalar", "vector", "class+scalar"})

    hint_weight: float = 100.0
    on: str = "maps"
    layer: int = -2

    def __post_init__(self) -> None:
        check_positive("hint", "hint_weight", self.hint_weight, 100.0)
        check_choice("hint", "on", self.on, ("maps", "pooled"))

    def features(self, features: Features, whose: str) -> Tensor:
        """Those of a network's features that are matched.

        Raises:
            ConfigError: if the network has no such map.
        """
        if self.on == "pooled":
            return features.pooled
        count = len(features.maps)
        if not -count <= self.layer < count:
            raise ConfigError(
                f"option 'layer' of method 'hint' must be one of the {count} feature maps of the {whose}, "
                f"got {self.layer}; try {'-1' if count else 'on: pooled'}."
            )
        return features.maps[self.layer]

    def auxiliary(self, sizes: Sizes) -> nn.Module:
        """The regressor.

        Raises:
            ConfigError: if one of the networks has no such map.
        """
        from torch import nn

        if sizes.student is None or sizes.teacher is None:
            raise ValueError("sizes must have features of student and teacher for this method, got none.")
        student, teacher = self.features(sizes.student, "student"), self.features(sizes.teacher, "teacher")
        if self.on == "pooled":
            return nn.Linear(student.shape[-1], teacher.shape[-1])
        # With the weight of the protocol and its learning rate, descent on a bare convolution is unstable. Statistics
        # are always those of the batch, because the regressor is never used outside training.
        return nn.Sequential(
            nn.Conv2d(student.shape[-3], teacher.shape[-3], 1, bias=False),
            nn.BatchNorm2d(teacher.shape[-3], track_running_stats=False),
        )

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: those of the labels (``ce``, ``mse``) and ``hint``."""
        student = self.features(batch.features(), "student")
        teacher = self.features(batch.asked().features(batch.seen()), "teacher")
        hint = self.hint_weight * hint_loss(student, teacher, batch.own_network())
        return {**label_loss(batch, outputs), "hint": hint}
