"""Options of a training that cannot have an effect, or leave nothing to see, are refused before anything trains."""

import pytest

from data.errors import ConfigError
from flows.config import Config
from flows.preflight import preflight

CHAIRS = {
    "source": {"kind": "chairs"},
    "distill": {"data": ["real"], "methods": [{"name": "mse"}]},
}


def config(base, section, **training):
    document = {"compute": {"device": "cpu"}, **base}
    training = {"training": {"steps": 100, **training}}
    if section == "teacher":
        return Config.model_validate({**document, "teacher": training})
    return Config.model_validate({**document, "distill": {**document.get("distill", {"data": ["real"]}), **training}})


@pytest.mark.parametrize("section", ["teacher", "distill"])
def test_smoothing_of_labels_without_classes_is_refused(section):
    with pytest.raises(ConfigError, match=rf"{section}\.training\.label_smoothing must be 0 for scalar labels"):
        preflight(config(CHAIRS, section, label_smoothing=0.1))
    preflight(config({}, section, label_smoothing=0.1))


@pytest.mark.parametrize("section", ["teacher", "distill"])
def test_a_hole_that_is_the_whole_of_every_image_is_refused(section):
    # Digits have 8 pixels a side: a hole of 15 covers them from any centre, one of 14 leaves an edge from some.
    with pytest.raises(ConfigError, match=rf"{section}\.training\.cutout_pixels must be below 15.* got 15; try 4"):
        preflight(config({}, section, cutout_pixels=15))
    preflight(config({}, section, cutout_pixels=14))


@pytest.mark.parametrize(("side", "whole"), [(14, False), (15, True)])
def test_the_limit_is_where_holes_cover_everything(side, whole):
    import torch

    from students.augmentation import Augmentation

    images = torch.ones(400, 1, 8, 8)
    holes = Augmentation(cutout_pixels=side).cut(images, torch.zeros(1), torch.Generator().manual_seed(0))
    assert bool((holes == 0).all()) == whole
