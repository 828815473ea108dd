"""How the four kinds of labels reach layers, against lookups and products written out."""

from __future__ import annotations

import pytest
import torch

from data.errors import ConfigError
from data.labels import Axis, LabelSpace
from generators.conditions import ConcatMap, LabelInput, check_label_input

SPACES = {
    "class": LabelSpace("class", names=("a", "b", "c")),
    "scalar": LabelSpace("scalar", minimum=-10, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw"), Axis("tilt"))),
    "class+scalar": LabelSpace("class+scalar", names=("a", "b", "c")),
}
CONDITIONS = {
    "class": torch.tensor([2, 0]),
    "scalar": torch.tensor([0.25, 1.0]),
    "vector": torch.tensor([[0.25, 0.5], [1.0, 0.0]]),
    "class+scalar": torch.tensor([[2.0, 0.25], [0.0, 1.0]]),
}


@pytest.mark.parametrize("embedding_size", [0, 32])
@pytest.mark.parametrize("kind", SPACES)
def test_a_layer_is_a_table_a_linear_map_or_their_sum(kind: str, embedding_size: int) -> None:
    torch.manual_seed(0)
    inputs = LabelInput.of(SPACES[kind], embedding_size)
    embedding = inputs.embedding()
    layer = inputs.layer(5)
    classes, values = [2, 0], CONDITIONS[kind].float()
    if kind == "class+scalar":
        values = values[:, 1:]
    if embedding is not None:
        values = embedding(values)
    values = values.reshape(2, -1)
    assert (embedding is not None) == (kind != "class" and embedding_size > 0)
    tables = {"class": layer, "class+scalar": getattr(layer, "table", None)}
    linears = {"scalar": layer, "vector": layer, "class+scalar": getattr(layer, "linear", None)}
    expected = torch.zeros(2, 5)
    for row in range(2):
        if kind in tables:
            expected[row] += tables[kind].weight[classes[row]]
        if kind in linears:
            expected[row] += linears[kind].weight @ values[row]
    torch.testing.assert_close(layer(inputs.read(CONDITIONS[kind], embedding)), expected)


@pytest.mark.parametrize("kind", SPACES)
def test_zero_layers_start_at_zero_and_spectral_ones_at_norm_one(kind: str) -> None:
    torch.manual_seed(0)
    inputs = LabelInput.of(SPACES[kind])
    told = inputs.read(CONDITIONS[kind])
    assert not inputs.zero_layer(4)(told).any()
    normalised = inputs.layer(4, spectral_norm=True)
    parts = list(normalised.children()) if kind == "class+scalar" else [normalised]
    for part in parts:
        assert torch.linalg.svdvals(part.weight)[0].item() == pytest.approx(1.0, abs=0.02)


def test_only_continuous_values_without_an_embedding_are_naive() -> None:
    assert [LabelInput.of(SPACES[kind]).naive for kind in SPACES] == [False, True, True, True]
    assert not any(LabelInput.of(space, 32).naive for space in SPACES.values())
    assert LabelInput.of(SPACES["class"], 32) == LabelInput(3, 0, 0)
    assert LabelInput.of(SPACES["vector"], 32).values == 32
    assert LabelInput.of(SPACES["vector"]).values == 2


def test_no_gradient_reaches_the_embedding() -> None:
    inputs = LabelInput.of(SPACES["scalar"], 32)
    assert not inputs.read(CONDITIONS["scalar"], inputs.embedding()).requires_grad


@pytest.mark.parametrize("kind", SPACES)
def test_one_vector_holds_the_class_and_the_values_side_by_side(kind: str) -> None:
    inputs = LabelInput.of(SPACES[kind])
    layer = ConcatMap(inputs, 3)
    joined = layer(inputs.read(CONDITIONS[kind]))
    rows = [] if kind in ("scalar", "vector") else [layer.table.weight[[2, 0]]]
    values = {"class": [], "class+scalar": [CONDITIONS[kind][:, 1:]] if kind == "class+scalar" else []}
    rows += values.get(kind, [CONDITIONS[kind].reshape(2, -1)])
    assert torch.equal(joined, torch.cat(rows, dim=1))
    assert joined.shape[1] == layer.outputs


def test_an_unknown_label_input_is_refused() -> None:
    check_label_input("nli")
    with pytest.raises(ConfigError, match=r"must be 'ili', for a trained embedding, or 'nli'.*got 'onehot'"):
        check_label_input("onehot")
