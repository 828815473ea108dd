"""Image files as a person sees them: orientations, formats, sizes, and everything that is refused by name."""

import errno
import io
import struct
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

import data.image_files
from data.errors import DataError, StageError
from data.faults import Fault, UnreadableImages
from data.image_files import find_faults, read_image_file, read_image_files
from data.pixel_budget import PixelBudget

#: What has to be done to the stored rows and columns, (H, W), for each orientation of EXIF 2.32, section 4.6.4.
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
    9: lambda stored: stored,
}


def read(path, shape, **options):
    return read_image_file(path, shape, **{"resize": False, "resize_option": "try --resize", **options})


def stored(path, orientation, height=6, width=4):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_turned_upright(tmp_path, orientation):
    pixels = stored(tmp_path / "a.png", orientation)
    wanted = UPRIGHT[orientation](pixels)
    assert np.array_equal(read(tmp_path / "a.png", (1, *wanted.shape))[0], wanted)
    # Sizes are those that a person sees.
    if wanted.shape != pixels.shape:
        with pytest.raises(DataError, match="must be 4 x 6 pixels, got 6 x 4"):
            read(tmp_path / "a.png", (1, *pixels.shape))


def test_jpegs_are_turned_before_they_are_resized(tmp_path):
    pixels = np.zeros((16, 8), np.uint8)
    pixels[:8] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=100)
    found = read(tmp_path / "a.jpg", (3, 4, 8), resize=True)
    # The bright upper half is the right one when the camera's top is turned to the right.
    assert found[:, :, 5:].min() > 200 > 50 > found[:, :, :3].max()


def test_damaged_exif_data_are_named(tmp_path, monkeypatch):
    stored(tmp_path / "a.png", 6)

    def fail(self):
        raise KeyError("tag")

    monkeypatch.setattr(Image.Image, "getexif", fail)
    with pytest.raises(DataError, match=r"a\.png: .*EXIF data cannot be read \(KeyError\); save it without"):
        read(tmp_path / "a.png", (1, 4, 6))


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def photograph(height=48, width=64, mode="RGB"):
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def read_all(files, shape=(3, 48, 64), **options):
    return read_image_files(files, shape, **{"fit": "exact", "where": "toy", **options})


@pytest.mark.parametrize(
    "size", [(48, 64), (64, 48), (32, 32), (33, 100), (16, 16), (33, 32), (32, 35), (375, 500), (501, 333), (40, 777)]
)
def test_cropping_is_torchvisions_resize_and_centre_crop(size):
    picture = photograph(*size)
    scaled = transforms.Compose(
        [transforms.Resize(32, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(32)]
    )
    wanted = np.asarray(scaled(picture)).transpose(2, 0, 1).astype(int)
    found = read_all([encoded(picture, "PNG")], (3, 32, 32), fit="crop")[0].astype(int)
    # So long and thin that only the middle is resized, whose place is a float32.
    assert np.abs(found - wanted).max() <= (1 if max(size) > 8 * min(size) else 0)


def test_stretching_is_pillows_resize():
    picture = photograph()
    found = read_all([encoded(picture, "PNG")], (3, 16, 16), fit="stretch")[0]
    assert np.array_equal(found, np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC)).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("PNG", "1", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "L", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("BMP", "RGB", {}),
        ("GIF", "P", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ],
)
def test_formats_and_modes_are_read_as_pillow_converts_them(kind, mode, options):
    content = encoded(photograph(mode=mode), kind, **options)
    with Image.open(io.BytesIO(content)) as picture:
        coloured, grey = np.asarray(picture.convert("RGB")), np.asarray(picture.convert("L"))
        if mode in ("RGBA", "LA"):
            grey = np.asarray(picture.convert("RGBA").convert("L"))
    assert np.array_equal(read_all([content])[0], coloured.transpose(2, 0, 1))
    assert np.array_equal(read_all([content], (1, 48, 64))[0, 0], grey)


def test_a_photograph_with_a_preview_is_its_first_picture():
    picture = photograph()
    content = encoded(picture, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))], quality=100)
    with Image.open(io.BytesIO(content)) as found:
        assert found.n_frames == 2
        assert np.array_equal(read_all([content])[0], np.asarray(found).transpose(2, 0, 1))


def png_header(width, height):
    content = bytearray(encoded(Image.new("L", (1, 1)), "PNG"))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def damaged_files():
    whole = encoded(photograph(), "PNG")
    see_through = photograph(mode="RGBA")
    see_through.putpixel((0, 0), (0, 0, 0, 254))
    deep = np.random.default_rng(0).integers(0, 65536, (48, 64), dtype=np.uint16)
    return {
        "cut.png": (whole[: len(whole) // 2], "truncated"),
        "cut.jpg": (encoded(photograph(), "JPEG")[:-300], "truncated"),
        "flipped.png": (whole[:60] + bytes([whole[60] ^ 255]) + whole[61:], "damaged: "),
        "empty.png": (b"", "an empty file"),
        "text.jpg": (b"hello, world", "no image that can be read"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(16), "HEIC or AVIF"),
        "deep.png": (encoded(Image.fromarray(deep), "PNG"), "more than 8 bits a channel"),
        "float.tif": (encoded(Image.fromarray(deep.astype(np.float32)), "TIFF"), "more than 8 bits a channel"),
        "lab.tif": (encoded(photograph(mode="LAB"), "TIFF"), "colours of mode LAB"),
        "clear.png": (encoded(see_through, "PNG"), "transparent"),
        "moving.gif": (
            encoded(photograph(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))]),
            "2 images in one file",
        ),
        "bomb.png": (png_header(60_000, 60_000), "more than 67,108,864 pixels"),
        "large.png": (png_header(10_000, 10_000), "more than 67,108,864 pixels"),
        "other.png": (encoded(photograph(20, 20), "PNG"), "must be 64 x 48 pixels, got 20 x 20"),
    }


def test_all_images_that_cannot_be_read_are_named_together(tmp_path):
    odd, good = damaged_files(), encoded(photograph(), "PNG")
    paths = []
    for number, (name, (content, _)) in enumerate(odd.items()):
        for file, body in ((f"good{number}.jpg", good), (name, content)):
            (tmp_path / file).write_bytes(body)
            paths.append(tmp_path / file)
    paths.append(tmp_path / "absent.png")
    names = [path.name for path in paths]
    with pytest.raises(UnreadableImages, match="toy: 15 of 29 images cannot be read: ") as found:
        read_all(paths, names=names)
    reasons = {fault.name: fault.reason for fault in found.value.faults}
    assert list(reasons) == [*odd, "absent.png"]
    for name, (_, reason) in odd.items():
        assert reason in reasons[name], name
    assert reasons["absent.png"] == "missing"
    sentence = str(found.value)
    assert "cut.png (truncated), cut.jpg (truncated), " in sentence
    assert sentence.endswith(
        "and 7 more; replace them, set source.fit to crop or stretch, save them as grey or RGB with 8 bits, "
        "lay them on a background, or set source.damaged to skip."
    )
    faults = find_faults(paths, (3, 48, 64), fit="exact", names=names)
    assert [names[place] for place in faults] == [fault.name for fault in faults.values()] == list(reasons)
    # What is left is read: a wrong suffix is no fault.
    left = [path for place, path in enumerate(paths) if place not in faults]
    assert read_all(left).shape == (14, 3, 48, 64)
    assert read_all([]).shape == (0, 3, 48, 64)


def test_long_and_thin_images_take_no_more_memory_than_they_need():
    thin = encoded(Image.new("L", (1, 60_000), 7), "PNG")
    tracemalloc.start()
    assert (read_all([thin], (1, 64, 64), fit="crop") == 7).all()
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_names_are_printable():
    assert str(Fault("a\nb\udcff\x1b[31m.png", "odd")) == r"a\nb\udcff\x1b[31m.png (odd)"


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), OSError(errno.EMFILE, "Too many open files"), MemoryError()]
)
def test_faults_of_the_machine_are_no_faults_of_images(tmp_path, monkeypatch, error):
    (tmp_path / "a.png").write_bytes(encoded(photograph(), "PNG"))

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(data.image_files.Image, "open", fail)
    for call in (
        lambda: find_faults([tmp_path / "a.png"], (3, 48, 64), fit="exact", names=["cat/a.png"]),
        lambda: read_all([tmp_path / "a.png"], names=["cat/a.png"]),
    ):
        with pytest.raises(StageError, match=r"cat/a\.png: cannot be read now \(.+\); this is a fault of the machine"):
            call()
    with pytest.raises(StageError, match="fault of the machine"):
        read(tmp_path / "a.png", (3, 48, 64))


def test_an_odd_image_is_not_told_to_be_resized():
    see_through = photograph(mode="RGBA")
    see_through.putpixel((0, 0), (0, 0, 0, 254))
    with pytest.raises(UnreadableImages) as found:
        read_all([encoded(see_through, "PNG")])
    assert str(found.value).endswith("replace them, lay them on a background, or set source.damaged to skip.")


def test_few_pixels_are_decoded_at_a_time(monkeypatch):
    monkeypatch.setattr(data.image_files, "_BUDGET", PixelBudget(2 * 48 * 64 + 1))
    monkeypatch.setattr(data.image_files, "processors", lambda: 6)
    running, most, guard, decode = 0, 0, threading.Lock(), data.image_files._pixels
    both = threading.Barrier(2)

    def watch(*arguments):
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        both.wait(30)
        try:
            return decode(*arguments)
        finally:
            with guard:
                running -= 1

    monkeypatch.setattr(data.image_files, "_pixels", watch)
    images = read_all([encoded(photograph(), "PNG")] * 8)
    assert images.shape[0] == 8
    assert most == 2
    # An image that is larger than the budget is decoded alone.
    monkeypatch.setattr(data.image_files, "_BUDGET", PixelBudget(5))
    monkeypatch.setattr(data.image_files, "_pixels", decode)
    assert np.array_equal(read_all([encoded(photograph(), "PNG")] * 3), images[:3])
