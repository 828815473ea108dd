"""The pool of fakes: seeds of their own, attempts until the predicted label is near, and what is given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.labels import LabelSpace
from data.random import Seeds, uniform_from_seeds
from data.workspace import Workspace
from filters.ratio_pool import MOST_ATTEMPTS, make_pool, read_pool
from filters.vicinity import Vicinity

SPACE = LabelSpace("scalar", maximum=100.0)
LABELS = np.linspace(0, 100, 24, dtype=np.float32)


class Generator:
    """Images whose first pixel is the label, off by up to 20 either way."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.labels: list[float] = []

    def sample(self, labels: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[np.uint8]:
        self.seeds += seeds.tolist()
        self.labels += labels.tolist()
        shown = np.clip(labels + 40 * uniform_from_seeds(seeds, 1)[:, 0] - 20, 0, 250)
        return np.broadcast_to(shown.astype(np.uint8)[:, None, None, None], (len(labels), 1, 8, 8))


def predict(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return images[:, 0, 0, :1].astype(np.float32) / 100


def test_the_pool_has_a_fake_of_its_own_seed_for_each_row_and_round(tmp_path: Path) -> None:
    generator = Generator()
    paths = make_pool(LABELS, generator.sample, rounds=3, seed=1, workspace=Workspace(tmp_path))
    assert len(set(generator.seeds)) == 72
    assert generator.labels == LABELS.tolist() * 3
    for path in paths:
        images, inside = read_pool(path)
        assert images.shape == (24, 1, 8, 8)
        assert inside.all()
    make_pool(LABELS, generator.sample, rounds=3, seed=1, workspace=Workspace(tmp_path))
    assert len(generator.seeds) == 72


def test_fakes_are_made_again_until_their_predicted_label_is_near(tmp_path: Path) -> None:
    generator, vicinity = Generator(), Vicinity(SPACE, (0.1,))
    paths = make_pool(LABELS, generator.sample, rounds=2, vicinity=vicinity, predict=predict, seed=1,
                      workspace=Workspace(tmp_path))  # fmt: skip
    assert len(set(generator.seeds)) == len(generator.seeds) > 48
    assert not set(generator.labels) <= set(LABELS.tolist())
    for path in paths:
        images, inside = read_pool(path)
        assert inside.all()
        assert (np.abs(predict(images)[:, 0] - LABELS / 100) <= 0.1).all()


def test_what_is_never_near_is_marked(tmp_path: Path) -> None:
    calls = []

    def wrong(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        calls.append(len(images))
        found = predict(images)
        return np.where(found > 0.5, 9.0, found).astype(np.float32)

    (path,) = make_pool(LABELS, Generator().sample, rounds=1, vicinity=Vicinity(SPACE, (0.25,)), predict=wrong, seed=1,
                        workspace=Workspace(tmp_path))  # fmt: skip
    _, inside = read_pool(path)
    assert not inside[LABELS > 80].any()
    assert inside[LABELS < 20].all()
    assert len(calls) == MOST_ATTEMPTS
    assert calls[-1] == (~inside).sum()
