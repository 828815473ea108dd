"""Recipes of comparative groups: the command ``stillhouse data pairs``, and whether a run can use one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import ConfigError

if TYPE_CHECKING:
    from data.reading import ImageSet
    from data.store import Artifact
    from flows.config import Config


def pairs_command(
    file: Path, positive: int, negative: int, count: int, seed: int, out: Path, *, as_json: bool = False
) -> None:
    """Writes comparisons between training rows of a set, for methods that compare groups.

    Args:
        file: the set, or the folder of an artifact with one set.
        positive: rows of the first group of a comparison.
        negative: rows of the second group.
        count: comparisons.
        seed: makes the choice and its order.
        out: the file to write.
        as_json: whether what was written is told as JSON.

    Raises:
        ConfigError: for sizes that cannot be, or a file that is there already.
        DataError: if the set cannot be read.
    """
    from data.reading import open_set
    from data.recipes.groups import write_groups

    images = open_set(_set_of(file))
    if not out.parent.is_dir():
        raise ConfigError(f"--out must be a file in a folder that is there, got {out}; make {out.parent} first.")
    if out.exists():
        raise ConfigError(f"--out must be a new file, got {out}, which is there; remove it first.")
    digest = write_groups(out, images, positive, negative, count, seed)
    if as_json:
        print(json.dumps({"path": str(out), "of": images.content_sha256, "content_sha256": digest, "groups": count}))
        return
    print(f"{out}: {count} comparisons of {positive} with {negative} rows of {images.path}")


def _set_of(file: Path) -> Path:
    """The one HDF5 file of an artifact's folder, or the file itself."""
    if not file.is_dir():
        return file
    found = sorted(file.glob("*.h5"))
    if len(found) != 1:
        raise ConfigError(f"{file} must hold one HDF5 set, got {len(found)}; name the file.")
    return found[0]


def check_batches(config: Config) -> None:
    """Checks that whole comparisons, both kinds of rows and all processes find room in every student's batches.

    Args:
        config: of the run.

    Raises:
        ConfigError: if a batch is too small for a method, or a recipe has groups of other sizes than it compares.
        DataError: if the recipe cannot be read.
    """
    from students.methods import group_sizes, make_method
    from students.training_data import batch_shares, check_shared

    distill, processes = config.distill, config.compute.processes
    for method in distill.methods:
        sizes = group_sizes(make_method(method.name, method.options))
        if sizes is not None and distill.recipe is not None:
            _check_sizes(distill.recipe, sizes, method.name)
        for data in distill.data:
            parts, size = 2 if data == "real+synthetic" else 1, 1 if sizes is None else sum(sizes)
            shares = batch_shares(distill.training.batch_size, distill.real_fraction, parts, size)
            check_shared(shares, processes, size)


def check_recipe(config: Config, real: Artifact) -> None:
    """Checks that the recipe of a run, where a method reads it, compares training rows of the run's own set.

    Args:
        config: of the run.
        real: artifact of stage ``prepare``.

    Raises:
        DataError: if it cannot be read, is damaged, or is of another set.
    """
    import numpy as np

    from data.reading import open_set
    from data.recipes.groups import groups_of_rows, read_groups
    from data.splitting import TRAIN
    from students.methods import group_sizes, make_method

    recipe, methods = config.distill.recipe, config.distill.methods
    if recipe is None or all(group_sizes(make_method(method.name, method.options)) is None for method in methods):
        return
    images = open_set(real.path("real.h5"))
    rows = np.flatnonzero(np.asarray(images.columns["split"]) == TRAIN)
    groups_of_rows(read_groups(Path(recipe)), images, rows, f"distill.recipe {recipe}")


def open_recipe(path: str) -> ImageSet:
    """The recipe of a configuration.

    Raises:
        ConfigError: if there is no such file.
        DataError: if it cannot be read.
    """
    from data.reading import open_set

    if not Path(path).is_file():
        raise ConfigError(
            f"distill.recipe must be a file that is there, got {path}; make one by 'stillhouse data pairs'."
        )
    return open_set(Path(path))


def _check_sizes(recipe: str, sizes: tuple[int, int], method: str) -> None:
    columns = open_recipe(recipe).columns
    found = tuple(columns[name].shape[1] if name in columns else 0 for name in ("positive", "negative"))
    if found != sizes:
        raise ConfigError(
            f"distill.recipe {recipe} must have groups of {sizes[0]} and {sizes[1]} rows for method '{method}', got "
            f"{found[0]} and {found[1]}; make one by 'stillhouse data pairs' with --positive {sizes[0]} --negative "
            f"{sizes[1]}."
        )
