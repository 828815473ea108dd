"""What a network wants of its images: sizes and channels, against torch, Pillow and loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from data.compute import Compute
from data.errors import ConfigError
from data.labels import LabelSpace
from students.evaluation import predict
from students.model import ImageModel, build_model, load_model, save_model
from students.networks import ImageShape
from students.preprocessing import Grey, Preprocessing, Resize, resizing_matrix

CLASSES = LabelSpace("class", ("a", "b", "c"))
SCALAR = LabelSpace("scalar", name="angle", unit="degree", maximum=90.0)
COMPUTE = Compute(torch.device("cpu"))


def some_images(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8))


@pytest.mark.parametrize(
    ("before", "after"),
    [((32, 32), (224, 224)), ((28, 28), (32, 32)), ((64, 48), (8, 8)), ((9, 17), (16, 16)), ((5, 5), (1, 1))],
)
def test_resizing_is_torchs_bilinear_with_antialias(before: tuple[int, int], after: tuple[int, int]) -> None:
    images = some_images(3, 2, *before).float()
    wanted = F.interpolate(images, after, mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(Resize(before, after)(images), wanted, rtol=1e-5, atol=1e-3)


def test_resizing_weights_equal_a_loop() -> None:
    before, after = 7, 3
    wanted = np.zeros((after, before))
    for new in range(after):
        centre = (new + 0.5) * before / after
        for old in range(before):
            wanted[new, old] = max(0.0, 1.0 - abs(old + 0.5 - centre) / (before / after))
        wanted[new] /= wanted[new].sum()
    np.testing.assert_allclose(resizing_matrix(before, after), wanted, rtol=1e-6, atol=1e-7)


def test_autocast_does_not_round_grey_levels() -> None:
    images = some_images(2, 1, 8, 8).float()
    resize = Resize((8, 8), (12, 12))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = resize(images)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, resize(images), rtol=0, atol=0)


def test_grey_is_what_pillow_makes_of_colours() -> None:
    image = some_images(1, 3, 8, 8)
    pillow = np.asarray(Image.fromarray(image[0].permute(1, 2, 0).numpy()).convert("L"), np.float32)
    np.testing.assert_allclose(Grey()(image.float())[0, 0].numpy(), pillow, atol=1.0)


@pytest.mark.parametrize(
    ("preprocessing", "shape", "wanted"),
    [
        (Preprocessing(), (2, 9, 7), (2, 9, 7)),
        (Preprocessing(16), (2, 9, 7), (2, 16, 16)),
        (Preprocessing(None, 3), (1, 9, 7), (3, 9, 7)),
        (Preprocessing(8, 1), (3, 9, 7), (1, 8, 8)),
        (Preprocessing(9, 1), (1, 9, 9), (1, 9, 9)),
    ],
)
def test_what_a_network_takes(preprocessing: Preprocessing, shape: ImageShape, wanted: ImageShape) -> None:
    assert preprocessing.input_shape(shape) == wanted
    images = some_images(2, *shape).float()
    found = preprocessing.module(shape)(images)
    assert found.shape == (2, *wanted)
    if wanted == shape:
        assert torch.equal(found, images)
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


def test_what_cannot_be_made_of_an_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 3 for images of 2"):
        Preprocessing(None, 3).input_shape((2, 8, 8))
    for size in (0, 4097, 10**6):
        with pytest.raises(ConfigError, match=f"input_size must be 1 to 4096 pixels, got {size}"):
            Preprocessing(size).input_shape((1, 8, 8))
    for value in ({"input_size": 2.5, "input_channels": None}, {"input_size": None, "input_channels": "3"}):
        with pytest.raises(TypeError, match="must be a whole number or null"):
            Preprocessing.from_dict(value)


@pytest.mark.parametrize("space", [CLASSES, SCALAR])
def test_a_model_prepares_its_images_itself_and_says_so_in_its_card(space: LabelSpace, tmp_path: Path) -> None:
    means, stds = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
    model = build_model(
        "convnet", {"channels": 3}, (1, 9, 12), space, means, stds, preprocessing=Preprocessing(16, 3)
    ).eval()
    images = some_images(3, 1, 9, 12)
    large = F.interpolate(images.float(), (16, 16), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    normalised = (large - torch.tensor(means)[:, None, None]) / torch.tensor(stds)[:, None, None]
    torch.testing.assert_close(model(images), model.network(normalised), rtol=1e-4, atol=1e-4)
    save_model(tmp_path, model)
    again = load_model(tmp_path, COMPUTE)
    assert again.card["preprocessing"] == {"input_size": 16, "input_channels": 3}
    np.testing.assert_array_equal(predict(again, images.numpy(), COMPUTE), predict(model, images.numpy(), COMPUTE))
    _, features = model.with_features(images)
    assert [tuple(found.shape[2:]) for found in features.maps] == [(16, 16), (8, 8), (4, 4)]


def test_gradients_reach_grey_levels_through_the_preprocessing() -> None:
    model = build_model(
        "convnet", {"channels": 3}, (3, 8, 8), SCALAR, [100.0], [50.0], preprocessing=Preprocessing(12, 1)
    )
    assert isinstance(model, ImageModel)
    model.eval().requires_grad_(False)
    images = some_images(2, 3, 8, 8).float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(images).sum(), images)
    step = torch.zeros_like(images)
    step[0, 1, 3, 4] = 0.5
    with torch.no_grad():
        difference = float(model(images + step).sum() - model(images - step).sum())
    assert difference == pytest.approx(float(gradient[0, 1, 3, 4]), rel=0.05, abs=1e-4)
