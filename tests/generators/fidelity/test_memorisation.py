from __future__ import annotations

import numpy as np
import pytest

from generators.fidelity.memorisation import audit_memorisation, nearest_distances


def test_nearest_distances_equal_a_loop():
    rng = np.random.default_rng(0)
    rows, reference = rng.normal(size=(2100, 4)).astype(np.float32), rng.normal(size=(30, 4)).astype(np.float32)
    loop = [np.linalg.norm(reference - row, axis=1).min() for row in rows]
    np.testing.assert_allclose(nearest_distances(rows, reference), loop, rtol=1e-5)
    assert nearest_distances(reference + 100, reference + 100).max() == 0


def test_fresh_images_are_called_fresh_and_copies_copies():
    rng = np.random.default_rng(0)
    training, held_out = rng.normal(size=(200, 8)), rng.normal(size=(300, 8))
    fresh = audit_memorisation(rng.normal(size=(2000, 8)), held_out, training)
    assert fresh["value"] == pytest.approx(0.05, abs=0.03)
    assert not fresh["near"]
    assert "no sign of copying" in fresh["verdict"]
    half = np.concatenate([rng.normal(size=(1000, 8)), training[rng.integers(0, 200, 1000)]])
    copied = audit_memorisation(half + 0.01 * rng.normal(size=half.shape), held_out, training)
    assert copied["value"] > 0.5
    assert copied["near"]
    assert "may be copies" in copied["verdict"]
    assert copied["median_generated"] < copied["median_held_out"]


def test_chance_alone_seldom_raises_the_verdict():
    rng = np.random.default_rng(1)
    near = sum(
        audit_memorisation(rng.normal(size=(400, 4)), rng.normal(size=(100, 4)), rng.normal(size=(80, 4)))["near"]
        for _ in range(200)
    )
    assert near <= 6
