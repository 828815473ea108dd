from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torchvision

from data.errors import ConfigError, DataError
from data.sources import _cifar, _release_files, notes
from data.sources.cifar10 import RELEASE as RELEASE10
from data.sources.cifar10 import Cifar10
from data.sources.cifar100 import RELEASE as RELEASE100
from data.sources.cifar100 import Cifar100

RNG = np.random.default_rng(5)
#: Images and labels of every file: five batches and a test batch, or a training and a test file.
BATCHES = [
    (RNG.integers(0, 256, (rows, 3, 32, 32), np.uint8), RNG.integers(0, 10, rows)) for rows in (3, 2, 4, 1, 2, 5)
]
FINE = [(RNG.integers(0, 256, (rows, 3, 32, 32), np.uint8), RNG.integers(0, 100, rows)) for rows in (6, 4)]
COARSE = [RNG.integers(0, 20, rows) for rows in (6, 4)]


def python2(value: Any) -> bytes:
    """A value as cPickle of Python 2 writes it with protocol 2: byte strings, and arrays by numpy.core.multiarray."""

    def body(item: Any) -> bytes:
        if isinstance(item, bytes):
            return b"U" + bytes([len(item)]) + item if len(item) < 256 else b"T" + struct.pack("<i", len(item)) + item
        if isinstance(item, (int, np.integer)):
            return b"K" + bytes([item]) if 0 <= item < 256 else b"J" + struct.pack("<i", item)
        if isinstance(item, list):
            return b"](" + b"".join(map(body, item)) + b"e"
        if isinstance(item, dict):
            return b"}(" + b"".join(body(key) + body(entry) for key, entry in item.items()) + b"u"
        rows, columns = item.shape
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        return made + b"(K\x01" + body(rows) + body(columns) + b"\x86" + kind + b"\x89" + body(item.tobytes()) + b"tb"

    return b"\x80\x02" + body(value) + b"."


def flat(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return images.reshape(len(images), -1)


def files10(names: tuple[str, ...] = RELEASE10.known["class"]) -> dict[str, bytes]:
    made = {}
    for name, (images, labels) in zip(RELEASE10.forms[0].files, BATCHES, strict=True):
        batch = {b"batch_label": b"a batch", b"labels": [int(label) for label in labels], b"data": flat(images)}
        made[name] = python2(batch | {b"filenames": [b"cat_s_%d.png" % number for number in range(len(labels))]})
    return made | {"batches.meta": pickle.dumps({"num_cases_per_batch": 10000, "label_names": list(names)}, 0)}


def binary10() -> dict[str, bytes]:
    made = {}
    for name, (images, labels) in zip(RELEASE10.forms[1].files, BATCHES, strict=True):
        made[name] = np.concatenate([labels[:, None].astype(np.uint8), flat(images)], 1).tobytes()
    return made | {"batches.meta.txt": "\n".join(RELEASE10.known["class"]).encode() + b"\n\n"}


def files100() -> dict[str, bytes]:
    made = {}
    for name, (images, fine), coarse in zip(("train", "test"), FINE, COARSE, strict=True):
        batch = {b"filenames": [b"x.png"] * len(fine), b"batch_label": b"b", b"fine_labels": [int(v) for v in fine]}
        made[name] = python2(batch | {b"coarse_labels": [int(v) for v in coarse], b"data": flat(images)})
    meta = {
        f"{key}_label_names".encode(): [name.encode() for name in RELEASE100.known[key]] for key in ("fine", "coarse")
    }
    return made | {"meta": python2(meta)}


def binary100() -> dict[str, bytes]:
    made = {}
    for name, (images, fine), coarse in zip(("train.bin", "test.bin"), FINE, COARSE, strict=True):
        made[name] = np.concatenate([np.stack([coarse, fine], 1).astype(np.uint8), flat(images)], 1).tobytes()
    return made | {f"{key}_label_names.txt": "\n".join(RELEASE100.known[key]).encode() for key in ("fine", "coarse")}


FORMS = {"10 python": (RELEASE10, 0, files10), "10 binary": (RELEASE10, 1, binary10)}
FORMS |= {"100 python": (RELEASE100, 0, files100), "100 binary": (RELEASE100, 1, binary100)}


def unpack(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, inner: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"readme.html": b"<html>", **files}.items():
            member = tarfile.TarInfo(f"{inner}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def source(release: Any, folder: Path, **options: Any) -> Any:
    return (Cifar10 if release is RELEASE10 else Cifar100)(folder=str(folder), **options)


def check(found: Any, parts: list[tuple[npt.NDArray[np.uint8], Any]], training: int) -> None:
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    rows = np.random.default_rng(1).permutation(len(images))
    assert np.array_equal(found.images(rows), images[rows])
    assert found.labels().tolist() == labels.tolist()
    assert found.labels().dtype == np.int64
    assert found.pool().tolist() == [1] * training + [2] * (len(images) - training)


@pytest.mark.parametrize("how", ["itself", "parent", "archive", "archive beside"])
@pytest.mark.parametrize("form", FORMS)
def test_every_pixel_of_every_form_is_read(tmp_path: Path, form: str, how: str) -> None:
    release, number, make = FORMS[form]
    if how.startswith("archive"):
        place = pack(tmp_path / release.forms[number].archive, release.forms[number].folder, make())
        place = place.parent if how == "archive beside" else place
    else:
        place = unpack(tmp_path / release.forms[number].folder, make())
        place = place.parent if how == "parent" else place
    found = source(release, place)
    assert found.image_shape == (3, 32, 32)
    if release is RELEASE10:
        check(found, BATCHES, 12)
        assert found.label_space.names == RELEASE10.known["class"]
    else:
        check(found, FINE, 6)
        assert found.label_space.names == RELEASE100.known["fine"]
        coarse = source(release, place, label="coarse")
        check(coarse, [(images, labels) for (images, _), labels in zip(FINE, COARSE, strict=True)], 6)
        assert coarse.label_space.names == RELEASE100.known["coarse"]
        assert coarse.identity() != found.identity()
    assert "/" not in json.dumps(found.identity())


@pytest.mark.parametrize("form", ["10 python", "100 python"])
def test_torchvision_reads_the_same_from_the_same_files(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, _, make = FORMS[form]
    files = make()
    unpack(tmp_path / release.forms[0].folder, files)
    other = torchvision.datasets.CIFAR10 if release is RELEASE10 else torchvision.datasets.CIFAR100
    md5 = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(other, "train_list", [[name, md5[name]] for name, _ in other.train_list])
    monkeypatch.setattr(other, "test_list", [[name, md5[name]] for name, _ in other.test_list])
    monkeypatch.setattr(other, "meta", other.meta | {"md5": md5[other.meta["filename"]]})
    parts = [other(str(tmp_path), train=train) for train in (True, False)]
    found = source(release, tmp_path)
    images = np.concatenate([part.data for part in parts]).transpose(0, 3, 1, 2)
    assert np.array_equal(found.images(np.arange(len(images))), images)
    assert found.labels().tolist() == [label for part in parts for label in part.targets]
    assert list(found.label_space.names) == parts[0].classes
    assert found.pool().tolist() == [1] * len(parts[0]) + [2] * len(parts[1])


@pytest.mark.parametrize(
    ("release", "other"), [(RELEASE10, torchvision.datasets.CIFAR10), (RELEASE100, torchvision.datasets.CIFAR100)]
)
def test_the_published_names_and_digests_are_those_of_torchvision(release: Any, other: Any) -> None:
    theirs = {name: md5 for name, md5 in other.train_list + other.test_list} | {
        other.meta["filename"]: other.meta["md5"]
    }
    assert release.files_md5 == theirs
    assert release.archive_md5[0] == other.tgz_md5
    assert (release.forms[0].folder, release.forms[0].archive) == (other.base_folder, other.filename)


def test_names_come_from_the_files_and_are_the_known_ones_without_them(tmp_path: Path) -> None:
    names = tuple(f"kind {number}" for number in range(10))
    unpack(tmp_path, files10(names))
    assert Cifar10(folder=str(tmp_path)).label_space.names == names
    (tmp_path / "batches.meta").unlink()
    assert Cifar10(folder=str(tmp_path)).label_space.names[3] == "cat"
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a"] * 10}, 0))
    with pytest.raises(DataError, match=r"batches\.meta: must hold 10 distinct class names, got 10; try to download"):
        _ = Cifar10(folder=str(tmp_path)).label_space


def test_identity_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    here, there = unpack(tmp_path / "a", files10()), unpack(tmp_path / "b", files10())
    identity = Cifar10(folder=str(here)).identity()
    assert identity == Cifar10(folder=str(there)).identity()
    (there / "test_batch").write_bytes((there / "data_batch_1").read_bytes())
    assert identity != Cifar10(folder=str(there)).identity()
    assert len(Cifar10(folder=str(there)).labels()) == 15


def damaged(name: str, content: bytes) -> dict[str, bytes]:
    return {**files10(), name: content}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (damaged("data_batch_2", b"\x80\x02cos\nsystem\n."), "data_batch_2: must be a pickle of texts"),
        (damaged("test_batch", python2({b"labels": []})), r"test_batch: data must be an array .* got none"),
        (damaged("test_batch", python2({b"data": np.zeros((2, 3071), np.uint8)})), r"\(N, 3072\), got \(2, 3071\)"),
        (
            damaged("test_batch", python2({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]})),
            "labels must have 2 entries, got 1",
        ),
        (
            damaged("test_batch", python2({b"data": np.zeros((1, 3072), np.uint8), b"labels": [b"x"]})),
            "labels must be a list of small whole numbers",
        ),
        (
            damaged("test_batch", python2({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]})),
            r"class labels must lie in 0\.\.9, got 10\.\.10",
        ),
        (
            {**binary10(), "data_batch_5.bin": bytes(3074)},
            r"data_batch_5\.bin: must be records of 3073 bytes, got 3074",
        ),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    unpack(tmp_path, files)
    with pytest.raises(DataError, match=message) as caught:
        Cifar10(folder=str(tmp_path)).labels()
    assert "try to download it again" in str(caught.value) or "try to download the file again" in str(caught.value)


def test_missing_data_say_how_to_get_them(tmp_path: Path) -> None:
    for kind, release in ((Cifar10, RELEASE10), (Cifar100, RELEASE100)):
        with pytest.raises(DataError, match=rf"{release.forms[0].folder}.*got .*nowhere; get .*kriz/cifar.html"):
            kind(folder=str(tmp_path / "nowhere")).identity()
    unpack(tmp_path, files10())
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"cifar10: .* must hold data_batch_4, got none; get cifar-10-python"):
        Cifar10(folder=str(tmp_path)).identity()
    with pytest.raises(ConfigError, match="label must be one of fine, coarse, got 'both'"):
        Cifar100(label="both")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"rows must lie in 0\.\.9, got 10\.\.10"):
        source(RELEASE100, unpack(tmp_path / "c", binary100())).images(np.array([10]))


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / RELEASE10.forms[0].archive, RELEASE10.forms[0].folder, files10())
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive", whole[:200] + bytes(200) + whole[400:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: must be a whole archive .*download it again"):
            Cifar10(folder=str(path)).labels()
    files = files10()
    del files["data_batch_3"]
    pack(path, RELEASE10.forms[0].folder, files)
    with pytest.raises(DataError, match=r"must hold cifar-10-batches-py/data_batch_3, got none"):
        Cifar10(folder=str(path)).pool()


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / RELEASE10.forms[0].archive
    with tarfile.open(path, "w:gz") as archive:
        for name in RELEASE10.forms[0].files:
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(member)
    with pytest.raises(DataError, match=r"cifar-10-batches-py/data_batch_1 must be a file"):
        Cifar10(folder=str(path)).labels()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_release_files, "_MOST_UNPACKED_BYTES", 30_000)
    path = pack(tmp_path / RELEASE10.forms[0].archive, RELEASE10.forms[0].folder, files10())
    with pytest.raises(DataError, match="must unpack to fewer bytes, got cifar-10-batches-py/data_batch_"):
        Cifar10(folder=str(path)).labels()


def test_a_download_is_checked_against_the_published_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(root: str, download: bool) -> None:
        asked.append((root, download))
        unpack(Path(root) / "cifar-10-batches-py", files10())

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fetch)
    found = Cifar10(download_folder=str(tmp_path))
    assert found.label_space.names[0] == "airplane"
    assert found.identity()["files_md5"] == RELEASE10.files_md5
    assert not asked
    with pytest.raises(DataError, match="data_batch_1 must have the published MD5 c99cafc152244af753f735de768cd75f"):
        found.labels()
    for name, content in files10().items():
        monkeypatch.setitem(RELEASE10.files_md5, name, hashlib.md5(content, usedforsecurity=False).hexdigest())
    check(found, BATCHES, 12)
    assert asked[0] == (str(tmp_path), True)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_as_published_is_told(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    release, number, make = FORMS[form]
    folder = unpack(tmp_path / release.forms[number].folder, make())
    archive = pack(tmp_path / release.forms[number].archive, release.forms[number].folder, make())
    counts = (12, 5) if release is RELEASE10 else (6, 4)
    few = (
        f"{release.name}: the files hold {counts[0]} training and {counts[1]} test images, where 50,000 and 10,000 are "
        "published."
    )
    other = notes(source(release, archive))
    assert other == (
        f"{release.name}: {archive.name} has another MD5 than the published one: other data, or packed anew.",
        few,
    )
    # Nobody has published digests of single binary files.
    told = notes(source(release, folder))
    assert told[-1] == few
    assert len(told) == (2 if number == 0 else 1)
    if number == 0:
        assert told[0].startswith(f"{release.name}: {', '.join(release.forms[0].files)}, ")
    monkeypatch.setattr(_cifar, "_IMAGES", counts)
    for name in release.files_md5 if number == 0 else ():
        content = (folder / name).read_bytes()
        monkeypatch.setitem(release.files_md5, name, hashlib.md5(content, usedforsecurity=False).hexdigest())
    assert notes(source(release, folder)) == ()
    (folder / release.forms[number].test).write_bytes(make()[release.forms[number].training[-1]])
    assert len(notes(source(release, folder))) == (2 if number == 0 else 1)


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: str, download: bool) -> None:
        raise RuntimeError("Error downloading\nx.gz")

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", fail)
    with pytest.raises(DataError, match=r"got: Error downloading x\.gz; try again with a network, or get cifar-100-py"):
        Cifar100(download_folder=str(tmp_path)).pool()
