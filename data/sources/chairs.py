"""Chairs at any yaw: a procedural regression set in the manner of RC-49.

RC-49 (Ding, Wang, Xu, Welch and Wang, 2021, arXiv 2011.07466) renders 49 chair models of ShapeNet at the yaw
angles 0.1, 0.2 .. 89.9 degrees. Here the models are made from a seed, so that nothing has to be downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.labels import LabelSpace
from data.rendering.chair_design import design
from data.rendering.chair_model import chair
from data.rendering.scene import Scene, make_scene, render_scene
from data.sources import TEST_POOL, TRAINING_POOL, check_rows, sources

RENDERER_VERSION = 1  # raise it whenever any image changes
IMAGE_SIZES = (32, 64)
LARGEST_ANGLE_DEGREES = 90.0


@lru_cache(maxsize=256)
def _scene(type_index: int, seed: int) -> Scene:
    return make_scene(chair(design(type_index, seed)))


def _check(types: int, image_size: int, seed: int) -> None:
    if types < 1:
        raise ConfigError(f"chairs: types must be at least 1, got {types}; try 49.")
    if image_size not in IMAGE_SIZES:
        raise ConfigError(f"chairs: image_size must be 32 or 64 pixels, got {image_size}; try 32.")
    if seed < 0:
        raise ConfigError(f"chairs: seed must be 0 or more, got {seed}; try 0.")


def render(
    type_index: int, yaw_degrees: float, image_size: int, seed: int = 0, types: int = 49
) -> npt.NDArray[np.uint8]:
    """One chair at any yaw.

    Args:
        type_index: number of the chair model, 0 .. types - 1.
        yaw_degrees: 0 shows the front, 90 points it to the right of the image.
        image_size: 32 or 64 pixels a side.
        seed: makes the models; 0 or more.
        types: number of models.

    Returns:
        RGB image, uint8, shape (3, image_size, image_size).

    Raises:
        ConfigError: if an argument lies outside its range.
    """
    _check(types, image_size, seed)
    if not 0 <= type_index < types:
        raise ConfigError(f"chairs: type_index must lie in 0..{types - 1}, got {type_index}; try more types.")
    if not math.isfinite(yaw_degrees):
        raise ConfigError(f"chairs: yaw_degrees must be finite, got {yaw_degrees}; try 0 to 90.")
    image: npt.NDArray[np.uint8] = render_scene(_scene(type_index, seed), np.array([float(yaw_degrees)]), image_size)[0]
    return image


@sources.register("chairs")
@dataclass(frozen=True)
class Chairs:
    """Rendered chairs with their yaw: row = type * number of angles + index of the angle.

    Differs from RC-49 in: procedural models, 32 or 64 pixels, a soft ground shadow. As there, every second
    angle (0.1, 0.3 ..) may train and the others (0.2, 0.4 ..) only test.

    Args:
        types: number of chair models; a model does not depend on it.
        image_size: 32 or 64 pixels a side.
        angle_step: distance of neighbouring angles, degrees; the angles are its multiples between 0 and 90.
        seed: makes the models; 0 or more.

    Raises:
        ConfigError: if an option lies outside its range.
    """

    types: int = 49
    image_size: int = 32
    angle_step: float = 0.1
    seed: int = 0

    license: ClassVar[str] = "Apache-2.0"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2011.07466"

    def __post_init__(self) -> None:
        _check(self.types, self.image_size, self.seed)
        if not 0 < self.angle_step < LARGEST_ANGLE_DEGREES / 2:
            raise ConfigError(f"chairs: angle_step must lie between 0 and 45 degrees, got {self.angle_step}; try 0.1.")

    @property
    def label_space(self) -> LabelSpace:
        """The yaw angle, 0 to 90 degrees."""
        return LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0.0, maximum=LARGEST_ANGLE_DEGREES)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return 3, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """The options and the renderer's version."""
        return {
            "name": "chairs",
            "renderer_version": RENDERER_VERSION,
            "types": self.types,
            "image_size": self.image_size,
            "angle_step": self.angle_step,
            "seed": self.seed,
        }

    def angles(self) -> npt.NDArray[np.float64]:
        """The angles of every model in degrees, float64, rising."""
        count = math.ceil(LARGEST_ANGLE_DEGREES / self.angle_step - 1e-9) - 1
        return np.round(np.arange(1, count + 1) * self.angle_step, 9)

    def labels(self) -> npt.NDArray[np.float32]:
        """Yaw of every row in degrees, float32, shape (N,)."""
        return np.tile(self.angles().astype(np.float32), self.types)

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for the first, third .. angle of every model, 2 for the others, shape (N,)."""
        index = np.arange(len(self.angles()))
        return np.tile(np.where(index % 2 == 0, TRAINING_POOL, TEST_POOL).astype(np.uint8), self.types)

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Renders the images of ``rows``, in that order, shape (n, 3, image_size, image_size).

        Raises:
            DataError: if a row lies outside the data set.
        """
        angles = self.angles()
        kinds, places = np.divmod(check_rows(rows, self.types * len(angles), "chairs"), len(angles))
        images = np.empty((len(kinds), *self.image_shape), dtype=np.uint8)
        for kind in np.unique(kinds).tolist():
            mine = np.flatnonzero(kinds == kind)
            images[mine] = render_scene(_scene(kind, self.seed), angles[places[mine]], self.image_size)
        return images
