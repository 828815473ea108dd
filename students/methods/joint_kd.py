"""Joint distillation: knowledge distillation of the class, imitation of the scalar.

Sources: Hinton, Vinyals and Dean (2015, arXiv 1503.02531) and Saputra et al. (2019, arXiv 1908.00858).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, check_positive, check_share, methods, split_outputs
from students.methods.ce import cross_entropy
from students.methods.kd import kd_loss
from students.methods.mse import squared_error

if TYPE_CHECKING:
    from torch import Tensor


@methods.register("joint_kd")
@dataclass(frozen=True)
class JointDistillation:
    """(1 - alpha) CE + alpha T^2 KL on the class, plus w (a label error + (1 - a) teacher error) on the scalar.

    Differs from its sources in: each of them serves one kind of label; here one network learns both, and w balances
    them. The errors are squared and of standardised values.

    needs: labels, teacher outputs (cached are enough). Tasks: class+scalar.

    Args:
        alpha: weight of the teacher's classes, in [0, 1].
        temperature: T, above 0.
        label_weight: a, in [0, 1].
        scalar_weight: w, above 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class+scalar"})

    alpha: float = 0.9
    temperature: float = 4.0
    label_weight: float = 0.5
    scalar_weight: float = 1.0

    def __post_init__(self) -> None:
        check_share("joint_kd", "alpha", self.alpha, 0.9)
        check_positive("joint_kd", "temperature", self.temperature, 4.0)
        check_share("joint_kd", "label_weight", self.label_weight, 0.5)
        check_positive("joint_kd", "scalar_weight", self.scalar_weight, 1.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.alpha < 1.0 or self.label_weight > 0.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce``, ``kd``, ``label`` and ``teacher``."""
        classes, values = batch.both()
        logits, predictions = split_outputs(outputs, values)
        teacher_logits, teacher_predictions = split_outputs(batch.teacher(), values)
        on_label = self.scalar_weight * self.label_weight
        on_teacher = self.scalar_weight * (1.0 - self.label_weight)
        return {
            "ce": (1.0 - self.alpha) * cross_entropy(logits, classes),
            "kd": self.alpha * kd_loss(logits, teacher_logits, self.temperature),
            "label": on_label * squared_error(predictions, values),
            "teacher": on_teacher * squared_error(predictions, teacher_predictions),
        }
