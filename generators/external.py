"""External generators: any function from (seeds, labels) to images in the place of a trained GAN."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, StageError, StillhouseError
from data.factories import import_factory, in_one_line
from data.labels import LabelSpace
from data.random import Seeds, derive_seed, row_seeds

#: (seeds uint64 (n,), labels (n, ...) in their own units) to n images.
Function = Callable[[Seeds, npt.NDArray[Any]], Any]

_MOST_ROWS = 256
_PROBED_ROWS = 4
#: Decoders overshoot [-1, 1] a little; anything more is another scale.
_OVERSHOOT = 0.25


class ExternalSampler:
    """Makes images by a function of the user's, which is checked before its first images are taken.

    A function with an attribute ``block_rows`` is called with exactly that many rows each time, the last ones being
    padding where rows are missing: networks need that, because other batch sizes round differently. Any other
    function is called with up to 256 rows.

    Args:
        function: maps (seeds uint64 (n,), labels (n, ...) in their own units) to images: uint8 (n, C, H, W), or
            floating point in [-1, 1], as an array or a tensor.
        factory: what made it, for messages.
        label_space: what the labels mean.
        image_shape: (C, H, W) that its images must have.
    """

    def __init__(
        self, function: Function, factory: str, label_space: LabelSpace, image_shape: tuple[int, int, int]
    ) -> None:
        self.factory = factory
        self.label_space = label_space
        self.image_shape = image_shape
        self._function = function
        self._block_rows = getattr(function, "block_rows", None)
        if self._block_rows is not None and not (type(self._block_rows) is int and 1 <= self._block_rows <= 65_536):
            raise ConfigError(
                f"block_rows of the function of {factory} must be a whole number 1..65536, got {self._block_rows!r}."
            )
        self._checked = False

    def sample(self, labels: npt.NDArray[Any], seeds: Seeds, truncation: float = 1.0) -> npt.NDArray[np.uint8]:
        """One image for each row; the interface of ``generators.sampling.Sampler``.

        Args:
            labels: a column of the label space, in its own units, (n, ...).
            seeds: uint64, shape (n,).
            truncation: must be 1; a function of (seeds, labels) has no latents to truncate.

        Returns:
            uint8 (n, C, H, W).

        Raises:
            DataError: if a label lies outside the label space.
            ConfigError: if ``truncation`` is not 1.
            StageError: if the function fails, or its images are not what they must be.
            ValueError: if the two arrays differ in length.
        """
        if len(labels) != len(seeds):
            raise ValueError(f"labels and seeds must have equal lengths, got {len(labels)} and {len(seeds)}.")
        if truncation != 1.0:
            raise ConfigError(f"truncation must be 1 with the external generator {self.factory}, got {truncation}.")
        self.label_space.check(labels, "labels to sample")
        if len(labels) and not self._checked:
            # Where there are too few rows, neighbours of other seeds are made up.
            rows = np.arange(_PROBED_ROWS)
            with np.errstate(over="ignore"):
                neighbours = seeds[rows % len(labels)] + (rows // len(labels)).astype(np.uint64)
            self._probe(labels[rows % len(labels)], neighbours)
        return self._draw(labels, seeds)

    def _probe(self, labels: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[np.uint8]:
        """Draws a few rows together, again, and each alone.

        Raises:
            StageError: if a row is not the same each time.
        """
        together = self._draw(labels, seeds)
        again = self._draw(labels, seeds)
        if not np.array_equal(together, again):
            raise StageError(
                f"the external generator {self.factory} must give equal images for equal seeds and labels, got others "
                "in a second call; draw all randomness from the seeds of the rows, and leave no layer in training mode."
            )
        for row in range(len(labels)):
            alone = self._draw(labels[row : row + 1], seeds[row : row + 1])[0]
            if not np.array_equal(alone, together[row]):
                off = int(np.abs(alone.astype(int) - together[row]).max())
                raise StageError(
                    f"the external generator {self.factory} must make a row's image from its own seed and label, got "
                    f"another image (by up to {off} of 255) without the other rows; give each row randomness of its "
                    "own seed, or, if the difference is rounding, set block_rows on the function."
                )
        self._checked = True
        return together

    def _draw(self, labels: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[np.uint8]:
        images = np.empty((len(labels), *self.image_shape), np.uint8)
        size = self._block_rows or _MOST_ROWS
        for start in range(0, len(labels), size):
            count = min(size, len(labels) - start)
            rows = np.minimum(np.arange(start, start + (self._block_rows or count)), len(labels) - 1)
            images[start : start + count] = self._call(labels[rows], seeds[rows])[:count]
        return images

    def _call(self, labels: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[np.uint8]:
        try:
            made = self._function(seeds, labels)
            if hasattr(made, "detach"):
                made = made.detach().cpu()
                # NumPy does not know bfloat16.
                made = made.float() if made.is_floating_point() else made
            images: npt.NDArray[Any] = np.asarray(made)
        except StillhouseError:
            raise
        except Exception as error:
            raise StageError(
                f"the external generator {self.factory} failed ({in_one_line(error)}); --debug shows where."
            ) from error
        return _as_bytes(images, (len(labels), *self.image_shape), self.factory)


def _as_bytes(images: npt.NDArray[Any], shape: tuple[int, ...], factory: str) -> npt.NDArray[np.uint8]:
    wanted = f"the images of the external generator {factory} must be"
    if images.shape != shape:
        raise StageError(f"{wanted} of shape {shape} for {shape[0]} rows, got {images.shape}.")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise StageError(f"{wanted} uint8, or floating point in [-1, 1], got {images.dtype.name}.")
    values = images.astype(np.float32)
    if not np.isfinite(values).all():
        raise StageError(f"{wanted} finite, got {int(np.sum(~np.isfinite(values)))} values that are not.")
    low, high = float(values.min()), float(values.max())
    if low < -1.0 - _OVERSHOOT or high > 1.0 + _OVERSHOOT:
        raise StageError(f"{wanted} uint8, or floating point in [-1, 1], got values from {low:g} to {high:g}.")
    return np.asarray(np.clip(np.rint((values + 1.0) * 127.5), 0, 255), np.uint8)


def load_external(
    factory: str, options: Mapping[str, Any], label_space: LabelSpace, image_shape: tuple[int, int, int]
) -> ExternalSampler:
    """Imports a factory and asks it for the function that makes images.

    Args:
        factory: "module:function", see ``data.factories``; the function is called with the label space, the
            image shape and the options.
        options: keyword arguments of the factory.
        label_space: of the labels that will be asked for.
        image_shape: (C, H, W) of the images that are wanted.

    Raises:
        ConfigError: if the factory cannot be imported or is not callable, or takes other options.
        StageError: if it fails.
    """
    make = import_factory(factory, "generator.factory")
    try:
        inspect.signature(make).bind(label_space, image_shape, **options)
    except TypeError as error:
        raise ConfigError(
            f"generator.factory '{factory}' must take (label_space, image_shape, **options) with the options "
            f"{', '.join(options) or 'none'}, got: {error}."
        ) from error
    except ValueError:
        pass  # it does not tell what it takes
    try:
        function = make(label_space, image_shape, **options)
    except StillhouseError:
        raise
    except Exception as error:
        raise StageError(
            f"generator.factory '{factory}' failed ({in_one_line(error)}); --debug shows where."
        ) from error
    if not callable(function):
        raise ConfigError(
            f"generator.factory '{factory}' must return a function of (seeds, labels), got {type(function).__name__}."
        )
    return ExternalSampler(function, factory, label_space, image_shape)


def check_external(sampler: ExternalSampler, seed: int) -> dict[str, Any]:
    """Draws a few images of labels all over the space, together and alone.

    Args:
        sampler: of ``load_external``.
        seed: makes their seeds.

    Returns:
        What is worth knowing of the generator, JSON-ready.

    Raises:
        StageError: if a row's image is not the same each time, or not what it must be.
    """
    space = sampler.label_space
    shares = np.linspace(0.0, 1.0, _PROBED_ROWS)
    classes = np.rint(shares * (space.classes - 1)).astype(np.int64) if space.has_classes else None
    values = np.array(
        [[axis.minimum + share * (axis.maximum - axis.minimum) for axis in space.dimensions] for share in shares]
    )
    seeds = row_seeds(derive_seed(seed, "check external"), np.arange(_PROBED_ROWS))
    images = sampler._probe(space.join(classes, values), seeds)
    return {
        "factory": sampler.factory,
        "checked_rows": _PROBED_ROWS,
        "block_rows": sampler._block_rows,
        "mean_level": round(float(images.mean()), 3),
    }
