"""Published weights, found in the libraries' own caches, against the libraries' own models."""

import hashlib

import numpy as np
import pytest
import torch

from data.compute import Compute
from data.errors import ConfigError, StageError
from data.labels import LabelSpace
from students.model import load_model, save_model
from students.teachers.interface import Interface
from students.teachers.pretrained import check_published, pretrained_model, published

SPACE = LabelSpace("class", names=("a", "b", "c"))
COLUMNS = (999, 0, 417)
COMPUTE = Compute(torch.device("cpu"))


def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32), np.uint8))


def interface(size, mean, std):
    told = {"input_size": size, "input_channels": 3, "mean": mean, "std": std, "outputs": COLUMNS}
    return Interface(SPACE, (1, 32, 32), **told)


def by_hand(theirs, size, mean, std):
    grown = torch.nn.functional.interpolate(images().float(), (size, size), mode="bilinear", antialias=True)
    pixels = grown.expand(-1, 3, -1, -1) / 255
    with torch.inference_mode():
        return theirs.eval()((pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """torchvision's cache with random weights in the place of the published ones, and their network."""
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    theirs = models.get_model("squeezenet1_1", weights=None)
    chosen = models.get_model_weights("squeezenet1_1").DEFAULT
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(theirs.state_dict(), folder / chosen.url.rpartition("/")[2])
    return theirs


def test_torchvision_from_its_cache(cached, tmp_path):
    found = published("torchvision", "squeezenet1_1", "DEFAULT")
    assert found.name == "IMAGENET1K_V1"
    assert (found.input_size, found.mean) == check_published("torchvision", "squeezenet1_1", "DEFAULT")[:2]
    wanted = interface(64, found.mean, found.std)
    model = pretrained_model("torchvision", found, wanted)
    expected = by_hand(cached, 64, found.mean, found.std)[:, list(COLUMNS)]
    with torch.inference_mode():
        np.testing.assert_allclose(model(images()), expected, rtol=1e-3, atol=1e-4)


def test_a_linear_head_is_narrowed_to_an_ordinary_model(tmp_path, monkeypatch):
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    theirs = models.get_model("shufflenet_v2_x0_5", weights=None)
    chosen = models.get_model_weights("shufflenet_v2_x0_5").DEFAULT
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(theirs.state_dict(), folder / chosen.url.rpartition("/")[2])
    found = published("torchvision", "shufflenet_v2_x0_5", "IMAGENET1K_V1")
    model = pretrained_model("torchvision", found, interface(64, found.mean, found.std))
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", model)
    again = load_model(tmp_path / "model", COMPUTE)
    expected = by_hand(theirs, 64, found.mean, found.std)[:, list(COLUMNS)]
    with torch.inference_mode():
        np.testing.assert_allclose(again(images()), expected, rtol=1e-3, atol=1e-4)
        assert again.with_features(images())[1].pooled.shape == (2, 1024)


def test_timm_from_the_cache_of_the_hub(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    import huggingface_hub.constants as constants
    from safetensors.torch import save_file

    torch.manual_seed(0)
    name = "resnet10t.c3_in1k"
    theirs = timm.create_model("resnet10t", pretrained=False)
    cfg = timm.get_pretrained_cfg(name)
    revision = hashlib.sha1(b"made here").hexdigest()
    repository = tmp_path / f"models--{cfg.hf_hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots" / revision).mkdir(parents=True)
    save_file(theirs.state_dict(), repository / "snapshots" / revision / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = published("timm", "resnet10t", "c3_in1k")
    assert found.name == name
    model = pretrained_model("timm", found, interface(64, found.mean, found.std))
    expected = by_hand(theirs, 64, found.mean, found.std)[:, list(COLUMNS)]
    with torch.inference_mode():
        np.testing.assert_allclose(model(images()), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match=r"must be DEFAULT where teacher.model names them"):
        published("timm", name, "other")
    with pytest.raises(ConfigError, match=r"must be a model of timm with published weights, got 'resnet10t.nothing'"):
        published("timm", "resnet10t", "nothing")


def test_weights_that_cannot_be_fetched_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(
        StageError, match=r"must be in the library's cache or at https://.*no route to host.*checkpoint"
    ):
        published("torchvision", "resnet18", "DEFAULT")


@pytest.mark.parametrize(
    ("model", "weights", "words"),
    [
        ("resnt18", "DEFAULT", "must be a model of torchvision, got 'resnt18'"),
        ("resnet18", "V9", "must be one of IMAGENET1K_V1"),
        ("raft_large", "DEFAULT", "classification model"),
    ],
)
def test_unknown_names_are_refused(model, weights, words):
    with pytest.raises(ConfigError, match=words):
        check_published("torchvision", model, weights)
