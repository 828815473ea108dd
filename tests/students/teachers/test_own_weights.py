"""Models of this package as teachers: an artifact or an export gives the answers of the model it is of."""

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.errors import DataError
from data.labels import Axis, LabelSpace
from data.workspace import Workspace
from flows.importing_teachers import import_teacher
from flows.teacher_config import CheckpointTeacher
from students.evaluation import predict
from students.export import export_model
from students.model import WEIGHTS, ImageModel, build_model, load_model
from students.teachers.checkpoint import checkpoint_model, named_model
from students.teachers.interface import Interface
from students.training import train_student
from students.training_data import Rows, TrainingData

SHAPE = (3, 8, 8)
CPU = Compute(torch.device("cpu"))
VECTOR = LabelSpace("vector", axes=(Axis("x", "", 0, 4), Axis("y", "", -1, 1)))
SPACES = {
    "class": LabelSpace("class", ("a", "b", "c")),
    "scalar": LabelSpace("scalar", name="yaw", unit="degree", minimum=-10, maximum=90),
    "vector": VECTOR,
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=90),
}
METHODS = {"class": "ce", "scalar": "mse", "vector": "mse", "class+scalar": "joint"}
NETWORK = {"network": "convnet", "options": {"channels": 3}}


def pictures(count: int = 20) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (count, *SHAPE), dtype=np.uint8)


def labels_of(space: LabelSpace, count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(2)
    values = [rng.uniform(axis.minimum, axis.maximum, count) for axis in space.dimensions]
    return space.join(
        rng.integers(0, space.classes, count) if space.has_classes else None, np.stack(values, 1) if values else None
    )


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("exported", [False, True])
def test_a_trained_student_answers_as_itself(kind, exported, tmp_path):
    space, images = SPACES[kind], pictures()
    labels = labels_of(space)
    train_student(
        TrainingData(Rows(images, labels)),
        (images, labels),
        space,
        **NETWORK,
        method=METHODS[kind],
        steps=4,
        batch_size=8,
        seed=0,
        initial_seed=0,
        compute=CPU,
        workspace=Workspace(tmp_path / "student"),
    )
    student = load_model(tmp_path / "student", CPU)
    path = tmp_path / "student" / WEIGHTS
    if exported:
        path = tmp_path / "exported.safetensors"
        export_model(student, path, "safetensors", {})
    teacher = CheckpointTeacher(kind="checkpoint", path=str(path), **NETWORK)
    (tmp_path / "teacher").mkdir()
    import_teacher(teacher, space, images, tmp_path / "teacher", CPU, 0)
    found = predict(load_model(tmp_path / "teacher", CPU), images, CPU, 7)
    np.testing.assert_array_equal(found, predict(student, images, CPU, 7))
    assert np.ptp(found, axis=0).min() > 0


def vector_model(seed: int = 0) -> ImageModel:
    torch.manual_seed(seed)
    statistics = ([100.0, 90.0, 80.0], [60.0, 50.0, 40.0], [2.0, 0.5], [1.5, 0.25])
    return build_model(NETWORK["network"], NETWORK["options"], SHAPE, VECTOR, *statistics).eval()


def test_pixel_statistics_that_are_given_hold():
    own = vector_model()
    interface = Interface(VECTOR, SHAPE, mean=(0.5,), std=(0.25,))
    found = named_model(**NETWORK, tensors=own.state_dict(), interface=interface, where="own")
    with torch.inference_mode():
        normalised = (torch.from_numpy(pictures()).float() / 255 - 0.5) / 0.25
        wanted = own.network(normalised) * torch.tensor([1.5, 0.25]) + torch.tensor([2.0, 0.5])
    np.testing.assert_allclose(predict(found, pictures(), CPU), wanted.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("column", [0, 1])
def test_an_output_that_is_chosen_has_its_own_unit(column):
    own = vector_model()
    scalar = LabelSpace("scalar", name="x", unit="", minimum=0, maximum=4)
    interface = Interface(scalar, SHAPE, outputs=(column,))
    found = named_model(**NETWORK, tensors=own.state_dict(), interface=interface, where="own")
    wanted = predict(own, pictures(), CPU)[:, [column]]
    np.testing.assert_allclose(predict(found, pictures(), CPU), wanted, rtol=1e-5, atol=1e-6)


def test_values_over_the_range_come_after_the_statistics():
    own = vector_model()
    interface = Interface(VECTOR, SHAPE, values="normalised")
    found = named_model(**NETWORK, tensors=own.state_dict(), interface=interface, where="own")
    wanted = predict(own, pictures(), CPU) * [4.0, 2.0] + [0.0, -1.0]
    np.testing.assert_allclose(predict(found, pictures(), CPU), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"label_mean": torch.zeros(1)}, r"label_mean and label_std of every output, got shapes \(1,\) and \(2,\)"),
        ({"pixel_std": torch.ones(1)}, r"pixel_std of shape \(3,\), got \(1,\)"),
        ({"network.extra": torch.ones(1)}, "unknown extra"),
        ({"other": torch.ones(1)}, "some are missing"),
    ],
)
def test_statistics_that_do_not_fit_are_named(changed, words, tmp_path):
    state = {**vector_model().state_dict(), **changed}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(DataError, match=words):
        checkpoint_model(tmp_path / "w.pt", **NETWORK, interface=Interface(VECTOR, SHAPE))
