"""A folder of images with a CSV: read as it stands, refused where it leads out or is damaged."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.foreign import foreign_identity, open_foreign
from data.labels import Axis, LabelSpace

CLASSES = LabelSpace("class", names=("cat", "dog", "bird"))
YAW = LabelSpace("scalar", name="Yaw angle", unit="degree", minimum=-10, maximum=90)
POSE = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "degree", -20, 20)))
CHAIRS = LabelSpace("class+scalar", names=("stool", "bench"), name="yaw", unit="degree", maximum=90)
GREY, COLOUR = (1, 6, 4), (3, 6, 4)


def make_folder(folder, text, *, images=2, mode="RGB", suffix="png"):
    folder.mkdir(exist_ok=True)
    shape = (images, 6, 4) if mode == "L" else (images, 6, 4, len(mode))
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if mode == "RGBA":
        pixels[..., 3] = 255
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.{suffix}")
    (folder / "labels.csv").write_text(text)
    return pixels


@pytest.mark.parametrize(
    ("space", "text", "expected"),
    [
        (CLASSES, "file,label\n1.png,dog\n0.png,2\n", [1, 2]),
        (CLASSES, "\ufeffFilename, Class_Name ,x\n1.png,Cat,9\n\n0.png,bird,\n", [0, 2]),
        (YAW, "image,label\n1.png,37.5\n0.png,-10\n", [37.5, -10]),
        (YAW, "image,yaw angle\n1.png,1e1\n0.png,90\n", [10, 90]),
        (POSE, "file,tilt,yaw\n1.png,-20,3\n0.png,4,5\n", [[3, -20], [5, 4]]),
        (POSE, "file,label_0,label_1\n1.png,1,2\n0.png,3,4\n", [[1, 2], [3, 4]]),
        (CHAIRS, "file,class,value\n1.png,bench,2\n0.png,0,3\n", [[1, 2], [0, 3]]),
        (CHAIRS, "file,class_name,label\n1.png,bench,2\n0.png,stool,3\n", [[1, 2], [0, 3]]),
    ],
)
def test_labels_stand_in_columns_of_several_names(tmp_path, space, text, expected):
    pixels = make_folder(tmp_path / "set", text)
    found = open_foreign(tmp_path / "set", space, COLOUR)
    assert found.layout == "folder"
    assert found.labels.dtype == space.dtype
    assert found.labels.tolist() == expected
    assert found.seeds.tolist() == [0, 1]
    # The order is that of the CSV, which names the second image first.
    assert np.array_equal(found.read(0, 2), pixels[::-1].transpose(0, 3, 1, 2))
    assert np.array_equal(found.read(1, 2), pixels[:1].transpose(0, 3, 1, 2))


def test_seeds_stand_in_a_column_of_their_own(tmp_path):
    make_folder(tmp_path / "set", f"file,label,seed\n1.png,dog,7\n0.png,2,{2**64 - 1}\n")
    assert open_foreign(tmp_path / "set", CLASSES, COLOUR).seeds.tolist() == [7, 2**64 - 1]


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("RGB", "png"), ("RGBA", "png"), ("L", "jpg"), ("RGB", "jpeg")]
)
def test_grey_and_coloured_images_become_what_the_source_has(tmp_path, mode, suffix):
    text = f"file,label\n0.{suffix},0\n1.{suffix},0\n"
    make_folder(tmp_path / "set", text, mode=mode, suffix=suffix)
    for shape, wanted in ((GREY, "L"), (COLOUR, "RGB")):
        images = open_foreign(tmp_path / "set", CLASSES, shape).read(0, 2)
        for number, image in enumerate(images):
            with Image.open(tmp_path / "set" / f"{number}.{suffix}") as picture:
                expected = np.asarray(picture.convert(wanted))
            assert np.array_equal(
                image if shape == COLOUR else image[0], np.moveaxis(expected, -1, 0) if wanted == "RGB" else expected
            )


def test_other_sizes_are_refused_unless_resizing_is_asked_for(tmp_path):
    make_folder(tmp_path / "set", "file,label\n0.png,0\n1.png,0\n")
    found = open_foreign(tmp_path / "set", CLASSES, (3, 8, 8))
    with pytest.raises(DataError, match=r"0\.png \(must be 8 x 8 pixels, got 4 x 6\); .*resize to true"):
        found.read(0, 1)
    resized = open_foreign(tmp_path / "set", CLASSES, (3, 8, 8), resize=True).read(0, 2)
    assert resized.shape == (2, 3, 8, 8)
    assert resized.std() > 10


@pytest.mark.parametrize(
    ("text", "space", "sentence"),
    [
        ("", CLASSES, r"labels\.csv: must have a column file or image or filename or file_name, got nothing"),
        ("picture,label\n0.png,1\n", CLASSES, "got picture, label"),
        ("file,label,label\n0.png,1,1\n", CLASSES, "distinct names"),
        ("file,label\n0.png\n", CLASSES, "line 2 must have 2 fields, got 1"),
        ('file,label\n0.png,"1\n', CLASSES, "must be a CSV in UTF-8"),
        ("file,kind\n0.png,1\n", CLASSES, "must have a column class or class_name or label, got kind"),
        ("file,label\n0.png,cow\n", CLASSES, r"class numbers 0\.\.2 or class names \(cat, dog, bird\), got 'cow'"),
        ("file,label\n0.png,3\n", CLASSES, "got '3'"),
        ("file,label\n0.png,left\n", YAW, "column label must hold numbers"),
        ("file,label\n0.png,91\n", YAW, "between -10 degree and 90 degree, got 91"),
        ("file,label\n0.png,nan\n", YAW, "finite"),
        ("file,yaw\n0.png,1\n", POSE, "must have a column tilt or label_1, got yaw"),
        ("file,label,seed\n0.png,1,-1\n", CLASSES, "seeds must be whole numbers"),
        ("file,label\n9.png,1\n", CLASSES, r"9\.png: the file cannot be found"),
        ("file,label\n../secret.png,1\n", CLASSES, r"lie in it, got '\.\./secret\.png'"),
        ("file,label\n/etc/hosts,1\n", CLASSES, "lie in it, got '/etc/hosts'"),
        ("file,label\n,1\n", CLASSES, "lie in it, got ''"),
        ("file,label\nlink.png,1\n", CLASSES, r"link\.png: must be a regular file, no link"),
        ("file,label\nelsewhere/secret.png,1\n", CLASSES, "must not lead over a link"),
        ("file,label\npipe,1\n", CLASSES, "must be a regular file"),
    ],
)
def test_tables_that_are_wrong_or_lead_out_are_refused(tmp_path, text, space, sentence):
    folder = tmp_path / "set"
    make_folder(folder, text)
    (tmp_path / "secret.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match=sentence):
        open_foreign(folder, space, COLOUR)


def test_a_table_that_is_no_file_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    for use in (lambda: open_foreign(tmp_path, CLASSES, COLOUR), lambda: foreign_identity(tmp_path)):
        with pytest.raises(DataError, match="regular file"):
            use()


def png(width, height, body, depth=8, colour=2):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


#: A whole image, of a format that is not read from elsewhere.
BMP = b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(4)


def cut(content):
    return content[: len(content) * 2 // 3]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (cut, "truncated"),
        (lambda content: b"not an image", "no image that can be read"),
        (lambda content: b"GIF89a" + content, "no image that can be read"),
        (lambda content: BMP, "no image that can be read"),
        (lambda content: png(9000, 9000, b""), "more than 67,108,864 pixels"),
        (lambda content: png(60_000, 60_000, b""), "more than 67,108,864 pixels"),
        (lambda content: png(4, 6, bytes(6 * 9), depth=16, colour=0), "more than 8 bits a channel"),
        (lambda content: png(4, 6, bytes(6 * 25), depth=16, colour=2), "more than 8 bits a channel"),
        (lambda content: png(4, 6, bytes(6 * 17), colour=6), "transparent"),
    ],
)
def test_damaged_huge_and_odd_images_are_named(tmp_path, make, sentence):
    make_folder(tmp_path / "set", "file,label\n0.png,0\n1.png,0\n")
    path = tmp_path / "set" / "1.png"
    path.write_bytes(make(path.read_bytes()))
    found = open_foreign(tmp_path / "set", CLASSES, COLOUR, resize=True)
    assert len(found.read(0, 1)) == 1
    with pytest.raises(DataError, match=r"1 of 2 images cannot be read: 1\.png \(" + sentence):
        found.read(0, 2)


def test_identity_is_that_of_the_table_and_the_images(tmp_path):
    text = "file,label\n0.png,0\n1.png,0\n"
    for name in ("one", "two"):
        make_folder(tmp_path / name, text)
    (tmp_path / "two" / "notes.txt").write_text("not part of the set")
    one, two = (foreign_identity(tmp_path / name) for name in ("one", "two"))
    assert one == two
    (tmp_path / "one" / "labels.csv").write_text(text + "1.png,1\n")
    (tmp_path / "two" / "0.png").write_bytes((tmp_path / "two" / "1.png").read_bytes())
    assert len({one, foreign_identity(tmp_path / "one"), foreign_identity(tmp_path / "two")}) == 3
