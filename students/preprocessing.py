"""What a network wants of its images before they are normalised: another size, grey or colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from data.errors import ConfigError
from students.networks import ImageShape

#: Weights of red, green and blue in a grey level (ITU-R BT.601), those of Pillow's mode "L".
LUMA = (0.299, 0.587, 0.114)


#: Most pixels a side that a network may take: larger ones are a mistake, and an image would need gigabytes.
MOST_PIXELS = 4096


@dataclass(frozen=True)
class Preprocessing:
    """Size and channels that a network takes where they are not those of the images.

    Args:
        input_size: pixels a side; images are resized in whatever proportion. None: as they are.
        input_channels: 3: a grey level is repeated; 1: colours become their luma. None: as they are.
    """

    input_size: int | None = None
    input_channels: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Inverse of ``to_dict``.

        Raises:
            TypeError: if a value is no whole number.
        """
        for name in ("input_size", "input_channels"):
            if value[name] is not None and type(value[name]) is not int:
                raise TypeError(f"{name} must be a whole number or null, got {value[name]!r}")
        return cls(value["input_size"], value["input_channels"])

    def input_shape(self, image_shape: ImageShape) -> ImageShape:
        """Shape of what the network takes, for images of ``image_shape``.

        Raises:
            ConfigError: if a channel count cannot be made of the other, or a size is out of range.
        """
        channels, height, width = image_shape
        if self.input_size is not None:
            if not 1 <= self.input_size <= MOST_PIXELS:
                raise ConfigError(f"input_size must be 1 to {MOST_PIXELS} pixels, got {self.input_size}; try 224.")
            height = width = self.input_size
        if self.input_channels is not None:
            if self.input_channels != channels and {channels, self.input_channels} != {1, 3}:
                raise ConfigError(
                    f"input_channels must be that of the images or turn 1 into 3 or 3 into 1, got "
                    f"{self.input_channels} for images of {channels}."
                )
            channels = self.input_channels
        return channels, height, width

    def module(self, image_shape: ImageShape) -> nn.Module:
        """A network without weights that maps float grey levels (B, C, H, W) to ``input_shape``."""
        wanted = self.input_shape(image_shape)
        steps: list[nn.Module] = []
        # The cheaper order: channels are repeated after an image grew, and merged before.
        if wanted[0] < image_shape[0]:
            steps.append(Grey())
        if wanted[1:] != image_shape[1:]:
            steps.append(Resize(image_shape[1:], wanted[1:]))
        if wanted[0] > image_shape[0]:
            steps.append(Repeat(wanted[0]))
        return nn.Sequential(*steps)


class Resize(nn.Module):
    """Bilinear resizing with antialiasing, as two products with fixed matrices.

    It equals ``torch.nn.functional.interpolate(mode="bilinear", antialias=True)``. As products it needs no operator
    that export formats lack, and its gradient is the same in every run on GPUs too.

    Args:
        before: height and width of what comes in.
        after: height and width of what goes out.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        super().__init__()
        rows, columns = (resizing_matrix(*sizes) for sizes in zip(before, after, strict=True))
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        self.register_buffer("columns", torch.from_numpy(columns.T.copy()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps float (B, C, H, W) to (B, C, H', W'), in float32 also where autocast would round grey levels."""
        if torch.is_autocast_enabled(images.device.type):
            with torch.autocast(images.device.type, enabled=False):
                return self._products(images)
        return self._products(images)

    def _products(self, images: Tensor) -> Tensor:
        return torch.matmul(torch.matmul(self.rows, images), self.columns)


def resizing_matrix(before: int, after: int) -> npt.NDArray[np.float32]:
    """Weights (after, before) of each old pixel in each new one: a triangle around the new pixel's centre.

    Its half width is one pixel of the coarser of both grids; weights at the border are scaled to a sum of 1.
    """
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale
    distances = np.abs(np.arange(before)[None, :] + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distances, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


class Grey(nn.Module):
    """Colours to their luma."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(LUMA)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, 3, H, W) to (B, 1, H, W)."""
        return (images * self.weights).sum(dim=1, keepdim=True)


class Repeat(nn.Module):
    """One channel as several equal ones.

    Args:
        channels: how many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, 1, H, W) to (B, channels, H, W)."""
        return images.expand(-1, self.channels, -1, -1)
