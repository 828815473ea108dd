from __future__ import annotations

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from data.errors import DataError
from data.sources import digits
from data.sources.digits import CONTENT_SHA256, Digits


def test_pixels_are_scikit_learns_values_spread_over_a_byte() -> None:
    source, raw = Digits(), load_digits()
    images = source.images(np.arange(1797))
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == np.uint8
    table = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert np.array_equal(images[:, 0], np.array(table)[raw.images.astype(int)])
    assert np.array_equal(source.labels(), raw.target)
    assert source.labels().dtype == np.int64


def test_the_recorded_digest_is_that_of_the_content() -> None:
    source = Digits()
    content = source.images(np.arange(1797)).tobytes() + source.labels().astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest() == CONTENT_SHA256
    assert source.identity() == {"name": "digits", "sha256": CONTENT_SHA256}


def test_rows_come_in_the_order_asked_for() -> None:
    source = Digits()
    every = source.images(np.arange(1797))
    rows = np.array([5, 1000, 5, 0])
    assert np.array_equal(source.images(rows), every[rows])
    with pytest.raises(DataError, match=r"digits: rows must lie in 0..1796"):
        source.images(np.array([1797]))


def test_every_row_may_serve_for_anything() -> None:
    assert Digits().pool().tolist() == [0] * 1797
    assert Digits().label_space.names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_labels_can_be_written_without_changing_the_source() -> None:
    Digits().labels()[0] = 7
    assert Digits().labels()[0] == 0


def test_other_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    digits._read.cache_clear()
    monkeypatch.setattr(digits, "CONTENT_SHA256", "0" * 64)
    with pytest.raises(DataError, match="must have SHA-256 000000000000, got 0b7e9c3202d7; try a scikit-learn release"):
        Digits().labels()
