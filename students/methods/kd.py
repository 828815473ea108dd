"""Knowledge distillation (Hinton, Vinyals and Dean, 2015, arXiv 1503.02531)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from students.methods import Batch, at_least_float32, check_positive, check_share, methods
from students.methods.ce import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


def kd_loss(logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), summed over classes, mean over the batch.

    Source: Hinton et al. 2015, section 2; the factor T^2 keeps the gradient's size whatever the temperature.

    Args:
        logits: student, (B, K).
        teacher_logits: teacher, (B, K); no gradient flows into them.
        temperature: T > 0; a scalar tensor gets gradients.

    Returns:
        A scalar.
    """
    student = (at_least_float32(logits) / temperature).log_softmax(dim=1)
    teacher = (at_least_float32(teacher_logits.detach()) / temperature).log_softmax(dim=1)
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(dim=1).mean()


@methods.register("kd")
@dataclass(frozen=True)
class KnowledgeDistillation:
    """Cross entropy and softened teacher probabilities: (1 - alpha) CE + alpha T^2 KL.

    needs: labels, teacher outputs (cached are enough). Tasks: classification. The defaults are those of the
    RepDistiller protocol.

    Args:
        alpha: weight of the teacher, in [0, 1].
        temperature: T, above 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels", "teacher_outputs"})
    tasks: ClassVar[frozenset[str]] = frozenset({"class"})

    alpha: float = 0.9
    temperature: float = 4.0

    def __post_init__(self) -> None:
        check_share("kd", "alpha", self.alpha, 0.9)
        check_positive("kd", "temperature", self.temperature, 4.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a weight."""
        return self.alpha < 1.0

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of the loss: ``ce`` and ``kd``."""
        return {
            "ce": (1.0 - self.alpha) * cross_entropy(outputs, batch.labels),
            "kd": self.alpha * kd_loss(outputs, batch.teacher(), self.temperature),
        }
