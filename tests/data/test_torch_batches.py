"""Batches for torch: on a device, and out of DataLoaders with any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data.batch_reader import BatchReader
from data.labels import LabelSpace
from data.staging import Staging
from data.torch_batches import BatchDataset, DeviceReader
from data.writing import write_set


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("sets") / "set.h5"
    columns = {
        "images": rng.integers(0, 256, (300, 1, 4, 4), dtype=np.uint8),
        "labels": rng.uniform(0, 90, 300).astype(np.float32),
        "seed": rng.integers(0, 2**63, 300).astype(np.uint64),
    }
    space = LabelSpace("scalar", maximum=90.0)
    write_set(path, columns, kind="samples", label_space=space, provenance={}, license="CC0-1.0")
    return path


@pytest.mark.parametrize(
    ("order", "workers", "method"),
    [(order, *rest) for order in ("rows", "blocks") for rest in ((0, None), (1, "fork"), (2, "fork"))]
    + [("blocks", 1, "spawn")],
)
def test_any_number_of_workers_gives_the_same_batches(path: Path, order: str, workers: int, method: str | None) -> None:
    reader = BatchReader(path, 32, 7, order=order, block_rows=16, window_blocks=2)  # type: ignore[arg-type]
    loader = DataLoader(
        BatchDataset(reader, 25), batch_size=None, sampler=range(5, 25), num_workers=workers,
        multiprocessing_context=method,
    )  # fmt: skip
    found = list(loader)
    assert len(found) == 20
    for step, batch in enumerate(found, 5):
        expected = reader.at(step)
        assert {name: tuple(values.shape) for name, values in batch.items()} == {
            "images": (32, 1, 4, 4),
            "labels": (32,),
        }
        assert all(np.array_equal(batch[name].numpy(), values) for name, values in expected.items())


def test_a_data_set_ends_after_its_steps(path: Path) -> None:
    dataset = BatchDataset(BatchReader(path, 32, 7), 3)
    assert len(dataset) == 3
    assert len(list(DataLoader(dataset, batch_size=None))) == 3
    with pytest.raises(IndexError, match=r"step must lie in 0\.\.2, got 3"):
        dataset[3]


def test_batches_come_on_the_device_and_stay_what_they_are(path: Path) -> None:
    reader = BatchReader(path, 32, 7, columns=("images", "labels", "seed"))
    moved = DeviceReader(reader, "cuda" if torch.cuda.is_available() else "cpu")
    batches = [moved.at(step) for step in range(6)]
    for step, batch in enumerate(batches):
        for name, values in reader.at(step).items():
            assert np.array_equal(batch[name].cpu().numpy(), values)
            assert batch[name].cpu().numpy().dtype == values.dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_memory_is_not_overwritten_before_it_is_read() -> None:
    staging = Staging((1 << 22,), np.dtype(np.uint8), torch.device("cuda"))
    made = [staging(lambda out, value=value: out.fill(value)) for value in range(20)]
    assert [int(batch.min()) for batch in made] == [int(batch.max()) for batch in made] == list(range(20))
