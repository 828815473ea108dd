"""A step of gradient descent: scaling and clipping of gradients, the optimiser, and its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from data.compute import Compute
from data.errors import ConfigError

Optimizer = Literal["sgd", "adamw"]


class Descent:
    """The optimiser with what belongs to its step, as part of the checkpointed state.

    Args:
        parameters: what is optimised.
        rate_at: the learning rate of a step.
        optimizer: "sgd" or "adamw", the latter with betas 0.9 and 0.999.
        momentum: of SGD.
        nesterov: whether the momentum of SGD looks ahead.
        weight_decay: decay of all parameters, coupled for SGD and decoupled for AdamW.
        clip_norm: largest Euclidean norm of all gradients together; 0 for no limit.
        compute: with fp16 the loss is scaled up so that small gradients do not vanish, and steps whose gradients
            overflow are left out (Micikevicius et al., 2018, section 3.2).

    Raises:
        ConfigError: for an unknown optimiser.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        rate_at: Callable[[int], float],
        *,
        optimizer: Optimizer,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        clip_norm: float,
        compute: Compute,
    ) -> None:
        self.rate_at = rate_at
        self._parameters = list(parameters)
        self._clip_norm = clip_norm
        self._optimizer = _optimizer(self._parameters, optimizer, rate_at(0), momentum, nesterov, weight_decay)
        half = compute.autocast_dtype is torch.float16
        self._scaler = torch.amp.GradScaler(compute.device.type, enabled=half)

    def step(self, loss: Tensor, step: int) -> None:
        """Moves the parameters down the gradient of ``loss``, at the learning rate of ``step``."""
        rate = self.rate_at(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss))
        if self._clip_norm > 0.0:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Momenta and the scale of the loss."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a state that ``state_dict`` gave."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])


def _optimizer(
    parameters: Sequence[nn.Parameter],
    name: Optimizer,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=learning_rate,
            momentum=momentum,
            nesterov=nesterov and momentum > 0.0,
            weight_decay=weight_decay,
            fused=True,
        )
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    raise ConfigError(f"optimizer must be 'sgd' or 'adamw', got '{name}'.")
