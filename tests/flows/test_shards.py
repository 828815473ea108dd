"""How the work is cut into shards, and what is told of labels that several shards drew."""

import numpy as np
import pytest

from filters.rejection import calibrate
from flows.drawing import _DRAWS_OF_A_CHUNK, _DRAWS_OF_A_LABEL
from flows.filter_config import Candidates
from flows.shards import (
    ROWS,
    Shard,
    merge_statistics,
    outcome_warnings,
    plan_shards,
    shared_calibration,
    write_calibration,
)


@pytest.mark.parametrize(
    ("labels", "per_label", "burn_in"), [(10, 2000, 300), (7, 5000, 200), (300, 20, 200), (3, 4096, 0), (50, 1, 10_000)]
)
def test_every_image_is_in_one_shard_and_shards_are_bounded(labels, per_label, burn_in):
    shards = plan_shards(labels, per_label, burn_in)
    images = np.zeros(labels, np.int64)
    for shard in shards:
        images[shard.numbers] += shard.per_label
        assert shard.labels * shard.per_label <= 4096
        assert shard.labels == 1 or shard.labels * burn_in <= 16_384
        assert shard.labels == 1 or shard.chunk == 0
    assert (images == per_label).all()
    order = [(shard.first, shard.chunk) for shard in shards]
    assert order == sorted(set(order))


def test_a_large_label_is_cut_into_chunks():
    assert plan_shards(2, 10_000, 200) == [
        Shard(label, 1, size, chunk) for label in (0, 1) for chunk, size in enumerate((4096, 4096, 1808))
    ]


def test_draws_of_chunks_and_labels_never_meet():
    fields = Candidates.model_fields
    most = {
        name: next(item.le for item in fields[name].metadata if hasattr(item, "le"))
        for name in fields
        if name in ("per_label", "burn_in", "max_draws")
    }
    assert max(most["burn_in"], most["max_draws"] * ROWS) <= _DRAWS_OF_A_CHUNK
    chunks = -(-most["per_label"] // ROWS)
    assert chunks * _DRAWS_OF_A_CHUNK <= _DRAWS_OF_A_LABEL


def test_a_calibration_is_made_once_and_keeps_its_bits(tmp_path):
    made = calibrate(np.random.default_rng(0).lognormal(0, 1, 50), np.zeros(50, np.int64), 1, 0.9)
    calls = []

    def make():
        calls.append(1)
        return made

    first, second = (shared_calibration(tmp_path / "c.json", make) for _ in range(2))
    assert len(calls) == 1
    write_calibration(tmp_path / "d.json", made)
    assert (tmp_path / "c.json").read_bytes() == (tmp_path / "d.json").read_bytes()
    for name in ("scale", "bound", "usable", "effective_share", "acceptance"):
        for one in (first, second):
            assert np.array_equal(getattr(one, name), getattr(made, name))
            assert getattr(one, name).dtype == getattr(made, name).dtype


def row(name, **changes):
    told = {
        "label": name, "name": name, "drawn": 10, "accepted": 4, "acceptance": 0.4, "rounds": 2, "bound": 3.0,
        "outcome": "rejection", "subsampled": True, "scale": 1.0, "effective_sample_size": 6.0,
    }  # fmt: skip
    return {**told, **changes}


def test_rows_of_one_label_are_summed_and_the_farthest_outcome_is_told():
    shards = plan_shards(2, 5000, 100)
    rows = [
        [row("a")],
        [row("a", drawn=30, accepted=6, rounds=5, outcome="resampled")],
        [row("b", bound=7.0, outcome="not subsampled", subsampled=False)],
        [row("b", outcome="resampled")],
    ]
    first, second = merge_statistics(zip(shards, rows, strict=True))
    assert first == row(
        "a", drawn=40, accepted=10, acceptance=0.25, rounds=5, outcome="resampled", effective_sample_size=12.0
    )
    assert (second["outcome"], second["subsampled"], second["bound"]) == ("not subsampled", False, 7.0)
    assert rows[0] == [row("a")]


def test_labels_that_rejection_did_not_serve_are_named():
    rows = [row(str(label), outcome="resampled") for label in range(7)] + [row("x", outcome="not subsampled")]
    first, second = outcome_warnings([*rows, row("y")])
    assert first.startswith("7 of 9 labels got what they lacked by resampling")
    assert "(0, 1, 2, 3, 4, ...)" in first
    assert second.startswith("1 of 9 labels")
    assert "(x)" in second
    assert outcome_warnings([row("y")]) == []
