"""The processes that train one model together, as one of them sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Team:
    """Processes that each take their share of every batch; a process alone is a team of one.

    Args:
        rank: number of this process; 0 validates, logs and writes.
        size: number of processes.
        prepare: wraps the network so that gradients are averaged over the processes; None for one process.
    """

    rank: int = 0
    size: int = 1
    prepare: Callable[[nn.Module], nn.Module] | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that validates, logs and writes."""
        return self.rank == 0

    @property
    def own_seed(self) -> tuple[int, ...]:
        """What tells the randomness of this process from that of the others; nothing for the first."""
        return (self.rank,) if self.rank else ()

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network as the loss is computed with it."""
        return network if self.prepare is None else self.prepare(network)

    def mean(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parts of the loss, without gradients, as means over the processes: those of the whole batch."""
        own = {name: part.detach() for name, part in parts.items()}
        if self.size == 1:
            return own
        together = torch.stack(list(own.values()))
        torch.distributed.all_reduce(together)
        return dict(zip(own, (together / self.size).unbind(), strict=True))

    def told(self, flag: bool, device: torch.device) -> bool:
        """What the first process says, in all of them."""
        if self.size == 1:
            return flag
        said = torch.tensor(int(flag), device=device)
        torch.distributed.broadcast(said, src=0)
        return bool(said.item())

    def share(self, rows: Any) -> Any:
        """The contiguous share of this process of the rows of a part, whose number is a multiple of ``size``."""
        share = len(rows) // self.size
        return rows[self.rank * share : (self.rank + 1) * share]


#: One process.
ALONE = Team()
