"""What goes into a teacher from elsewhere and what becomes of its outputs, against closed forms."""

import numpy as np
import pytest

from data.errors import ConfigError, StageError
from data.labels import Axis, LabelSpace
from students.teachers.interface import Interface

CLASSES = LabelSpace("class", names=("a", "b", "c"))
SCALAR = LabelSpace("scalar", name="yaw", unit="degree", minimum=-10.0, maximum=30.0)
VECTOR = LabelSpace("vector", axes=(Axis("x", "", 0, 4), Axis("y", "", -1, 1)))
BOTH = LabelSpace("class+scalar", names=("a", "b"), minimum=5.0, maximum=10.0)
GREY = (1, 6, 6)


def images(count=3, shape=GREY):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def test_pixels_are_normalised_as_told():
    made = Interface(CLASSES, (3, 6, 6), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0)).normalised(images(3, (3, 6, 6)))
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 0.25), (0.3, 1.0))):
        expected = (images(3, (3, 6, 6))[:, channel] / 255 - mean) / std
        np.testing.assert_allclose(made[:, channel], expected, rtol=1e-5, atol=1e-6)
    assert made.dtype == np.float32


def test_grey_images_are_repeated_and_enlarged_and_bytes_are_rounded():
    interface = Interface(CLASSES, GREY, input_size=12, input_channels=3, mean=(0.5,), std=(0.5,))
    assert interface.input_shape == (3, 12, 12)
    levels, rounded = interface.grey_levels(images()), interface.bytes(images())
    assert levels.shape == rounded.shape == (3, 3, 12, 12)
    assert np.array_equal(levels[:, 0], levels[:, 2])
    assert np.abs(levels - rounded).max() <= 0.5
    assert rounded.dtype == np.uint8
    same = Interface(CLASSES, GREY)
    assert same.bytes(images()) is not None
    np.testing.assert_array_equal(same.bytes(images()), images())


def test_probabilities_become_their_logarithms():
    shares = np.array([[0.7, 0.3, 0.0], [0.2, 0.2, 0.6]])
    answers = Interface(CLASSES, GREY, gives="probabilities").to_answers(shares, "it")
    np.testing.assert_allclose(answers[:, :2], np.log(shares[:, :2]), rtol=1e-6)
    assert answers[0, 2] == pytest.approx(np.log(1e-7), rel=1e-6)


def test_normalised_values_get_their_units():
    assert Interface(SCALAR, GREY, values="normalised").to_answers(np.array([[0.25]]), "it") == pytest.approx(0.0)
    given = np.array([[0.5, 0.5]])
    np.testing.assert_allclose(Interface(VECTOR, GREY, values="normalised").to_answers(given, "it"), [[2.0, 0.0]])
    both = Interface(BOTH, GREY, values="normalised", gives="probabilities")
    np.testing.assert_allclose(
        both.to_answers(np.array([[0.5, 0.5, 0.2]]), "it"), [[np.log(0.5), np.log(0.5), 6.0]], rtol=1e-6
    )


def test_columns_are_picked_in_order():
    given = np.arange(10.0).reshape(2, 5)
    answers = Interface(CLASSES, GREY, outputs=(4, 0, 2)).to_answers(given, "it")
    np.testing.assert_array_equal(answers, given[:, [4, 0, 2]])


@pytest.mark.parametrize(
    ("settings", "given", "words"),
    [
        ({}, np.zeros((1, 5)), "it must give 3 outputs an image for the class labels, got 5"),
        ({"outputs": (0, 1, 5)}, np.zeros((1, 5)), "it must give output 5 of teacher.outputs, got 5 outputs"),
        (
            {"gives": "probabilities"},
            np.array([[3.0, -1, 0]]),
            r"probabilities in 0..1, got -1..3; if these are logits",
        ),
    ],
)
def test_outputs_that_do_not_fit_are_named(settings, given, words):
    with pytest.raises(StageError, match=words):
        Interface(CLASSES, GREY, **settings).to_answers(given, "it")


@pytest.mark.parametrize(
    ("space", "settings", "words"),
    [
        (CLASSES, {"mean": (0.1, 0.2)}, "teacher.mean must have 1 or 1 numbers"),
        (CLASSES, {"mean": (0.1, 0.2), "input_channels": 3}, "teacher.mean must have 1 or 3 numbers"),
        (CLASSES, {"std": (0.0,)}, "teacher.std must be above 0"),
        (CLASSES, {"outputs": ()}, "teacher.outputs must be 3 different column numbers"),
        (CLASSES, {"outputs": (0, 1, 1)}, "teacher.outputs must be 3 different column numbers"),
        (CLASSES, {"values": "normalised"}, "teacher.values must be 'label' for class labels"),
        (SCALAR, {"gives": "probabilities"}, "teacher.gives must be 'logits' for scalar labels"),
    ],
)
def test_settings_that_cannot_work_are_named(space, settings, words):
    with pytest.raises(ConfigError, match=words):
        Interface(space, GREY, **settings)


def test_colours_become_grey_by_luma():
    interface = Interface(CLASSES, (3, 6, 6), input_channels=1)
    pictures = images(2, (3, 6, 6)).astype(float)
    luma = 0.299 * pictures[:, 0] + 0.587 * pictures[:, 1] + 0.114 * pictures[:, 2]
    np.testing.assert_allclose(interface.grey_levels(images(2, (3, 6, 6)))[:, 0], luma, rtol=1e-5)
