"""Image files as a person sees them: EXIF orientations, by hand and by Pillow's own writer."""

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.image_files import read_image_file

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
    with pytest.raises(DataError, match=r"a\.png: must have EXIF data that can be read, got KeyError; save it without"):
        read(tmp_path / "a.png", (1, 4, 6))
