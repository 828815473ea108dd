"""What a teacher from elsewhere takes and gives, and the way there from images and back to labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, StageError
from data.labels import LabelSpace
from students.networks import ImageShape

if TYPE_CHECKING:
    from students.preprocessing import Preprocessing

#: Smallest probability whose logarithm is taken: what float32 cannot tell from 0 beside 1.
LEAST_PROBABILITY = 1e-7
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Interface:
    """What goes in and comes out of a teacher that was made for something else.

    Args:
        label_space: of this run: what its answers have to mean.
        image_shape: (C, H, W) of the images of this run.
        input_size: pixels a side that it takes; None: those of the images.
        input_channels: channels that it takes, 1 or 3; None: those of the images.
        mean: subtracted from pixels in 0..1: one for all channels, or one a channel that it takes.
        std: pixels are divided by it; the same.
        gives: what it gives for classes.
        values: unit of its predictions: that of the label, or 0..1 over the label's range.
        outputs: which of its outputs are used, in the order of the label space; None: all.
    """

    label_space: LabelSpace
    image_shape: ImageShape
    input_size: int | None = None
    input_channels: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    gives: Literal["logits", "probabilities"] = "logits"
    values: Literal["label", "normalised"] = "label"
    outputs: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Checks what does not need the teacher.

        Raises:
            ConfigError: naming the key of section teacher that cannot work.
        """
        space, channels = self.label_space, self.input_shape[0]
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, channels):
                raise ConfigError(
                    f"teacher.{name} must have 1 or {channels} numbers, one a channel that the teacher takes, got "
                    f"{len(getattr(self, name))}; see teacher.input_channels."
                )
        if min(self.std) <= 0:
            raise ConfigError(f"teacher.std must be above 0, got {min(self.std)}.")
        if self.outputs is not None and (
            len(set(self.outputs)) != space.outputs or len(self.outputs) != space.outputs or min(self.outputs) < 0
        ):
            raise ConfigError(
                f"teacher.outputs must be {space.outputs} different column numbers, one an output of the "
                f"{space.kind} labels, got {list(self.outputs)}."
            )
        if self.gives == "probabilities" and not space.has_classes:
            raise ConfigError(
                f"teacher.gives must be 'logits' for {space.kind} labels, which have no classes, got 'probabilities'."
            )
        if self.values == "normalised" and not space.dimensions:
            raise ConfigError("teacher.values must be 'label' for class labels, which have no values.")

    @property
    def input_shape(self) -> ImageShape:
        """(C, H, W) of what the teacher takes."""
        return self.preprocessing().input_shape(self.image_shape)

    def preprocessing(self) -> Preprocessing:
        """What is done to images before they are normalised."""
        from students.preprocessing import Preprocessing

        return Preprocessing(self.input_size, self.input_channels)

    @property
    def resizes(self) -> bool:
        """Whether the teacher takes another size or other channels than those of the images."""
        return self.input_shape != self.image_shape

    @property
    def variant(self) -> str:
        """What images become before they are sent to the teacher, for ``students.ledger``; empty: as they are."""
        return "x".join(map(str, self.input_shape)) if self.resizes else ""

    def pixels(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Mean and standard deviation of each channel that it takes, in grey levels 0..255, twice (C,)."""
        channels = self.input_shape[0]
        mean, std = (255.0 * np.resize(np.asarray(item, np.float64), channels) for item in (self.mean, self.std))
        return mean.astype(np.float32), std.astype(np.float32)

    def scales(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Offset and factor that turn its outputs into the labels' units: of a shape as ``label_statistics`` has it."""
        space = self.label_space
        low, span = np.zeros(space.outputs, np.float32), np.ones(space.outputs, np.float32)
        if self.values == "normalised":
            low[space.classes :] = [axis.minimum for axis in space.dimensions]
            span[space.classes :] = [axis.maximum - axis.minimum for axis in space.dimensions]
        return (low[0], span[0]) if space.kind in ("class", "scalar") else (low, span)

    def grey_levels(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Images in the size and channels that it takes, float32 grey levels 0..255."""
        import torch

        if not self.resizes:
            return images.astype(np.float32)
        with torch.inference_mode():
            made: npt.NDArray[np.float32] = (
                self.preprocessing().module(self.image_shape)(torch.from_numpy(images).float()).numpy()
            )
        return np.ascontiguousarray(made)

    def bytes(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The same rounded to uint8."""
        if not self.resizes:
            return images
        return np.clip(np.round(self.grey_levels(images)), 0, 255).astype(np.uint8)

    def normalised(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The same with mean and standard deviation, float32."""
        mean, std = self.pixels()
        return (self.grey_levels(images) - mean[:, None, None]) / std[:, None, None]

    def picked(self, count: int, who: str) -> tuple[int, ...]:
        """The columns that are used of ``count`` outputs.

        Raises:
            StageError: if there are too few, or the wrong number.
        """
        wanted = self.label_space.outputs
        if self.outputs is None and count != wanted:
            raise StageError(
                f"{who} must give {wanted} outputs an image for the {self.label_space.kind} labels, got {count}; "
                "choose the columns by teacher.outputs."
            )
        if self.outputs is not None and max(self.outputs) >= count:
            raise StageError(f"{who} must give output {max(self.outputs)} of teacher.outputs, got {count} outputs.")
        return self.outputs if self.outputs is not None else tuple(range(wanted))

    def narrowed(self) -> Interface:
        """The same for a teacher that has the wanted outputs alone."""
        return replace(self, outputs=None)

    def to_answers(self, outputs: npt.NDArray[Any], who: str) -> npt.NDArray[np.float32]:
        """Its outputs as answers.

        Args:
            outputs: what it gave, finite, (n, R).
            who: it, for messages.

        Returns:
            float32 (n, K): logits, then values in the labels' units.

        Raises:
            StageError: if columns are missing, or probabilities are none.
        """
        classes = self.label_space.classes
        picked = np.asarray(outputs, np.float32)[:, list(self.picked(outputs.shape[1], who))]
        if self.gives == "probabilities":
            shares = picked[:, :classes]
            if shares.size and (shares.min() < -_TOLERANCE or shares.max() > 1.0 + _TOLERANCE):
                raise StageError(
                    f"{who} must give probabilities in 0..1, got {shares.min():g}..{shares.max():g}; if these are "
                    "logits, set teacher.gives to logits."
                )
            picked[:, :classes] = np.log(np.clip(shares, LEAST_PROBABILITY, 1.0))
        low, span = self.scales()
        return np.asarray(picked * span + low, np.float32)
