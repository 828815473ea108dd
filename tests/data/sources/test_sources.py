from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.sources import Source, check_rows, sources

#: Sources that can be made without being told where files are.
ALONE = ("chairs", "cifar10", "cifar100", "digits", "fashion_mnist")


def test_the_registry_holds_the_sources_and_nothing_else() -> None:
    published = ["cell200", "chairs", "cifar10", "cifar100", "digits", "fashion_mnist", "imagenet100", "rc49"]
    published += ["steering_angle", "tiny_imagenet", "utkface"]
    assert sources.names() == sorted([*published, "arrays", "hdf5", "image_folder", "image_table", "parquet"])
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        sources.get("digit")


@pytest.mark.parametrize("name", ALONE)
def test_identity_is_json_without_paths_and_attributes_agree(name: str) -> None:
    source: Source = sources.get(name)()
    identity = source.identity()
    assert json.loads(json.dumps(identity, allow_nan=False)) == identity
    assert "/" not in json.dumps(identity)
    assert identity["name"] == name
    channels, height, width = source.image_shape
    assert channels in (1, 3)
    assert height == width
    assert source.license in ("CC-BY-4.0", "MIT", "Apache-2.0", "NOASSERTION")
    assert source.homepage.startswith("https://")
    assert source.label_space.outputs in (1, 10, 100)


def test_importing_and_identifying_needs_no_heavy_library() -> None:
    code = (
        "import sys; from data.sources import sources; [sources.get(name) for name in sources.names()]; "
        f"[sources.get(name)().identity() for name in {ALONE}]; "
        "print(sorted({'torch', 'torchvision', 'h5py', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_check_rows_names_what_is_wrong() -> None:
    assert check_rows(np.array([2, 0], dtype=np.uint8), 3, "toy").tolist() == [2, 0]
    assert check_rows(np.array([]), 3, "toy").shape == (0,)
    with pytest.raises(DataError, match=r"toy: rows must lie in 0..2, got -1..1"):
        check_rows(np.array([-1, 1]), 3, "toy")
    with pytest.raises(DataError, match=r"rows must lie in 0..2, got 3..3"):
        check_rows(np.array([3]), 3, "toy")
    with pytest.raises(DataError, match="one-dimensional integers"):
        check_rows(np.array([[1]]), 3, "toy")
    with pytest.raises(DataError, match="of float64"):
        check_rows(np.array([1.0]), 3, "toy")
