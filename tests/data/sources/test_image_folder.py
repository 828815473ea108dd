"""Class folders: rows, classes and parts as they lie on the disk; everything odd named."""

import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder as TorchvisionFolder

from data.errors import DataError
from data.faults import UnreadableImages
from data.sources import notes, row_names, skipped
from data.sources.image_folder import ImageFolder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def paint(path, value=None, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(path.name.encode()[:6], "little")
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)
    return path


def make(root, names):
    for name in names:
        paint(root / name)
    return root


def source(root, **options):
    return ImageFolder(str(root), **{"image_size": 8, **options})


FLAT = ["cat/b.png", "cat/a.png", "cat/deep/er/c.bmp", "Dog/1.png", "Dog/2.tiff", "ära/x.png", "10/x.png", "9/x.png"]


def test_rows_and_classes_are_torchvisions(tmp_path):
    root = make(tmp_path / "set", FLAT)
    found, other = source(root), TorchvisionFolder(str(root))
    assert list(found.label_space.names) == other.classes
    theirs = {
        path: (target, np.asarray(image)) for (path, target), (image, _) in zip(other.samples, other, strict=True)
    }
    images, labels = found.images(np.arange(len(FLAT))), found.labels()
    assert len(labels) == len(other)
    mine = {(int(label), image.tobytes()) for label, image in zip(labels, images, strict=True)}
    assert mine == {(target, image.transpose(2, 0, 1).tobytes()) for target, image in theirs.values()}
    rows = np.array([3, 0, 3])
    assert np.array_equal(found.images(rows), images[rows])
    assert found.pool().tolist() == [0] * len(FLAT)
    with pytest.raises(DataError, match=r"rows must lie in 0..7"):
        found.images(np.array([8]))


def test_the_order_of_classes_can_be_told(tmp_path):
    root = make(tmp_path / "set", ["2/a.png", "10/a.png", "1/a.png"])
    assert source(root).label_space.names == ("1", "10", "2")
    assert "classes are ordered as text (1, 10, 2)" in notes(source(root))[0]
    told = source(root, classes=("10", "2", "1"))
    assert told.label_space.names == ("10", "2", "1")
    assert told.labels().tolist() == [2, 0, 1]
    assert notes(told) == ()
    for classes, sentence in ((("10", "2"), "'1' is missing"), (("1", "2", "10", "3"), "the data have no '3'")):
        with pytest.raises(DataError, match=sentence):
            source(root, classes=classes).labels()


@pytest.mark.parametrize("validation", ["validation", "val", "Valid"])
def test_parts_are_folders_above_the_classes(tmp_path, validation):
    names = ["train/a/1.png", "train/a/2.png", "train/b/1.png", f"{validation}/b/1.png", "test/a/1.png"]
    found = source(make(tmp_path / "set", names))
    assert found.label_space.names == ("a", "b")
    assert found.labels().tolist() == [0, 0, 1, 1, 0]
    assert found.pool().tolist() == [1, 1, 1, 3, 2]
    assert notes(found) == ()
    open_test = source(make(tmp_path / "other", names[:4]))
    assert open_test.pool().tolist() == [0, 0, 0, 3]
    assert "has no test folder; these images are taken from train" in notes(open_test)[0]


def test_names_of_a_mac_and_of_others_are_one_class(tmp_path):
    mac, other = (unicodedata.normalize(form, "Äpfel") for form in ("NFD", "NFC"))
    root = make(tmp_path / "set", [f"train/{mac}/1.png", "train/b/1.png", f"test/{other}/1.png"])
    assert source(root).label_space.names == ("b", other)
    assert source(root).labels().tolist() == [1, 0, 1]


def test_hidden_files_and_others_are_passed_over_and_told(tmp_path):
    root = make(tmp_path / "set", ["a/1.png", "b/1.png", "b/.hidden.png", ".cache/x/1.png"])
    for name in ("a/notes.txt", "readme", "b/.DS_Store"):
        (root / name).write_text("text")
    found = source(root)
    assert len(found.labels()) == 2
    assert notes(found) == (f"{root}: 2 files are no images and ignored: a/notes.txt, readme.",)
    (root / "readme").unlink()
    assert notes(source(root)) == (f"{root}: 1 file is no image and is ignored: a/notes.txt.",)


def damage(root):
    (root / "a" / "cut.png").write_bytes(paint(root / "a" / "1.png").read_bytes()[:100])
    (root / "a" / "none.jpg").write_bytes(b"")
    (root / "b" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "b" / "link.png").symlink_to(root / "a" / "1.png")
    (root / "b" / "gone.png").symlink_to(root / "nowhere")
    return {
        "a/cut.png": "truncated",
        "a/none.jpg": "an empty file",
        "b/gone.png": "a link, which is not followed",
        "b/link.png": "a link, which is not followed",
        "b/phone.heic": "HEIC or AVIF, which is not read here; save it as PNG or JPEG",
    }


def test_damaged_files_are_named_all_at_once_or_left_out_by_choice(tmp_path):
    root = make(tmp_path / "set", ["a/1.png", "a/2.png", "b/1.png", "b/z.png"])
    sound = source(root)
    images = sound.images(np.arange(4))
    expected = damage(root)
    strict = source(root)
    assert len(strict.labels()) == 9
    assert skipped(strict) == ()
    with pytest.raises(UnreadableImages, match=r"5 of 9 images cannot be read: .*set source\.damaged to skip") as error:
        strict.images(np.arange(9))
    assert {fault.name: fault.reason for fault in error.value.faults} == expected
    lenient = source(root, damaged="skip")
    assert {fault.name: fault.reason for fault in skipped(lenient)} == expected
    assert lenient.labels().tolist() == sound.labels().tolist()
    assert len(lenient.pool()) == 4
    assert np.array_equal(lenient.images(np.arange(4)), images)


def test_identity_is_that_of_names_contents_and_options(tmp_path):
    names = ["a/1.png", "a/2.png", "b/1.png"]
    one, two = make(tmp_path / "one", names), make(tmp_path / "elsewhere" / "two", names)
    identity = source(one).identity()
    assert identity == source(two).identity() == json.loads(json.dumps(identity))
    assert str(tmp_path) not in json.dumps(identity)
    (two / "a" / "notes.txt").write_text("no image")
    assert source(two).identity() == identity
    seen = [identity, source(one, image_size=9).identity(), source(one, license="MIT").identity()]
    seen += [source(one, damaged="skip").identity(), source(one, classes=("b", "a")).identity()]
    paint(two / "a" / "2.png", 3)
    seen.append(source(two).identity())
    os.rename(two / "a" / "2.png", two / "b" / "2.png")
    seen.append(source(two).identity())
    assert len({json.dumps(item, sort_keys=True) for item in seen}) == len(seen)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "must hold at least 2 class folders, got 0"),
        (["a/1.png"], r"at least 2 class folders, got 1 \(a\)"),
        (["a/1.png", "b/1.png", "1.png", "2.png"], "2 lie directly in .*: 1.png, 2.png; .* image_table with a CSV"),
        (["train/a/1.png", "train/b/1.png", "test/c/1.png"], r"images in \S*/train, but c has none there"),
        (
            ["train/a/1.png", "train/b/1.png", "val/a/1.png", "validation/a/1.png"],
            "one folder a part, got train, val, ",
        ),
        (["train/a/1.png", "train/b/1.png", "extra/a/1.png"], r"only validation \(or val\) and test, got extra"),
        (["train/a/1.png", "train/b/1.png", "1.png"], "1 lie directly in .*: 1.png; move them"),
        (["train/1.png", "train/b/1.png"], "lie directly in .*/train: 1.png"),
        (["a/1.png", "b/notes.txt"], "class folder .* must hold images, but b holds none"),
    ],
)
def test_other_layouts_are_refused_in_one_sentence(tmp_path, names, sentence):
    root = tmp_path / "set"
    root.mkdir()
    make(root, [name for name in names if name.endswith(".png")])
    for name in names:
        if name.endswith(".txt"):
            (root / name).parent.mkdir()
            (root / name).write_text("text")
    with pytest.raises(DataError, match=sentence):
        source(root).identity()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"source\.folder must be a folder, got .*none; check its name"):
        source(tmp_path / "none").labels()


@pytest.mark.parametrize("link", ["b", "a/more", "test", "train/b"])
def test_links_to_folders_are_refused(tmp_path, link):
    names = ["train/a/1.png", "train/c/1.png"] if link in ("test", "train/b") else ["a/1.png", "c/1.png"]
    root = make(tmp_path / "set", names)
    make(tmp_path / "elsewhere", ["1.png"])
    (root / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=rf"{link} must be a folder, got a link to one, .*; put the folder itself there"
    ):
        source(root).identity()


@pytest.mark.parametrize(
    "tops", [("train_set", "test_set"), ("val", "test"), ("Training images", "cat"), ("valid", "a"), ("testing", "b")]
)
def test_parts_without_train_are_no_classes(tmp_path, tops):
    root = make(tmp_path / "set", [f"{top}/cat/1.png" for top in tops])
    with pytest.raises(DataError, match=r"must have a folder train beside .*name all classes in source\.classes"):
        source(root).labels()
    # Those who say that they are classes are believed.
    assert source(root, classes=tops).label_space.names == tops


def test_a_class_may_be_called_train(tmp_path):
    root = make(tmp_path / "set", ["car/1.png", "train/1.png", "tram/1.png"])
    with pytest.raises(DataError, match=r"if train is a class, name all in source\.classes"):
        source(root).labels()
    assert source(root, classes=("car", "train", "tram")).labels().tolist() == [0, 1, 2]


def test_folders_of_equal_folders_are_no_classes(tmp_path):
    root = make(tmp_path / "set", ["one/cat/1.png", "one/dog/1.png", "two/cat/1.png", "two/dog/1.png"])
    with pytest.raises(DataError, match=r"one, two all hold the same folders cat, dog"):
        source(root).labels()
    # One folder within each is a layout that is in use.
    root = make(tmp_path / "other", ["one/images/1.png", "two/images/1.png"])
    assert source(root).label_space.names == ("one", "two")


def test_rows_are_named_by_their_files(tmp_path):
    root = make(tmp_path / "set", ["a/1.png", "b/1.png", "b/2.png"])
    (root / "a" / "0.png").write_bytes(b"")
    assert row_names(source(root, damaged="skip"), np.array([2, 0])) == ["b/2.png", "a/1.png"]


@pytest.mark.parametrize(
    ("names", "ordered", "said"),
    [
        (("1.0", "2.0", "10.0"), ("1.0", "10.0", "2.0"), "ordered as text"),
        (("-1", "1"), ("-1", "1"), "class numbers -1, 1 are the teacher's outputs 0 .. 1"),
        (("--1", "2"), ("--1", "2"), None),
        (("0", "1"), ("0", "1"), None),
    ],
)
def test_numbers_as_names_are_told(tmp_path, names, ordered, said):
    found = source(make(tmp_path / "set", [f"{name}/a.png" for name in names]))
    assert found.label_space.names == ordered
    assert [said in note for note in notes(found)] == ([] if said is None else [True])
