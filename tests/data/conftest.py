from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from data.labels import Axis, LabelSpace

CLASSES = LabelSpace("class", names=("cat", "dog", "bird"))
ANGLES = LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0.0, maximum=90.0)
POSES = LabelSpace("vector", axes=(Axis("yaw", "degree", 0.0, 90.0), Axis("shift", "", -1.0, 1.0)))
MODELS = LabelSpace("class+scalar", ("cat", "dog", "bird"), "size", "cm", 10.0, 50.0)
SPACES = {space.kind: space for space in (CLASSES, ANGLES, POSES, MODELS)}


@pytest.fixture(params=SPACES.values(), ids=SPACES)
def label_space(request: pytest.FixtureRequest) -> LabelSpace:
    space: LabelSpace = request.param
    return space


@pytest.fixture
def spaces() -> dict[str, LabelSpace]:
    return SPACES


@pytest.fixture
def class_space() -> LabelSpace:
    return CLASSES


@pytest.fixture
def make_columns() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    """Random columns of the given names, all that a set may have unless told."""

    def make(space: LabelSpace, rows: int, *names: str, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
        rng = np.random.default_rng(seed)

        def labels() -> np.ndarray[Any, Any]:
            if space.kind == "class":
                return rng.integers(0, space.classes, rows)
            if space.kind == "scalar":
                return rng.uniform(space.minimum, space.maximum, rows).astype(np.float32)
            values = [rng.uniform(axis.minimum, axis.maximum, rows) for axis in space.dimensions]
            return space.join(rng.integers(0, space.classes, rows) if space.has_classes else None, np.stack(values, 1))

        columns: dict[str, np.ndarray[Any, Any]] = {
            "images": rng.integers(0, 256, (rows, 1, 3, 4), dtype=np.uint8),
            "labels": labels(),
            "condition": labels(),
            "teacher_outputs": rng.normal(size=(rows, space.outputs)).astype(np.float32),
            "teacher_error": rng.uniform(size=rows).astype(np.float32),
            "density_ratio": rng.uniform(size=rows).astype(np.float32),
            "seed": rng.integers(0, 2**64 - 1, rows, dtype=np.uint64, endpoint=True),
            "split": rng.integers(0, 3, rows, dtype=np.uint8),
            "source_row": rng.permutation(rows),
            "accepted": rng.integers(0, 2, rows, dtype=np.uint8),
            "view": rng.integers(0, 4, rows),
            "positive": rng.integers(0, rows, (rows, 2)),
            "negative": rng.integers(0, rows, (rows, 1)),
            "first": rng.integers(0, rows, rows),
            "second": rng.integers(0, rows, rows),
            "coefficient": rng.uniform(size=rows).astype(np.float32),
            "box": rng.integers(0, 4, (rows, 4)),
            "other_labels": labels(),
        }
        return {name: columns[name] for name in names or columns}

    return make
