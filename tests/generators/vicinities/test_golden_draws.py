"""Draws of the soft vicinity with fixed kappa, as the first release of this code made them."""

from __future__ import annotations

import numpy as np
import pytest

from data.labels import LabelSpace
from generators.vicinities import make_vicinity

# fmt: off
RULE_OF_THUMB = {
    "targets": [0.038645066, 0.006804803, 0.8990718, 0.5222188, 0.71365964, 0.3636114, 0.93741995, 0.0066162637],
    "rows": [58, 59, 47, 30, 10, 25, 5, 55],
    "fake_labels": [0.34727913, 0.06589215, 0.8142092, 0.5118896, 0.61084497, 0.42138812, 0.71096575, 0.25831535],
    "real_weights": [0.07864376, 0.87847203, 0.0044787657, 0.14157906, 0.45598435, 0.98152107, 0.94912755, 0.2398597],
    "fake_weights": [0.0013402106, 0.78470105, 0.6064609, 0.9926181, 0.47994354, 0.7930921, 0.028404286, 0.012283801],
}
# Sigma and kappa are given, and most targets have to be redrawn or moved.
SPARSE = {
    "targets": [1.8006252, 0.0, -1.3, 1.403801, -0.50525415, -0.6003709, -0.70658433, 1.5],
    "rows": [48, 11, 40, 21, 4, 10, 26, 46],
    "fake_labels": [1.8103441, -0.005451625, -1.2917633, 1.4078983, -0.5143331, -0.6064552, -0.71312994, 1.4911141],
    "real_weights": [0.9758644, 1.0, 1.0, 0.40535945, 0.17810592, 0.99144095, 0.06656229, 1.0],
    "fake_weights": [
        0.0027297789, 0.15606019, 0.014404789, 0.35019147, 0.005789194, 0.09889447, 0.06871442, 0.007191418,
    ],
}
# fmt: on


@pytest.mark.parametrize("given", [False, True])
def test_soft_draws_of_scalars_are_those_of_the_first_release(given: bool) -> None:
    rng = np.random.default_rng(0)
    if given:
        labels = np.round(rng.normal(0, 1, 50), 1).astype(np.float32)
        vicinity = make_vicinity(labels, LabelSpace("scalar"), form="soft", sigma=0.3, kappa=0.004)
    else:
        labels = np.round(rng.random(60), 2).astype(np.float32)
        vicinity = make_vicinity(labels, LabelSpace("scalar"), form="soft")
    drawn = vicinity.draw(8, np.random.default_rng(12 if given else 11))
    for name, expected in (SPARSE if given else RULE_OF_THUMB).items():
        np.testing.assert_array_equal(getattr(drawn, name), np.array(expected, getattr(drawn, name).dtype))
