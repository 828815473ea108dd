"""The commands ``data pairs``, ``data mix`` and ``data merge``: new sets from those that a person names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from data.errors import ConfigError, DataError
from flows.inspection import only_set

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from data.reading import ImageSet
    from data.recipes.mixes import Kind
    from data.recipes.relations import Relation

#: Relations that compare rows by what a teacher says of them.
_BY_TEACHER = "teacher_similar"


def pairs_command(
    file: Path,
    out: Path,
    sizes: tuple[int, int],
    *,
    count: int,
    relation: str = "uniform",
    neighbours: int = 32,
    most_per_row: int | None = None,
    seed: int = 0,
    as_json: bool = False,
) -> None:
    """Writes comparisons between training rows of a set, for methods that compare groups.

    Args:
        file: the set, or the folder of an artifact with one set.
        out: the file to write.
        sizes: rows of the two groups of a comparison.
        count: comparisons.
        relation: which rows are compared.
        neighbours: rows that count as near or similar to each row.
        most_per_row: comparisons that a row may be in; None for any number.
        seed: makes the choice and its order.
        as_json: whether what was written is told as JSON.

    Raises:
        ConfigError: for sizes or a relation that cannot be, or a file that is there already.
        DataError: if the set cannot be read, or lacks what the relation goes by.
    """
    from data.recipes.relations import write_related
    from data.untrusted import open_untrusted

    check_new(out)
    images = open_untrusted(only_set(file))
    _need(images, "labels")
    if relation == _BY_TEACHER:
        _need(images, "teacher_outputs", "; without a teacher's answers try --relation near_label or same_class")
    digest, found = write_related(
        out,
        images,
        cast("Relation", relation),  # which checks it
        *sizes,
        count,
        seed,
        neighbours=neighbours,
        most_per_row=most_per_row,
    )
    told = {"path": str(out), "of": images.content_sha256, "content_sha256": digest, "groups": found}
    reason = "all that there are" if most_per_row is None else f"all that --most-per-row {most_per_row} leaves room for"
    fewer = f" ({reason}; {count} were asked for)" if found < count else ""
    _tell(told, f"{out}: {found} comparisons{fewer} of {sizes[0]} with {sizes[1]} rows of {images.path}", as_json)


def mix_command(
    file: Path,
    out: Path,
    *,
    kind: str,
    alpha: float,
    count: int,
    seed: int,
    materialise: bool = False,
    as_json: bool = False,
) -> None:
    """Writes which training rows of a set are mixed, or the mixed images themselves.

    Args:
        file: the set, or the folder of an artifact with one set.
        out: the file to write.
        kind: mixup or cutmix.
        alpha: coefficients follow Beta(alpha, alpha).
        count: mixed images.
        seed: makes the choice and its order.
        materialise: whether images are written, not only their recipe.
        as_json: whether what was written is told as JSON.

    Raises:
        ConfigError: for a kind or coefficient that cannot be, or a file that is there already.
        DataError: if the set cannot be read or has no images with labels.
    """
    from data.recipes.mixes import sample_mixes, write_mixes
    from data.untrusted import open_untrusted

    check_new(out)
    # Damaged images would be whole in a set of their own.
    images = open_untrusted(only_set(file), verify=materialise)
    _need(images, "images")
    _need(images, "labels")
    _, _, height, width = images.columns["images"].shape
    mixes = sample_mixes(_rows_to_mix(images), cast("Kind", kind), alpha, count, (height, width), seed)
    facts = {"alpha": alpha, "seed": seed}
    if materialise:
        from data.recipes.materialising import materialise as write_images

        digest = write_images(out, images, mixes, facts=facts)
    else:
        digest = write_mixes(out, images, mixes, facts=facts)
    told = {"path": str(out), "of": images.content_sha256, "content_sha256": digest, "mixes": len(mixes)}
    what = "mixed images" if materialise else "mixes, as row numbers,"
    _tell(told, f"{out}: {len(mixes)} {what} of {images.path} by {kind}", as_json)


def merge_command(
    files: Sequence[Path],
    out: Path,
    *,
    license_: str | None = None,
    drop_duplicates: bool = False,
    drop_leaks: bool = False,
    drop_split: bool = False,
    seed: int = 0,
    as_json: bool = False,
) -> None:
    """Joins sets of equal label space into one.

    Raises:
        ConfigError: if there is only one, or the file is there already.
        DataError: if they do not fit together, or one is damaged.
    """
    from data.merging import merge_sets

    check_new(out)
    if len(files) < 2:
        raise ConfigError(f"FILE must be given at least twice to merge sets, got {len(files)} of them; name another.")
    told = merge_sets(
        [only_set(file) for file in files],
        out,
        license=license_,
        shuffle_seed=seed,
        drop_duplicates=drop_duplicates,
        drop_leaks=drop_leaks,
        drop_split=drop_split,
    )
    counts = ("dropped_leaks", "dropped_duplicates", "identical_images", "contradicting_labels")
    found = "".join(f", {told[name]} {name.replace('_', ' ')}" for name in counts if told[name])
    lost = f"; without {', '.join(told['left_out'])}, which not all have" if told["left_out"] else ""
    _tell({"path": str(out), **told}, f"{out}: {told['rows']} rows of {len(files)} sets{found}{lost}", as_json)


def check_new(out: Path) -> None:
    """Checks that a command may write a file.

    Raises:
        ConfigError: if it is there, or its folder is not.
    """
    if not out.parent.is_dir():
        raise ConfigError(f"--out must be a file in a folder that is there, got {out}; make {out.parent} first.")
    if out.exists() or out.is_symlink():
        raise ConfigError(f"--out must be a new file, got {out}, which is there; remove it first.")


def _need(images: ImageSet, column: str, remedy: str = "; name a set of labelled images") -> None:
    if column not in images.columns:
        raise DataError(f"{images.path}: must have the column '{column}', got kind '{images.kind}' without it{remedy}.")


def _rows_to_mix(images: ImageSet) -> npt.NDArray[np.int64]:
    """Training rows where the set is split, else all."""
    import numpy as np

    from data.splitting import TRAIN

    split = "split" in images.columns
    rows = np.flatnonzero(np.asarray(images.columns["split"]) == TRAIN) if split else np.arange(len(images))
    if len(rows) < 2:
        of = f"training rows (of {len(images)} in all)" if split else "rows"
        raise DataError(f"{images.path}: must have at least 2 {of} to mix, got {len(rows)}; name a larger set.")
    return rows


def _tell(told: dict[str, Any], words: str, as_json: bool) -> None:
    print(json.dumps(told) if as_json else words)
