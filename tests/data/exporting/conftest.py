from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from data.reading import ImageSet, open_set
from data.schema import KINDS
from data.writing import write_set

PROVENANCE = {
    "real": {"source": {"name": "digits"}, "homepage": "https://example.org/digits", "prepare": {"seed": 0}},
    "synthetic": {"kept": 18, "of": 30, "quantile": 0.6, "scope": "global", "relabel": "none", "count": None},
    "candidates": {"candidates": {"subsample": True}},
}


@pytest.fixture
def open_croissant() -> Callable[..., object]:
    """What mlcroissant makes of a JSON-LD file in which it finds no error, and no warning but those told."""

    def open_(path, *warned):
        with warnings.catch_warnings():
            # Its parser of JSON-LD is built on what that library calls outdated.
            warnings.filterwarnings("ignore", "ConjunctiveGraph", DeprecationWarning)
            import mlcroissant

            dataset = mlcroissant.Dataset(jsonld=str(path))
        issues = dataset.metadata.ctx.issues
        assert not issues.errors
        assert len(issues.warnings) == len(warned)
        assert all(any(words in warning for warning in issues.warnings) for words in warned)
        return dataset

    return open_


@pytest.fixture
def make_set(tmp_path, make_columns) -> Callable[..., ImageSet]:
    """A set of random rows with every column that its kind must have."""

    def make(space, kind="synthetic", *, rows=23, channels=3, name="the set.h5", columns=None, **options):
        filled = make_columns(space, rows, *KINDS[kind])
        if "images" in filled:
            shape = (rows, channels, 5, 4)
            filled["images"] = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        filled |= columns or {}
        options = {"license": "CC-BY-4.0", "provenance": PROVENANCE.get(kind, {})} | options
        write_set(tmp_path / name, filled, kind=kind, label_space=space, **options)
        return open_set(tmp_path / name)

    return make
