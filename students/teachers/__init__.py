"""Teachers from anywhere, one kind a file: whatever answers images with outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.labels import LabelSpace


class Teacher(Protocol):
    """Answers images with outputs in the units of its labels."""

    @property
    def label_space(self) -> LabelSpace:
        """What its outputs mean."""
        ...

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The outputs for images; a row's outputs do not depend on what other rows come with it.

        Args:
            images: uint8 (n, C, H, W).

        Returns:
            float32 (n, K): a logit for each class, if labels have classes, then each value in its own unit.

        Raises:
            StageError: if it does not answer, or with what is no answer.
        """
        ...
