"""Chairs at any yaw: a procedural regression set in the manner of RC-49, with labels of three kinds.

RC-49 (Ding, Wang, Xu, Welch and Wang, 2021, arXiv 2011.07466) renders 49 chair models of ShapeNet at the yaw
angles 0.1, 0.2 .. 89.9 degrees. Here the models are made from a seed, so that nothing has to be downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.labels import Axis, LabelKind, LabelSpace
from data.rendering.camera import ELEVATION_DEGREES, fit
from data.rendering.chair_design import design
from data.rendering.chair_model import chair
from data.rendering.scene import Scene, make_scene, render_scene
from data.sources import TEST_POOL, TRAINING_POOL, check_rows, sources

ChairLabel = Literal["yaw", "yaw+elevation", "model+yaw"]

RENDERER_VERSION = 1  # raise it whenever any image changes
IMAGE_SIZES = (32, 64)
LARGEST_ANGLE_DEGREES = 90.0
LOWEST_ELEVATION_DEGREES = 5.0
HIGHEST_ELEVATION_DEGREES = 55.0


@lru_cache(maxsize=256)
def _object(type_index: int, seed: int) -> Scene:
    return make_scene(chair(design(type_index, seed)))


@lru_cache(maxsize=2048)
def _scene(type_index: int, seed: int, elevation_degrees: float) -> Scene:
    scene = _object(type_index, seed)
    if elevation_degrees == ELEVATION_DEGREES:
        return scene
    return replace(scene, camera=fit(scene.mesh.quads.reshape(-1, 3), elevation_degrees))


def _check(types: int, image_size: int, seed: int) -> None:
    if types < 1:
        raise ConfigError(f"chairs: types must be at least 1, got {types}; try 49.")
    if image_size not in IMAGE_SIZES:
        raise ConfigError(f"chairs: image_size must be 32 or 64 pixels, got {image_size}; try 32.")
    if seed < 0:
        raise ConfigError(f"chairs: seed must be 0 or more, got {seed}; try 0.")


def render(
    type_index: int,
    yaw_degrees: float,
    image_size: int,
    seed: int = 0,
    types: int = 49,
    elevation_degrees: float = ELEVATION_DEGREES,
) -> npt.NDArray[np.uint8]:
    """One chair at any yaw, seen from any elevation.

    Args:
        type_index: number of the chair model, 0 .. types - 1.
        yaw_degrees: 0 shows the front, 90 points it to the right of the image.
        image_size: 32 or 64 pixels a side.
        seed: makes the models; 0 or more.
        types: number of models.
        elevation_degrees: angle of the camera above the ground, 5 to 55.

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
    if not LOWEST_ELEVATION_DEGREES <= elevation_degrees <= HIGHEST_ELEVATION_DEGREES:
        raise ConfigError(
            f"chairs: elevation_degrees must lie between {LOWEST_ELEVATION_DEGREES:g} and "
            f"{HIGHEST_ELEVATION_DEGREES:g}, got {elevation_degrees}; try {ELEVATION_DEGREES:g}."
        )
    scene = _scene(type_index, seed, elevation_degrees)
    image: npt.NDArray[np.uint8] = render_scene(scene, np.array([float(yaw_degrees)]), image_size)[0]
    return image


@sources.register("chairs")
@dataclass(frozen=True)
class Chairs:
    """Rendered chairs with their yaw, their yaw and the camera's elevation, or their model and yaw.

    Rows count up the yaw first, then the elevation, then the model: row = (type * elevations + index of the
    elevation) * number of angles + index of the angle.

    Differs from RC-49 in: procedural models, 32 or 64 pixels, a soft ground shadow. As there, every second
    angle (0.1, 0.3 ..) may train and the others (0.2, 0.4 ..) only test; of the grid of yaw and elevation, every second
    combination, as the squares of a chessboard: a combination that tests is never trained on, but its neighbours are.

    Args:
        types: number of chair models, at least 2 for "model+yaw"; a model does not depend on it.
        image_size: 32 or 64 pixels a side.
        angle_step: distance of neighbouring angles, degrees; the angles are its multiples between 0 and 90.
        seed: makes the models; 0 or more.
        label: "yaw" (a scalar), "yaw+elevation" (a vector) or "model+yaw" (class+scalar; class k is "chair k").
        elevation_step: distance of neighbouring elevations, degrees; they are 5, 5 + step .. up to 55. For
            "yaw+elevation" only: all else is seen from 24 degrees.

    Raises:
        ConfigError: if an option lies outside its range.
    """

    types: int = 49
    image_size: int = 32
    angle_step: float = 0.1
    seed: int = 0
    label: ChairLabel = "yaw"
    elevation_step: float = 2.5

    license: ClassVar[str] = "Apache-2.0"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2011.07466"

    def __post_init__(self) -> None:
        _check(self.types, self.image_size, self.seed)
        if not 0 < self.angle_step < LARGEST_ANGLE_DEGREES / 2:
            raise ConfigError(f"chairs: angle_step must lie between 0 and 45 degrees, got {self.angle_step}; try 0.1.")
        if self.label not in get_args(ChairLabel):
            raise ConfigError(f"chairs: label must be one of {', '.join(get_args(ChairLabel))}, got '{self.label}'.")
        if self.label == "model+yaw" and self.types < 2:
            raise ConfigError(f"chairs: types must be at least 2 for labels with a model, got {self.types}; try 5.")
        widest = HIGHEST_ELEVATION_DEGREES - LOWEST_ELEVATION_DEGREES
        if not 0 < self.elevation_step <= widest:
            raise ConfigError(
                f"chairs: elevation_step must be above 0 and at most {widest:g} degrees, got {self.elevation_step}; "
                "try 2.5."
            )

    @property
    def label_space(self) -> LabelSpace:
        """The yaw angle, 0 to 90 degrees, alone, with the elevation, 5 to 55 degrees, or with the chair model."""
        yaw = Axis("yaw angle", "degree", 0.0, LARGEST_ANGLE_DEGREES)
        if self.label == "yaw+elevation":
            elevation = Axis("camera elevation", "degree", LOWEST_ELEVATION_DEGREES, HIGHEST_ELEVATION_DEGREES)
            return LabelSpace("vector", axes=(yaw, elevation))
        names = tuple(f"chair {number}" for number in range(self.types)) if self.label == "model+yaw" else ()
        kind: LabelKind = "class+scalar" if names else "scalar"
        return LabelSpace(kind, names, yaw.name, yaw.unit, yaw.minimum, yaw.maximum)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return 3, self.image_size, self.image_size

    def identity(self) -> dict[str, Any]:
        """The options that change the data, and the renderer's version."""
        identity: dict[str, Any] = {
            "name": "chairs",
            "renderer_version": RENDERER_VERSION,
            "types": self.types,
            "image_size": self.image_size,
            "angle_step": self.angle_step,
            "seed": self.seed,
        }
        if self.label != "yaw":
            identity["label"] = self.label
        if self.label == "yaw+elevation":
            identity["elevation_step"] = self.elevation_step
        return identity

    def angles(self) -> npt.NDArray[np.float64]:
        """The angles of every model in degrees, float64, rising."""
        count = math.ceil(LARGEST_ANGLE_DEGREES / self.angle_step - 1e-9) - 1
        return np.round(np.arange(1, count + 1) * self.angle_step, 9)

    def elevations(self) -> npt.NDArray[np.float64]:
        """The camera's elevations of every model and angle in degrees, float64, rising."""
        if self.label != "yaw+elevation":
            return np.array([ELEVATION_DEGREES])
        widest = HIGHEST_ELEVATION_DEGREES - LOWEST_ELEVATION_DEGREES
        return np.round(
            LOWEST_ELEVATION_DEGREES + self.elevation_step * np.arange(int(widest / self.elevation_step + 1e-9) + 1), 9
        )

    def labels(self) -> npt.NDArray[np.float32]:
        """Labels of all rows, float32: yaw (N,), yaw and elevation (N, 2), or model and yaw (N, 2); in degrees."""
        kinds, elevations, yaws = (
            part.reshape(-1)
            for part in np.meshgrid(np.arange(self.types), self.elevations(), self.angles(), indexing="ij")
        )
        if self.label == "yaw":
            return yaws.astype(np.float32)
        return np.stack([yaws, elevations] if self.label == "yaw+elevation" else [kinds, yaws], axis=1).astype(
            np.float32
        )

    def pool(self) -> npt.NDArray[np.uint8]:
        """1 for the first, third .. angle of every model, 2 for the others, shape (N,).

        At every second elevation it is the other way round.
        """
        index = np.arange(len(self.elevations()))[:, None] + np.arange(len(self.angles()))
        return np.tile(np.where(index % 2 == 0, TRAINING_POOL, TEST_POOL).astype(np.uint8).reshape(-1), self.types)

    def images(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Renders the images of ``rows``, in that order, shape (n, 3, image_size, image_size).

        Raises:
            DataError: if a row lies outside the data set.
        """
        angles, elevations = self.angles(), self.elevations()
        views, places = np.divmod(check_rows(rows, self.types * len(elevations) * len(angles), "chairs"), len(angles))
        images = np.empty((len(views), *self.image_shape), dtype=np.uint8)
        for view in np.unique(views).tolist():
            kind, level = divmod(view, len(elevations))
            mine = np.flatnonzero(views == view)
            scene = _scene(kind, self.seed, float(elevations[level]))
            images[mine] = render_scene(scene, angles[places[mine]], self.image_size)
        return images
