"""The teacher that filters sees clean images through its own normalisation, whatever it was trained with."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from data.compute import Compute
from data.labels import LabelSpace
from data.workspace import Workspace
from filters.teacher_filter import teacher_error
from students.evaluation import predict
from students.model import load_model
from students.networks import make_network
from students.training import train_student
from students.training_data import Rows, TrainingData

SPACE = LabelSpace("class", ("a", "b", "c"))
COMPUTE = Compute(torch.device("cpu"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A folder with a teacher that was trained with shifts and flips, and on other images than are scored."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(100, 180, (60, 3, 8, 8), np.uint8), np.arange(60) % 3
    folder = tmp_path_factory.mktemp("teacher")
    train_student(
        TrainingData(Rows(images, labels)), (images[:9], labels[:9]), SPACE, network="resnet",
        options={"depth": 8, "width": 4}, method="ce", steps=6, batch_size=16, shift_pixels=2, flip=True,
        validate_every=6, seed=0, initial_seed=0, compute=COMPUTE, workspace=Workspace(folder),
    )  # fmt: skip
    return folder


def scored():
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (50, 3, 8, 8), np.uint8), rng.integers(0, 3, 50)


def test_an_image_always_has_the_same_error_whatever_comes_with_it(teacher):
    images, labels = scored()
    model = load_model(teacher, COMPUTE)
    errors = teacher_error(predict(model, images, COMPUTE, 16), labels, SPACE)
    assert np.array_equal(teacher_error(predict(model, images, COMPUTE, 16), labels, SPACE), errors)
    order = np.random.default_rng(2).permutation(50)[:37]
    assert np.array_equal(
        teacher_error(predict(model, images[order], COMPUTE, 16), labels[order], SPACE), errors[order]
    )
    alone = [
        teacher_error(predict(model, images[k : k + 1], COMPUTE, 16), labels[k : k + 1], SPACE)[0] for k in range(5)
    ]
    assert alone == errors[:5].tolist()
    model.train()  # a model that is still in training mode is scored in evaluation mode
    assert np.array_equal(teacher_error(predict(model, images, COMPUTE, 16), labels, SPACE), errors)


def test_the_error_is_that_of_clean_images_in_the_teachers_own_normalisation(teacher):
    images, labels = scored()
    card = json.loads((teacher / "model.json").read_text())
    weights = load_file(teacher / "model.safetensors")
    mean, std = weights["pixel_mean"], weights["pixel_std"]
    assert ((mean > 130) & (mean < 150)).all()  # those of its training images, not of what it scores
    network = make_network(card["network"], card["options"], card["image_shape"], 3)
    network.load_state_dict(
        {key.removeprefix("network."): torch.from_numpy(value) for key, value in weights.items() if "network." in key}
    )
    network.eval()
    normalised = (images.astype(np.float64) - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        logits = network(torch.from_numpy(normalised).float()).double()
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none")
    found = teacher_error(predict(load_model(teacher, COMPUTE), images, COMPUTE), labels, SPACE)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
