"""Mixes: which two rows of a set make one image, and how much of each; kept as indices, applied when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, xlogy

from data.errors import ConfigError, DataError
from data.random import derive_seed
from data.reading import ImageSet, open_set, verify_set
from data.recipes.groups import Rows, combinations, distinct_numbers
from data.writing import write_set

Kind = Literal["mixup", "cutmix"]
KINDS: tuple[Kind, ...] = ("mixup", "cutmix")

#: Shares of mixup are whole multiples of 1 / 65536; ``data.recipes.applying`` says why.
SHARE_STEPS = 65536


@dataclass(frozen=True, eq=False)
class Mixes:
    """Images made from two rows of a set each.

    Args:
        kind: "mixup" blends both images; "cutmix" pastes a box of the second into the first.
        first: row of the first image, int64 (M,).
        second: row of the second image, another one, int64 (M,).
        coefficient: share of the first image, float32 (M,) in [0, 1]; of CutMix the share of pixels that are its own.
        box: int64 (M, 4): top, left, height and width of what is pasted, in pixels; zeros for mixup.
        of: content digest of the set that the rows are of; empty while they are of none yet.
        content_sha256: content digest of the mixes themselves; empty until they are written.
        teacher_outputs: what the teacher says of the mixed images, float32 (M, K), or None.
    """

    kind: Kind
    first: Rows
    second: Rows
    coefficient: npt.NDArray[np.float32]
    box: Rows
    of: str = ""
    content_sha256: str = ""
    teacher_outputs: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Number of mixed images."""
        return len(self.first)

    def at(self, places: npt.NDArray[np.integer]) -> Mixes:
        """The mixes at some places, in the order asked for; they have no digest of their own."""
        outputs = None if self.teacher_outputs is None else self.teacher_outputs[places]
        return replace(
            self,
            first=self.first[places],
            second=self.second[places],
            coefficient=self.coefficient[places],
            box=self.box[places],
            content_sha256="",
            teacher_outputs=outputs,
        )


def sample_mixes(
    rows: int | Rows, kind: Kind, alpha: float, count: int, image_size: int | tuple[int, int], seed: int
) -> Mixes:
    """Draws pairs of different rows with the share of each.

    Sources: mixup, Zhang et al. (2018, arXiv 1710.09412); CutMix, Yun et al. (2019, arXiv 1905.04899). Differ in: no
    row is mixed with itself, no two rows are mixed twice before all have been mixed once, and every mix has its own
    coefficient, where the papers draw one for a batch.

    A box of CutMix has sqrt(1 - l) of the image's sides, l from Beta(alpha, alpha), in whole pixels to either side of
    a uniform centre; what falls outside the image is cut off, and the coefficient is the share that is left.

    Args:
        rows: number of rows of the set, or the row numbers to choose from, int64 (N,).
        kind: "mixup" or "cutmix".
        alpha: coefficients follow Beta(alpha, alpha); above 0.
        count: mixes.
        image_size: side of the images in pixels, or height and width.
        seed: makes the choice and its order.

    Returns:
        ``count`` mixes in random order; which row of a pair comes first is random, too.

    Raises:
        ConfigError: for another kind, fewer than 2 rows or one of them twice, no mixes, or an alpha not above 0.
    """
    names = rows if isinstance(rows, np.ndarray) else np.arange(rows)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if kind not in KINDS:
        raise ConfigError(f"kind of mixes must be 'mixup' or 'cutmix', got '{kind}'.")
    if len(names) < 2 or count < 1:
        raise ConfigError(f"mixes must be at least 1 of at least 2 rows, got {count} of {len(names)}; give more.")
    if len(np.unique(names)) < len(names):
        raise ConfigError("rows to mix must be distinct, got some of them twice; leave out what comes again.")
    if not (np.isfinite(alpha) and alpha > 0.0):
        raise ConfigError(f"alpha of mixes must be a finite number above 0, got {alpha}; try 1.")
    rng = np.random.default_rng(derive_seed(seed, "mixes", kind))
    pair = combinations(_pairs(len(names), count, rng), len(names), 2)
    swapped = rng.random(count) < 0.5
    first, second = (names[np.where(swapped, *order)] for order in ((pair[:, 1], pair[:, 0]), (pair[:, 0], pair[:, 1])))
    share = sample_shares(alpha, count, rng)
    box = np.zeros((count, 4), np.int64)
    if kind == "mixup":
        share = np.rint(share * SHARE_STEPS) / SHARE_STEPS
    else:
        box = _sample_boxes(share, height, width, rng)
        share = 1.0 - box[:, 2] * box[:, 3] / (height * width)
    return Mixes(kind, first, second, share.astype(np.float32), box)


def sample_shares(alpha: float, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draws from Beta(alpha, alpha), float64 (count,), from two gamma draws each.

    In log space, because gamma draws of a small shape underflow: log G(a) = log G(a + 1) + log(U) / a.
    """
    own, other = (np.log(rng.standard_gamma(alpha + 1.0, count)) for _ in range(2))
    # Of (0, 1], so that no logarithm is infinite.
    own_power, other_power = (np.log(1.0 - rng.random(count)) for _ in range(2))
    with np.errstate(over="ignore"):
        return np.asarray(expit((own - other) + (own_power - other_power) / alpha))


def pick_mixes(mixes: Mixes, probabilities: npt.NDArray[np.floating[Any]], pick: int = 2) -> Mixes:
    """Keeps the mixes that are most uncertain: one for each ``pick`` that were drawn.

    CutMixPick of Wang et al. (2022, arXiv 2012.02909): of a pool of mixed images those of the highest entropy
    - sum_c p_c log p_c, whichever images they are of. Differs in: the pool is all mixes, not those of one batch, and
    the probabilities are those of any teacher or student, asked beforehand.

    Args:
        mixes: the pool, M of them, with ``teacher_outputs`` or without.
        probabilities: of the classes at temperature 1 for each mixed image, (M, C).
        pick: mixes drawn for each one that is kept; M // pick are kept.

    Returns:
        The kept mixes, in the order in which they were drawn; of equal entropies the first drawn.

    Raises:
        ConfigError: if nothing would be kept, or these are no probabilities of at least 2 classes.
    """
    if pick < 1 or len(mixes) < pick:
        raise ConfigError(f"pick must lie in 1..{len(mixes)}, the number of mixes drawn, got {pick}.")
    if probabilities.ndim != 2 or len(probabilities) != len(mixes) or probabilities.shape[1] < 2:
        raise ConfigError(
            f"probabilities must have shape ({len(mixes)}, classes) with at least 2 classes, got "
            f"{probabilities.shape}; where labels are no classes, keep all mixes (pick: 1)."
        )
    total = probabilities.sum(axis=1, dtype=np.float64)
    if not ((probabilities >= 0).all() and np.allclose(total, 1.0, atol=1e-3)):
        raise ConfigError("probabilities must be at least 0 and add up to 1 in each row; give the softmax of logits.")
    entropy = -xlogy(probabilities, probabilities).sum(axis=1, dtype=np.float64)
    return mixes.at(np.sort(np.argsort(-entropy, kind="stable")[: len(mixes) // pick]))


def write_mixes(path: Path, images: ImageSet, mixes: Mixes, *, facts: Mapping[str, Any] | None = None) -> str:
    """Writes mixes as a file of indices.

    Args:
        path: the file to write.
        images: the set that the rows are of.
        mixes: of that set.
        facts: what else to say in the provenance, such as seed and alpha; JSON-ready.

    Returns:
        The content digest of the file.

    Raises:
        DataError: if the mixes do not fit the set, or the file cannot be written.
    """
    check_mixes(replace(mixes, of=mixes.of or images.content_sha256), images, str(path))
    columns: dict[str, npt.NDArray[Any]] = {
        "first": mixes.first,
        "second": mixes.second,
        "coefficient": mixes.coefficient,
        "box": mixes.box,
    }
    if mixes.teacher_outputs is not None:
        columns["teacher_outputs"] = mixes.teacher_outputs
    return write_set(
        path,
        columns,
        kind="mixes",
        label_space=images.label_space,
        provenance={**(facts or {}), "of": images.content_sha256, "kind": mixes.kind},
        license=images.license,
    )


def read_mixes(path: Path) -> Mixes:
    """Reads a file of mixes, and compares all its digests.

    Raises:
        DataError: if it is damaged or no such file, or a row is mixed with itself.
    """
    verify_set(path)
    found = open_set(path)
    kind, of = found.provenance.get("kind"), found.provenance.get("of")
    if found.kind != "mixes" or kind not in KINDS or not isinstance(of, str):
        raise DataError(f"{path} must hold mixes, got a set of kind '{found.kind}'; make one by 'stillhouse data mix'.")
    held = {name: np.array(values) for name, values in found.columns.items()}
    mixes = Mixes(
        kind, held["first"], held["second"], held["coefficient"], held["box"], of, found.content_sha256,
        held.get("teacher_outputs"),
    )  # fmt: skip
    if not len(mixes) or bool((mixes.first == mixes.second).any()):
        raise DataError(f"{path}: every mix must be of two different rows, and there must be one; make it again.")
    return mixes


def check_mixes(mixes: Mixes, images: ImageSet, where: str) -> None:
    """Checks that mixes are of a set, of rows that it has, and that their boxes lie in its images.

    Raises:
        DataError: naming ``where`` and what does not fit.
    """
    if images.kind == "mixed":
        raise DataError(
            f"{where} must be of images of one label each, got kind 'mixed' ({images.path}), whose images are of two; "
            "mix the rows of the set that it was mixed of."
        )
    if mixes.of != images.content_sha256:
        raise DataError(
            f"{where} must be of the set {images.content_sha256[:12]} ({images.path}), got one of {mixes.of[:12]}; "
            f"make it anew by 'stillhouse data mix'."
        )
    last = max(int(mixes.first.max()), int(mixes.second.max()))
    if last >= len(images):
        raise DataError(f"{where} must be of rows 0..{len(images) - 1}, got row {last}; make it anew.")
    height, width = images.columns["images"].shape[2:]
    top, left, tall, wide = mixes.box.T
    # Before the sums, which could pass the largest int64.
    inside = (tall <= height) & (wide <= width) & (top <= height) & (left <= width)
    inside &= (top + np.where(inside, tall, 0) <= height) & (left + np.where(inside, wide, 0) <= width)
    if not inside.all():
        raise DataError(
            f"{where}: box of mix {int(np.argmin(inside))} must lie in images of {height}x{width} pixels, got "
            f"{mixes.box[np.argmin(inside)].tolist()} (top, left, height, width); make it anew."
        )
    if mixes.kind == "cutmix":
        own = 1.0 - tall * wide / (height * width)
        wrong = np.abs(own - mixes.coefficient) > 1e-5
        if wrong.any():
            place = int(np.argmax(wrong))
            raise DataError(
                f"{where}: coefficient of mix {place} must be the share of pixels that are not pasted, "
                f"{own[place]:.6f}, got {mixes.coefficient[place]:.6f}; make it anew."
            )


def mixes_of_rows(mixes: Mixes, images: ImageSet, rows: Rows, where: str) -> Mixes:
    """Mixes of rows of a set as mixes of places in a selection of its rows.

    Args:
        mixes: of ``images``.
        images: the set.
        rows: the selection, rising, int64 (N,).
        where: names the recipe in messages.

    Returns:
        The mixes with ``first`` and ``second`` in 0 .. N - 1.

    Raises:
        DataError: if the mixes are of another set or of rows that are not selected, or do not fit its images.
    """
    check_mixes(mixes, images, where)
    if not len(rows):
        raise DataError(f"{where} must mix training rows, of which {images.path} has none; name a set with some.")
    both = []
    for members in (mixes.first, mixes.second):
        places = np.minimum(np.searchsorted(rows, members), len(rows) - 1)
        if not np.array_equal(rows[places], members):
            raise DataError(f"{where} must mix training rows alone; make it anew by 'stillhouse data mix'.")
        both.append(places)
    return replace(mixes, first=both[0], second=both[1])


def _pairs(rows: int, count: int, rng: np.random.Generator) -> Rows:
    """Numbers of pairs of rows: each pair as often as any other, give or take one, in random order."""
    available = rows * (rows - 1) // 2
    whole = [rng.permutation(available) for _ in range(count // available)]
    rest = count % available
    return np.concatenate([*whole, distinct_numbers(available, rest, rng)]) if rest else np.concatenate(whole)


def _sample_boxes(share: npt.NDArray[np.float64], height: int, width: int, rng: np.random.Generator) -> Rows:
    """Top, left, height and width of the box for each share of own pixels, int64 (M, 4)."""
    side = np.sqrt(1.0 - share)
    box = np.empty((len(share), 4), np.int64)
    for axis, length in enumerate((height, width)):
        half = (side * length).astype(np.int64) // 2
        centre = rng.integers(0, length, len(share))
        start = np.maximum(centre - half, 0)
        box[:, axis] = start
        box[:, axis + 2] = np.minimum(centre + half, length) - start
    return box
