"""Robustness against one whole pass, and latency of networks whose cost is known."""

import time
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from data.compute import Compute
from data.labels import LabelSpace
from students.assessment.corruptions import corrupt
from students.assessment.latency import latency_summary, spread, time_by_turns, weight_bytes
from students.assessment.robustness import corrupted_figures, robustness
from students.evaluation import figures, predict
from students.model import build_model

CPU = Compute(torch.device("cpu"))
SHAPE = (1, 8, 8)
SPACE = LabelSpace("class+scalar", ("a", "b", "c"), name="yaw", unit="degree", minimum=0, maximum=90)


def small_model(seed: int):
    torch.manual_seed(seed)
    model = build_model("convnet", {"channels": 4}, SHAPE, SPACE, [100.0], [60.0], [0, 0, 0, 45.0], [1, 1, 1, 20.0])
    return model.eval()


def ask(model, images):
    return predict(model, images, CPU, 8)


def test_figures_of_blocks_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, *SHAPE), dtype=np.uint8)
    labels = SPACE.join(rng.integers(0, 3, 100), rng.uniform(0, 90, (100, 1)))
    rows = rng.permutation(1000)[:100]
    models = [small_model(0), small_model(1)]
    found = corrupted_figures(
        [partial(ask, model) for model in models],
        images,
        labels,
        rows,
        SPACE,
        corruption="shot_noise",
        severity=3,
        seed=5,
        block_rows=24,
    )
    changed = corrupt(images, "shot_noise", 3, seed=5, rows=rows)
    for model, values in zip(models, found, strict=True):
        whole = figures(ask(model, changed), labels, SPACE)
        assert set(values) == {"accuracy", "mae"}
        for figure in whole:
            if figure.metric in values:
                assert values[figure.metric] == pytest.approx(figure.value)
    assert found[0] != found[1]


def test_a_drop_is_above_zero_where_results_are_worse():
    corrupted = {
        "blur": {1: {"accuracy": 80.0, "mae": 3.0}, 5: {"accuracy": 60.0, "mae": 5.0}},
        "contrast": {1: {"accuracy": 90.0, "mae": 2.0}, 5: {"accuracy": 90.0, "mae": 2.0}},
    }
    found = robustness({"accuracy": 95.0, "mae": 1.5}, corrupted)
    assert found["accuracy"]["mean"] == pytest.approx((70 + 90) / 2)
    assert found["accuracy"]["drop"] == pytest.approx(15)
    assert found["mae"]["mean"] == pytest.approx((4 + 2) / 2)
    assert found["mae"]["drop"] == pytest.approx(1.5)
    assert found["mae"]["by"]["blur"] == {"1": 3.0, "5": 5.0}


class Slow(nn.Module):
    """Takes so many seconds a pass."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images):
        self.seen.append(tuple(images.shape))
        time.sleep(self.seconds)
        return images


def test_seconds_are_those_of_the_pass_and_every_turn_times_all():
    models = {"slow": Slow(0.008), "quick": Slow(0.002)}
    seconds = time_by_turns(models, SHAPE, CPU, batch=5, repeats=6)
    assert {name: len(values) for name, values in seconds.items()} == {"slow": 6, "quick": 6}
    # A busy machine makes them longer, never shorter.
    assert 0.008 <= min(seconds["slow"]) < 0.08
    assert 0.002 <= min(seconds["quick"]) < min(seconds["slow"])
    assert set(models["slow"].seen) == {(5, *SHAPE)}
    # Three passes to warm up, then one a turn, as a pass is long enough to be timed alone.
    assert len(models["slow"].seen) == 3 + 6


def test_short_passes_are_timed_several_at_a_time():
    model = Slow(0.0)
    seconds = time_by_turns({"one": model}, SHAPE, CPU, batch=1, repeats=2)
    assert len(model.seen) > 3 + 2 * 2
    assert min(seconds["one"]) < 1e-3


def test_ratios_are_taken_turn_by_turn():
    seconds = {"teacher": [4.0, 8.0, 6.0], "student": [1.0, 2.0, 3.0]}
    found = latency_summary(seconds, "teacher")
    assert found["student"]["speedup"] == spread([4.0, 4.0, 2.0])
    assert found["student"]["speedup"]["median"] == 4.0
    assert found["teacher"]["speedup"]["median"] == 1.0
    assert found["student"]["seconds"] == {"median": 2.0, "low": 1.5, "high": 2.5}
    assert set(latency_summary(seconds, None)["student"]) == {"seconds"}


def test_bytes_are_those_of_all_weights_and_buffers():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    # 3 x 2 + 2 weights, 2 + 2 of the normalisation and its 2 + 2 statistics in float32, one counter in int64.
    assert weight_bytes(network) == 4 * (8 + 4 + 4) + 8
