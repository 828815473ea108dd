"""Mixing whole batches: pixel by pixel what the definition says, the same bytes on the device and in a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.errors import ConfigError, DataError
from data.labels import LabelSpace
from data.reading import open_set, verify_set
from data.recipes.applying import mix_images, mix_targets
from data.recipes.materialising import materialise, mixed_images
from data.recipes.mixes import Mixes, sample_mixes, write_mixes
from data.schema import BLOCK_ROWS
from data.writing import write_set

SHAPE = (3, 6, 9)


def batch(kind: Any, count: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Mixes]:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8) for _ in range(2))
    return first, second, sample_mixes(500, kind, 1.0, count, SHAPE[1:], 3)


def applied(first: Any, second: Any, mixes: Mixes) -> np.ndarray[Any, Any]:
    parts = (torch.from_numpy(item) for item in (first, second, mixes.coefficient, mixes.box))
    mixed = mix_images(*parts, mixes.kind)
    assert mixed.dtype == torch.uint8
    return mixed.numpy()


def test_mixup_is_the_exact_blend_rounded_half_to_even() -> None:
    first, second, mixes = batch("mixup", 12)
    mixes.coefficient[:4] = [0.0, 1.0, 0.5, 0.25]
    expected = np.empty_like(first)
    for place in np.ndindex(first.shape):
        share = Fraction(float(mixes.coefficient[place[0]]))
        expected[place] = round(share * int(first[place]) + (1 - share) * int(second[place]))
    np.testing.assert_array_equal(applied(first, second, mixes), expected)
    np.testing.assert_array_equal(mixed_images(first, second, mixes.coefficient, mixes.box, "mixup"), expected)
    # Halves occur, and go both ways.
    halves = (first[2].astype(int) + second[2]) % 4
    assert {1, 3} <= set(halves.ravel())


def test_cutmix_pastes_the_box_of_the_second_image() -> None:
    first, second, mixes = batch("cutmix")
    expected = first.copy()
    for row, (top, left, height, width) in enumerate(mixes.box.tolist()):
        expected[row, :, top : top + height, left : left + width] = second[
            row, :, top : top + height, left : left + width
        ]
    np.testing.assert_array_equal(applied(first, second, mixes), expected)
    np.testing.assert_array_equal(mixed_images(first, second, mixes.coefficient, mixes.box, "cutmix"), expected)
    # The coefficient is the true share of own pixels.
    own = [np.mean(applied(a * 0 + 1, a * 0, mixes.at(np.array([row])))) for row, a in enumerate(first[:, None])]
    np.testing.assert_allclose(own, mixes.coefficient, atol=1e-6)
    assert len(set(own)) > 10


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_memory_formats_and_any_share_give_the_same_bytes(kind: Any) -> None:
    first, second, mixes = batch(kind)
    # Shares that are no multiples of 2^-16, as files of others may hold them.
    mixes = replace(mixes, coefficient=np.random.default_rng(1).random(60).astype(np.float32))
    expected = mixed_images(first, second, mixes.coefficient, mixes.box, kind)
    np.testing.assert_array_equal(applied(first, second, mixes), expected)
    last = [torch.from_numpy(item).contiguous(memory_format=torch.channels_last) for item in (first, second)]
    mixed = mix_images(*last, torch.from_numpy(mixes.coefficient), torch.from_numpy(mixes.box), kind)
    np.testing.assert_array_equal(mixed.numpy(), expected)
    with pytest.raises(ConfigError, match="must be 'mixup' or 'cutmix', got 'cutout'"):
        mix_images(*last, torch.zeros(60), torch.zeros(60, 4), "cutout")
    with pytest.raises(ConfigError, match="must be 'mixup' or 'cutmix', got 'cutout'"):
        mixed_images(first, second, mixes.coefficient, mixes.box, "cutout")


def test_labels_are_mixed_like_images() -> None:
    share = torch.tensor([0.0, 0.25, 1.0, 0.75])
    classes = mix_targets(torch.tensor([0, 1, 2, 1]), torch.tensor([2, 0, 1, 1]), share, 3)
    torch.testing.assert_close(
        classes, torch.tensor([[0.0, 0.0, 1.0], [0.75, 0.25, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    )
    values = mix_targets(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([10.0, 20.0, 30.0, 40.0]), share)
    torch.testing.assert_close(values, torch.tensor([10.0, 15.5, 3.0, 13.0]))
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(4, 5)) for _ in range(2))
    mixed = mix_targets(torch.from_numpy(first), torch.from_numpy(second), share)
    expected = [s * a + (1 - s) * b for s, a, b in zip(share.tolist(), first, second, strict=True)]
    np.testing.assert_allclose(mixed.numpy(), expected, atol=1e-6)
    with pytest.raises(ConfigError, match="classes must be their number where labels are classes, got 0"):
        mix_targets(torch.tensor([0]), torch.tensor([1]), share[:1])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_materialised_set_holds_what_the_device_makes(
    kind: Any, label_space: LabelSpace, tmp_path: Path, make_columns: Callable[..., Any]
) -> None:
    columns = make_columns(label_space, 50, "images", "labels", "split", "source_row")
    write_set(tmp_path / "real.h5", columns, kind="real", label_space=label_space, provenance={}, license="CC0-1.0")
    images = open_set(tmp_path / "real.h5")
    count = BLOCK_ROWS + 5 if label_space.kind == "class" else 40
    mixes = sample_mixes(50, kind, 1.0, count, (3, 4), 0)
    outputs = np.random.default_rng(0).normal(size=(count, label_space.outputs)).astype(np.float32)
    mixes = replace(mixes, teacher_outputs=outputs, content_sha256="ab")
    digest = materialise(tmp_path / "mixed.h5", images, mixes, facts={"seed": 0})
    verify_set(tmp_path / "mixed.h5")
    found = open_set(tmp_path / "mixed.h5")
    assert (found.kind, found.content_sha256) == ("mixed", digest)
    assert found.provenance == {"of": images.content_sha256, "kind": kind, "seed": 0, "recipe": "ab"}
    taken = columns["images"][mixes.first], columns["images"][mixes.second]
    np.testing.assert_array_equal(found.columns["images"], applied(*taken, mixes))
    np.testing.assert_array_equal(found.columns["labels"], columns["labels"][mixes.first])
    np.testing.assert_array_equal(found.columns["other_labels"], columns["labels"][mixes.second])
    np.testing.assert_array_equal(found.columns["teacher_outputs"], outputs)
    for name in ("coefficient", "first", "second"):
        np.testing.assert_array_equal(found.columns[name], getattr(mixes, name))
    again = tmp_path / "again.h5"
    materialise(again, images, mixes, facts={"seed": 0})
    assert again.read_bytes() == (tmp_path / "mixed.h5").read_bytes()
    with pytest.raises(DataError, match=r"must be of rows 0..49, got row"):
        materialise(again, images, replace(mixes, first=mixes.first + 50))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_documented_program_reads_mixes_with_h5py_alone(
    kind: Any, tmp_path: Path, class_space: LabelSpace, make_columns: Callable[..., Any]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    program: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], program)
    columns = make_columns(class_space, 50, "images", "labels", "split", "source_row")
    write_set(tmp_path / "real.h5", columns, kind="real", label_space=class_space, provenance={}, license="CC0-1.0")
    mixes = sample_mixes(50, kind, 1.0, 90, (3, 4), 0)
    write_mixes(tmp_path / "mixes.h5", open_set(tmp_path / "real.h5"), mixes)
    places = np.arange(0, 90, 2)
    expected = applied(columns["images"][mixes.first], columns["images"][mixes.second], mixes)[places]
    np.testing.assert_array_equal(program["mixed"](tmp_path / "real.h5", tmp_path / "mixes.h5", places), expected)
