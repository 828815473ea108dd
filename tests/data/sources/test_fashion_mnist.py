from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torchvision

from data.errors import ConfigError, DataError
from data.sources import fashion_mnist
from data.sources.fashion_mnist import RELEASE_MD5, FashionMnist

RNG = np.random.default_rng(3)
TRAIN = RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8)
TEST = RNG.integers(0, 256, (3, 28, 28), dtype=np.uint8)
TRAIN_LABELS, TEST_LABELS = np.array([0, 9, 3, 3, 1], np.uint8), np.array([2, 8, 0], np.uint8)


def idx(values: npt.NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write(folder: Path, suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(RELEASE_MD5, (TRAIN, TRAIN_LABELS, TEST, TEST_LABELS), strict=True):
        content = idx(values)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content, mtime=0) if suffix else content)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_training_rows_come_first_and_are_padded(tmp_path: Path, suffix: str) -> None:
    source = FashionMnist(folder=str(write(tmp_path, suffix)))
    assert source.labels().tolist() == [0, 9, 3, 3, 1, 2, 8, 0]
    assert source.labels().dtype == np.int64
    assert source.pool().tolist() == [1] * 5 + [2] * 3
    rows = np.array([7, 0, 4, 5])
    images = source.images(rows)
    assert images.shape == (4, *source.image_shape) == (4, 1, 32, 32)
    assert np.array_equal(images[:, 0, 2:30, 2:30], np.concatenate([TRAIN, TEST])[rows])
    assert int(images.sum()) == int(images[:, :, 2:30, 2:30].sum())


def test_28_pixels_are_not_padded(tmp_path: Path) -> None:
    source = FashionMnist(folder=str(write(tmp_path)), image_size=28)
    assert source.image_shape == (1, 28, 28)
    assert np.array_equal(source.images(np.arange(8))[:, 0], np.concatenate([TRAIN, TEST]))
    with pytest.raises(DataError, match=r"rows must lie in 0..7, got 8..8"):
        source.images(np.array([8]))
    with pytest.raises(ConfigError, match="image_size must be 28 or 32 pixels, got 30"):
        FashionMnist(image_size=30)


def test_identity_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    here, there = write(tmp_path / "a"), write(tmp_path / "b")
    identity = FashionMnist(folder=str(here)).identity()
    assert identity == FashionMnist(folder=str(there)).identity()
    assert identity != FashionMnist(folder=str(here), image_size=28).identity()
    (there / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([2, 8, 1], np.uint8)))
    assert identity != FashionMnist(folder=str(there)).identity()


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    source = FashionMnist(folder=str(write(tmp_path)))
    assert source.labels()[0] == 0
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.array([4, 9, 3, 3, 1, 1], np.uint8)))
    with pytest.raises(DataError, match="got 5 and 6"):
        source.labels()


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
SQUEEZED = gzip.compress(idx(TRAIN), mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, idx(TRAIN)[:-1], r"must hold 3936 bytes by its header, got 3935; try to download the file again"),
        (IMAGES, idx(TRAIN) + b"x", r"must hold 3936 bytes by its header, got 3937"),
        (IMAGES, idx(TRAIN)[:9], r"must have a header of 16 bytes, got 9"),
        (IMAGES, b"\0\0\x0b\x03" + idx(TRAIN)[4:], r"must begin with the bytes 00 00 08 03 .*, got 00 00 0b 03"),
        (IMAGES, idx(TRAIN_LABELS) + bytes(8), r"must begin with the bytes 00 00 08 03 .*, got 00 00 08 01"),
        (IMAGES, idx(TRAIN[:, :27]), r"must have the shape \(28, 28\), got \(27, 28\)"),
        (LABELS, idx(TRAIN_LABELS[:4]), r"must have as many images as .*train-labels.* has labels, got 5 and 4"),
        (LABELS, idx(np.array([0, 1, 2, 10, 3], np.uint8)), r"must hold labels in 0..9, got 10"),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        FashionMnist(folder=str(tmp_path)).labels()
    assert str(tmp_path / name) in str(caught.value)
    assert "try" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [SQUEEZED[: len(SQUEEZED) // 2], b"not gzip at all", SQUEEZED[:40] + b"\xff" * 20 + SQUEEZED[60:], b"\x1f\x8b"],
)
def test_a_corrupt_gzip_file_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, ".gz")
    (tmp_path / f"{IMAGES}.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: must be a whole gzip file, got: .*download"):
        FashionMnist(folder=str(tmp_path)).images(np.array([0]))


def test_a_gzip_file_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    write(tmp_path, ".gz")
    wrong = SQUEEZED[:-8] + struct.pack("<I", zlib.crc32(b"other")) + SQUEEZED[-4:]
    (tmp_path / f"{IMAGES}.gz").write_bytes(wrong)
    with pytest.raises(DataError, match="CRC check failed"):
        FashionMnist(folder=str(tmp_path)).labels()


def test_missing_folder_and_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder must be an existing folder, got .*nowhere; try a folder that holds"):
        FashionMnist(folder=str(tmp_path / "nowhere")).identity()
    (write(tmp_path) / LABELS).unlink()
    with pytest.raises(
        DataError, match=r"must hold train-labels-idx1-ubyte or train-labels-idx1-ubyte\.gz, got neither"
    ):
        FashionMnist(folder=str(tmp_path)).identity()


def test_a_download_is_checked_against_the_published_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(root: str, download: bool) -> None:
        asked.append((root, download))
        write(Path(root) / "FashionMNIST" / "raw", ".gz")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    source = FashionMnist(download_folder=str(tmp_path))
    with pytest.raises(DataError, match="must have the published MD5 8d4fb7e6c68d591d4c3dfef9ec88bf0d"):
        source.labels()
    of_these = FashionMnist(folder=str(tmp_path / "FashionMNIST" / "raw")).identity()["files_md5"]
    monkeypatch.setattr(fashion_mnist, "RELEASE_MD5", of_these)
    assert source.labels().tolist() == [0, 9, 3, 3, 1, 2, 8, 0]
    assert source.identity()["files_md5"] == of_these
    assert asked[0] == (str(tmp_path), True)


def test_the_published_digests_are_those_of_torchvision() -> None:
    assert {f"{name}.gz": digest for name, digest in RELEASE_MD5.items()} == dict(
        torchvision.datasets.FashionMNIST.resources
    )


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: str, download: bool) -> None:
        raise RuntimeError("Error downloading\nx.gz")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fail)
    with pytest.raises(DataError, match=r"got: Error downloading x\.gz; try again with a network, or set folder"):
        FashionMnist(download_folder=str(tmp_path)).pool()
