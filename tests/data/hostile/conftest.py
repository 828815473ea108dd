from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.quarantine import Quarantine


@pytest.fixture(scope="module")
def quarantine() -> Iterator[Quarantine]:
    with Quarantine() as process:
        yield process


@pytest.fixture(scope="session")
def hdf5_bytes() -> dict[str, Any]:
    """The benchmark's tools that find and repair the checksums of HDF5."""
    return runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "hdf5_bytes.py"))
