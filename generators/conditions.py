"""How the labels of a space reach the layers of a network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from data.errors import ConfigError
from data.labels import LabelSpace
from generators.embedding import LabelEmbedding
from generators.spectral import spectral

#: What layers take for a batch of B labels: int64 classes (B,), float32 values (B, V), or both.
Condition = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


class SumMap(nn.Module):
    """A class and values to ``table[class] + linear(values)``."""

    def __init__(self, table: nn.Module, linear: nn.Module) -> None:
        super().__init__()
        self.table = table
        self.linear = linear

    def forward(self, condition: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Classes (B,) and values (B, V) to (B, outputs)."""
        classes, values = condition
        summed: torch.Tensor = self.table(classes) + self.linear(values)
        return summed


@dataclass(frozen=True)
class LabelInput:
    """What layers are told of a label: its class, its continuous values, or both.

    A class is looked up in tables. Continuous values come as their embedding h (improved label input, ILI), or as they
    are, normalised (naive label input, NLI), and go through linear maps; both are of Ding et al., 2023, arXiv
    2011.07466. A label with a class and a value has the sum of both, which is this project's own.

    Args:
        classes: number of classes; 0 where a label has none.
        dimensions: number of continuous values; 0 for classes.
        embedding_size: length of h; 0 for NLI, and for classes.
    """

    classes: int
    dimensions: int
    embedding_size: int = 0

    @classmethod
    def of(cls, label_space: LabelSpace, embedding_size: int = 0) -> LabelInput:
        """The input for the labels of a space; ``embedding_size`` counts where they have continuous values."""
        dimensions = len(label_space.dimensions)
        return cls(label_space.classes, dimensions, embedding_size if dimensions else 0)

    @property
    def values(self) -> int:
        """Numbers V that stand for the continuous part."""
        return self.embedding_size or self.dimensions

    @property
    def naive(self) -> bool:
        """Whether continuous values come without an embedding."""
        return self.dimensions > 0 and self.embedding_size == 0

    def embedding(self) -> LabelEmbedding | None:
        """An untrained embedding of the continuous values, where they have one."""
        return LabelEmbedding(self.embedding_size, self.dimensions) if self.embedding_size else None

    def read(self, conditions: torch.Tensor, embedding: LabelEmbedding | None = None) -> Condition:
        """What layers take, of conditions as ``LabelSpace.conditions`` gives them.

        Args:
            conditions: int64 (B,), or normalised float32 (B,), (B, L) or (B, 2).
            embedding: of the continuous values; no gradient reaches it.
        """
        if not self.dimensions:
            return conditions
        values = conditions[:, 1:] if self.classes else conditions.reshape(-1, self.dimensions)
        if embedding is not None:
            with torch.no_grad():
                values = embedding(values)
        return (conditions[:, 0].long(), values) if self.classes else values

    def layer(self, outputs: int, *, spectral_norm: bool = False) -> nn.Module:
        """A map from a condition to (B, outputs): table rows, a linear map without bias, or the sum of both."""
        parts: list[nn.Module] = []
        if self.classes:
            parts.append(nn.Embedding(self.classes, outputs))
        if self.dimensions:
            parts.append(nn.Linear(self.values, outputs, bias=False))
        if spectral_norm:
            parts = [spectral(part) for part in parts]
        return SumMap(*parts) if len(parts) == 2 else parts[0]

    def zero_layer(self, outputs: int) -> nn.Module:
        """``layer``, with weights that start at zero: gains and biases of batch norms that start as plain ones."""
        layer = self.layer(outputs)
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        return layer


class ConcatMap(nn.Module):
    """A condition as one vector: the class from a table, the continuous values as they are, side by side.

    Args:
        inputs: what the condition holds.
        class_size: length of a class's row.
    """

    def __init__(self, inputs: LabelInput, class_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(inputs.classes, class_size) if inputs.classes else None
        self.outputs = (class_size if inputs.classes else 0) + inputs.values

    def forward(self, condition: Condition) -> torch.Tensor:
        """A condition of B rows to (B, outputs)."""
        parts = condition if isinstance(condition, tuple) else (condition,)
        if self.table is not None:
            parts = (self.table(parts[0]), *parts[1:])
        return torch.cat(parts, dim=1)


def check_label_input(label_input: str) -> None:
    """Raises ConfigError unless ``label_input`` is "ili" or "nli"."""
    if label_input not in ("ili", "nli"):
        raise ConfigError(
            f"option 'label_input' must be 'ili', for a trained embedding, or 'nli', for the label as it is, "
            f"got '{label_input}'."
        )
