"""Where and how numbers are computed: device, precision, memory format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from data.errors import ConfigError


@dataclass(frozen=True)
class Compute:
    """A device with the precision and memory format that networks run in.

    Args:
        device: the torch device.
        autocast_dtype: type of the autocast regions, or None for float32 throughout.
        channels_last: whether images and convolutions use the NHWC memory format.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None = None
    channels_last: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes run. Losses are computed outside it, in float32."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Moves a network to the device, in this memory format."""
        module = module.to(self.device)
        return module.to(memory_format=torch.channels_last) if self.channels_last else module

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """Moves images (B, C, H, W) to the device, in this memory format."""
        images = images.to(self.device, non_blocking=True)
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def generator(self, seed: int) -> torch.Generator:
        """A random generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)

    def seed_networks(self, seed: int) -> None:
        """Seeds the randomness inside networks, such as dropout, which comes from torch's global generators.

        ``torch.manual_seed`` does the same for all devices and takes a hundred times as long.
        """
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)


def pick_compute(device: str = "auto", precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto") -> Compute:
    """Chooses the device and the precision.

    Args:
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
        precision: "auto" takes bf16 with channels_last on GPUs and on CPUs with bf16 matrix units, else fp32; "fp16"
            is for GPUs, also those without bf16.

    Raises:
        ConfigError: if the device does not exist or cannot compute in this precision.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"compute.device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got '{device}'.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"compute.device is '{device}' but no CUDA device is there; try 'auto' or 'cpu'.")
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if chosen.type == "cuda" else _cpu_has_bf16_units()
        precision = "bf16" if fast else "fp32"
    if precision == "fp16" and chosen.type != "cuda":
        raise ConfigError(f"compute.precision 'fp16' must go with a CUDA device, got '{chosen}'; try 'bf16' or 'fp32'.")
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return Compute(chosen, half, channels_last=half is not None)


def _cpu_has_bf16_units() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware; releases of torch differ in what they can tell."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))
