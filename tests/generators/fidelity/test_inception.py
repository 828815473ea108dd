"""Inception from a file: its name and digest, its content, and that nothing in it is run."""

from __future__ import annotations

import hashlib
import io
import os

import numpy as np
import pytest
import torch

from data.errors import ConfigError, DataError
from generators.fidelity.inception import FILE_NAME, check_inception_weights, inception_extract

CPU = torch.device("cpu")


def write(folder, content: bytes):
    path = folder / f"weights-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    return path


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in the layout of the published file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # Laid out without weights, so that torch-fidelity does not ask for its file.
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *args, **options: {}
        )
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        layout = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict()
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in layout.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
        elif name.endswith(("running_var", "bn.weight")):
            state[name] = torch.ones(tensor.shape)
        else:
            fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 100
            state[name] = torch.randn(tensor.shape, generator=rng) * (2 / fan) ** 0.5
    return write(tmp_path_factory.mktemp("weights"), saved(state))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a download was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)


def test_inception_gives_features_of_grey_and_colour_images_from_the_file_alone(weights, no_network):
    extract, described = inception_extract(weights, CPU)
    assert described["name"] == "inception"
    assert not described["published_weights"]
    assert described["weights_sha256"].startswith(weights.stem.rpartition("-")[2])
    grey = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    extracted = extract(grey)
    assert extracted.features.shape == (3, 2048)
    assert extracted.logits.shape == (3, 1008)
    np.testing.assert_array_equal(extract(np.repeat(grey, 3, axis=1)).features, extracted.features)
    assert np.ptp(extracted.features, axis=0).max() > 0
    with pytest.raises(DataError, match="grey or RGB images, got 2 channels"):
        extract(np.zeros((1, 2, 8, 8), np.uint8))


@pytest.mark.slow
def test_inception_equals_torch_fidelitys_own_front_door(weights, no_network):
    from torch_fidelity import calculate_metrics
    from torch_fidelity.metric_kid import kid_features_to_metric

    from generators.fidelity.extraction import ImageDataset

    one, other = np.random.default_rng(0).integers(0, 256, (2, 12, 3, 32, 32), dtype=np.uint8)
    other //= 2
    extract, _ = inception_extract(weights, CPU)
    features = [torch.from_numpy(extract(images).features) for images in (one, other)]
    settings = {"kid_subsets": 1, "kid_subset_size": 12, "verbose": False}
    ours = kid_features_to_metric(*features, **settings)
    theirs = calculate_metrics(
        input1=ImageDataset(one),
        input2=ImageDataset(other),
        cuda=False,
        kid=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        save_cpu_ram=True,
        cache=False,
        **settings,
    )
    key = "kernel_inception_distance_mean"
    assert ours[key] == pytest.approx(theirs[key], rel=1e-5)
    assert abs(ours[key]) > 0


def test_a_pickle_that_runs_something_is_refused_and_does_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path = write(tmp_path, saved({"fc.weight": Harmful()}))
    with pytest.raises(DataError, match="must hold the weights of torch-fidelity's Inception-v3 and nothing else"):
        inception_extract(path, CPU)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content",
    [saved({"fc.weight": torch.zeros(3)}), saved([1, 2]), saved({"a": "text"}), b"no torch file", b""],
    ids=["other network", "no mapping", "no tensors", "no file of torch", "empty"],
)
def test_other_content_is_refused_in_one_sentence(tmp_path, content):
    with pytest.raises(DataError, match=r"must hold the weights .* download") as caught:
        inception_extract(write(tmp_path, content), CPU)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_what_from_where_and_which_key(tmp_path):
    for path in (None, tmp_path / "absent-6726825d.pth"):
        with pytest.raises(ConfigError) as caught:
            check_inception_weights(path)
        for word in (FILE_NAME, "https://github.com/toshas/torch-fidelity/releases", "fidelity.inception_weights"):
            assert word in str(caught.value)


def test_a_file_of_another_digest_or_name_is_refused(tmp_path):
    cut = tmp_path / FILE_NAME
    cut.write_bytes(b"cut off")
    with pytest.raises(ConfigError, match=r"SHA-256 that begins with 6726825d.* got [0-9a-f]{12}"):
        check_inception_weights(cut)
    renamed = tmp_path / "inception.pth"
    renamed.write_bytes(b"whole")
    with pytest.raises(ConfigError, match="keep its published name"):
        check_inception_weights(renamed)


def test_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(tmp_path, b"anything")
    assert check_inception_weights(f"~/{path.name}") == path
