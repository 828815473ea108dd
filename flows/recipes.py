"""Whether a run can use its recipes: comparisons that fit the methods and batches, mixes that fit the labels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import ConfigError
from flows.recipe_config import NEAR, Groups, drawn_in_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data.labels import LabelSpace
    from data.reading import ImageSet
    from data.recipes.groups import Groups as Comparisons
    from data.store import Artifact
    from flows.config import Config

#: Relations that compare rows by their class, and one that compares them by their values.
_BY_CLASS = ("same_class", "different_class")
_BY_VALUE = "near_label"


def check_recipes(config: Config, space: LabelSpace) -> None:
    """Checks recipes against labels and methods, before anything is read.

    Args:
        config: of the run.
        space: what labels mean.

    Raises:
        ConfigError: naming the key that cannot work.
    """
    from students.methods import group_sizes, make_method

    made = ((method.name, group_sizes(make_method(method.name, method.options))) for method in config.distill.methods)
    # A method may be there several times, with other sizes.
    comparing = [(name, sizes) for name, sizes in made if sizes is not None]
    groups = config.recipes.groups
    # A recipe wins for the real rows.
    drawn = config.distill.recipe is None or config.uses_synthetic
    if comparing and drawn and not drawn_in_training(groups):
        _check_relation(groups.relation, space)
        _check_neighbours(groups, comparing)
    if not config.uses_mixes:
        return
    if comparing:
        raise ConfigError(
            f"distill.data real+mixed must have methods whose rows come singly, got '{comparing[0][0]}', which "
            "compares groups of rows, and mixed images are in none; leave out real+mixed or the method."
        )
    mixes = config.recipes.mixes
    if mixes.pick > 1 and not space.has_classes:
        raise ConfigError(
            f"recipes.mixes.pick must be 1 for {space.kind} labels, as there are no class probabilities to pick by, "
            f"got {mixes.pick}."
        )


def _check_relation(relation: str, space: LabelSpace) -> None:
    if relation in _BY_CLASS and not space.has_classes:
        raise ConfigError(
            f"recipes.groups.relation '{relation}' is for labels with a class, got {space.kind} labels; try near_label."
        )
    if relation == _BY_VALUE and not space.dimensions:
        raise ConfigError(
            "recipes.groups.relation 'near_label' is for labels with values, got class labels, which have no "
            "neighbours; try same_class."
        )


def _check_neighbours(groups: Groups, comparing: Sequence[tuple[str, tuple[int, int]]]) -> None:
    for method, (positive, negative) in comparing:
        if groups.relation in NEAR and groups.neighbours < positive + negative - 1:
            raise ConfigError(
                f"recipes.groups.neighbours must be at least {positive + negative - 1} for method '{method}', which "
                f"compares groups of {positive} and {negative}: the other rows of a comparison are neighbours of its "
                f"first; got {groups.neighbours}."
            )


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
            parts, size = 1 if data == "real" else 2, 1 if sizes is None else sum(sizes)
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
    from data.recipes.groups import groups_of_rows
    from data.splitting import TRAIN
    from students.methods import group_sizes, make_method

    recipe, methods = config.distill.recipe, config.distill.methods
    if recipe is None or all(group_sizes(make_method(method.name, method.options)) is None for method in methods):
        return
    images = open_set(real.path("real.h5"))
    rows = np.flatnonzero(np.asarray(images.columns["split"]) == TRAIN)
    groups_of_rows(read_recipe(recipe), images, rows, f"distill.recipe {recipe}")


def recipe_digest(path: str) -> str:
    """Content of the recipe of a configuration, as fingerprints have it.

    Raises:
        ConfigError: if there is no such file.
        DataError: if it cannot be read.
    """
    return _open_recipe(path).content_sha256


def read_recipe(path: str) -> Comparisons:
    """The comparisons of the recipe of a configuration, all of its digests compared.

    Raises:
        ConfigError: if there is no such file.
        DataError: if it cannot be read, or is damaged.
    """
    return _read(path, _stamp(path))


def _open_recipe(path: str) -> ImageSet:
    return _open(path, _stamp(path))


def _stamp(path: str) -> tuple[int, ...]:
    """What changes with the file, so that one which stays is read once."""
    if not Path(path).is_file():
        raise ConfigError(
            f"distill.recipe must be a file that is there, got {path}; make one by 'stillhouse data pairs'."
        )
    known = Path(path).stat()
    return known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns


# The file may be anybody's, and is read in a process of its own, which takes a while.
@lru_cache(maxsize=4)
def _open(path: str, stamp: tuple[int, ...]) -> ImageSet:
    from data.untrusted import open_untrusted

    del stamp
    return open_untrusted(path)


@lru_cache(maxsize=1)
def _read(path: str, stamp: tuple[int, ...]) -> Comparisons:
    from data.recipes.groups import groups_in
    from data.untrusted import open_untrusted

    del stamp
    return groups_in(open_untrusted(path, verify=True))


def _check_sizes(recipe: str, sizes: tuple[int, int], method: str) -> None:
    columns = _open_recipe(recipe).columns
    found = tuple(columns[name].shape[1] if name in columns else 0 for name in ("positive", "negative"))
    if found != sizes:
        raise ConfigError(
            f"distill.recipe {recipe} must have groups of {sizes[0]} and {sizes[1]} rows for method '{method}', got "
            f"{found[0]} and {found[1]}; make one by 'stillhouse data pairs' with --positive {sizes[0]} --negative "
            f"{sizes[1]}."
        )
