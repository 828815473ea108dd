"""Choices from paired values: against scipy, loops and cases worked by hand."""

import numpy as np
import pytest
from scipy import stats

from flows.student_config import Training
from flows.tuning import advantage, choose, described, described_choice, paired_error, short_training


def test_the_error_of_two_settings_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    values = rng.normal(90, 3, 7) + rng.normal(0, 1, (2, 7))
    difference = values[0] - values[1]
    assert paired_error(values) == pytest.approx(stats.sem(difference))
    assert (difference.mean() / paired_error(values)) == pytest.approx(stats.ttest_rel(*values).statistic)


def test_the_error_of_several_settings_is_pooled_over_all_pairs():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 5, 4) + rng.normal(0, 1, (5, 4)) + rng.normal(0, 3, (5, 1))
    pairs = [(values[i] - values[j]).var(ddof=1) for i in range(5) for j in range(i)]
    assert paired_error(values) == pytest.approx(np.sqrt(np.mean(pairs) / 4))
    # What the runs of a seed share, and what a setting has over another, are no noise.
    assert paired_error(values + 10 * np.arange(4)) == pytest.approx(paired_error(values))
    assert paired_error(values + 10 * np.arange(5)[:, None]) == pytest.approx(paired_error(values))
    for few in (values[:1], values[:, :1]):
        with pytest.raises(ValueError, match="at least 2 settings and seeds"):
            paired_error(few)


@pytest.mark.parametrize("higher", [True, False])
def test_the_first_within_one_standard_error_of_the_best_is_chosen(higher):
    sign = 1 if higher else -1
    # Differences between rows are (0.4, -0.4) and the like, so that one error is 0.4.
    noise = np.array([[0.2, -0.2], [-0.2, 0.2]])
    table = {1.0: sign * (90 + noise[0]), 0.9: sign * (90.3 + noise[1])}
    assert paired_error([*table.values()]) == pytest.approx(0.4)
    assert choose(table, higher_is_better=higher) == (1.0, pytest.approx(0.4))
    table[0.9] = table[0.9] + sign * 0.2
    assert choose(table, higher_is_better=higher)[0] == 0.9
    # The order of preference decides among those that cannot be told apart, not the mean.
    assert choose(dict(reversed(table.items())), higher_is_better=higher)[0] == 0.9
    assert choose({0.5: [1.0, 1.0], 0.7: [1.0, 1.0]}, higher_is_better=higher) == (0.5, 0.0)
    assert choose({0.5: [1.0, 2.0]}, higher_is_better=higher) == (0.5, 0.0)


def test_choices_are_described_with_rising_settings():
    table = {1.0: [3.0, 5.0], 0.5: [1.0, 1.0]}
    assert described_choice(table, 1.0, 0.25, 0.9) == {
        "chosen": 1.0,
        "default": 0.9,
        "standard_error": 0.25,
        "rows": [
            {"value": 0.5, "mean": 1.0, "std": 0.0, "values": [1.0, 1.0]},
            {"value": 1.0, "mean": 4.0, "std": pytest.approx(np.sqrt(2)), "values": [3.0, 5.0]},
        ],
    }
    assert described(np.array([1.0, 2.0]))["values"] == [1.0, 2.0]
    assert advantage([3, 5], [1, 2], higher_is_better=True) == 2.5
    assert advantage([3, 5], [1, 2], higher_is_better=False) == -2.5


def test_a_short_run_is_the_whole_training_in_fewer_steps():
    whole = Training(steps=4000, warmup_steps=50, validate_every=200, learning_rate=0.1).model_dump()
    short = short_training(whole, 360)
    assert (short["steps"], short["warmup_steps"], short["validate_every"], short["select"]) == (360, 4, 360, "last")
    assert {key for key in whole if whole[key] != short[key]} == {"steps", "warmup_steps", "validate_every", "select"}
    assert short_training({**whole, "warmup_steps": 3999}, 1)["warmup_steps"] == 0
