"""Sections of the sources: where the labelled images come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from flows.section import Section

DOWNLOADS = "~/.cache/stillhouse"


def _as_text(value: Any) -> Any:
    """Classes that are called by numbers may be written as such."""
    if isinstance(value, bool):
        raise ValueError(
            f"must be text, got {str(value).lower()}: YAML reads yes, no, on, off, true and false as truth values; put "
            "quotes around the name of the class"
        )
    return str(value) if isinstance(value, int) else value


ClassName = Annotated[str, BeforeValidator(_as_text)]


class DigitsSource(Section):
    """The 1,797 real 8x8 digits inside scikit-learn."""

    kind: Literal["digits"] = "digits"


class FashionMnistSource(Section):
    """Fashion-MNIST, 70,000 grey images, from idx files or by torchvision's download."""

    kind: Literal["fashion_mnist"]
    folder: str | None = Field(None, description="Folder of the four idx files, gz or not; unset downloads them.")
    download_folder: str = Field(f"{DOWNLOADS}/fashion_mnist", description="Where a download is kept.")
    image_size: Literal[28, 32] = Field(32, description="Pixels a side; 32 pads with zeros.")


class ChairsSource(Section):
    """Procedurally modelled chairs at any yaw angle between 0 and 90 degrees, in the manner of RC-49."""

    kind: Literal["chairs"]
    types: int = Field(49, ge=1, description="Number of chair models.")
    image_size: Literal[32, 64] = Field(32, description="Pixels a side.")
    angle_step: float = Field(0.1, gt=0, lt=45, description="Distance of neighbouring yaw angles, in degrees.")
    seed: int = Field(0, ge=0, description="Makes the chair models.")
    label: Literal["yaw", "yaw+elevation", "model+yaw"] = Field(
        "yaw", description="What is labelled: a scalar, a vector with the camera's elevation, or a class with a scalar."
    )
    elevation_step: float = Field(
        2.5, gt=0, le=50, description="Distance of neighbouring camera elevations, 5 to 55 degrees; yaw+elevation only."
    )


class Cifar10Source(Section):
    """CIFAR-10, 60,000 photographs of ten classes, from its archive or folder or by torchvision's download."""

    kind: Literal["cifar10"]
    folder: str | None = Field(None, description="Folder of the python or binary batch files; unset downloads them.")
    download_folder: str = Field(f"{DOWNLOADS}/cifar10", description="Where a download is kept.")


class Cifar100Source(Section):
    """CIFAR-100, 60,000 photographs of 100 classes or 20 superclasses."""

    kind: Literal["cifar100"]
    folder: str | None = Field(None, description="Folder of the python or binary files; unset downloads them.")
    download_folder: str = Field(f"{DOWNLOADS}/cifar100", description="Where a download is kept.")
    label: Literal["fine", "coarse"] = Field("fine", description="100 classes, or 20 superclasses.")


class PictureFiles(Section):
    """What all sources of image files are told: size, colours, and what is done with files that cannot be read."""

    image_size: int = Field(64, ge=4, le=1024, description="Pixels a side.")
    fit: Literal["exact", "crop", "stretch"] = Field(
        "crop",
        description="How images of another size are brought to it: not at all (an error), by resizing the shorter "
        "side and cropping the centre, or by resizing both sides.",
    )
    damaged: Literal["error", "skip"] = Field(
        "error", description="Whether files that cannot be read stop the run, or are left out, named and counted."
    )


class Named(Section):
    """The order of classes that data name but do not number."""

    classes: tuple[ClassName, ...] = Field(
        (), description="Every class, in the order of the teacher's outputs; unset sorts them by name."
    )


class TinyImageNetSource(PictureFiles):
    """Tiny-ImageNet, 64x64 photographs of 200 classes, from its unpacked folder."""

    kind: Literal["tiny_imagenet"]
    folder: str = Field(description="The folder tiny-imagenet-200, or the papers' HDF5 file.")


class ImageNet100Source(PictureFiles):
    """100 classes of ImageNet, from class folders or the papers' HDF5 file."""

    kind: Literal["imagenet100"]
    folder: str = Field(description="Folder with train/<wnid> and perhaps val/<wnid>, or the papers' HDF5 file.")
    image_size: int = Field(128, ge=4, le=1024, description="Pixels a side.")
    classes: str | None = Field(
        None,
        description="Text file of class folders, one a line: choice and order; unset takes all, sorted.",
    )


class Rc49Source(Section):
    """RC-49, rendered chairs at 899 yaw angles, from the papers' HDF5 files."""

    kind: Literal["rc49"]
    path: str = Field(description="HDF5 file in any of the papers' layouts.")
    label: Literal["yaw", "type+yaw"] = Field("yaw", description="The angle alone, or the chair with its angle.")
    split: Literal["standard", "unimodal", "dualmodal", "trimodal"] | None = Field(
        None, description="Which list of training rows an imbalanced file is split by; unset takes indx_train."
    )


class UtkFaceSource(PictureFiles):
    """UTKFace, faces with their age, from the files' own names or the papers' HDF5 files.

    Images of an HDF5 file are not resized: image_size must be the file's own.
    """

    kind: Literal["utkface"]
    path: str = Field(description="Folder of the aligned faces, or an HDF5 file in any of the papers' layouts.")
    minimum_age: int = Field(1, ge=0, description="Youngest age taken, in years.")
    maximum_age: int = Field(60, ge=1, description="Oldest age taken, in years.")


class SteeringAngleSource(Section):
    """Steering Angle, driving frames with the angle of the wheel, from the papers' HDF5 files."""

    kind: Literal["steering_angle"]
    path: str = Field(description="HDF5 file in any of the papers' layouts.")


class Cell200Source(Section):
    """Cell-200, grey microscopy images with their number of cells, from the papers' HDF5 files."""

    kind: Literal["cell200"]
    path: str = Field(description="HDF5 file in the papers' layout.")


class Values(Section):
    """One continuous label: where its numbers are, and what they mean."""

    column: str = Field(description="Name of the column, or key of the array.")
    name: str | None = Field(None, description="What it measures; unset takes the column's name.")
    unit: str = Field("", description="Unit of the numbers, e.g. year or degree.")
    minimum: float | None = Field(None, description="Smallest label, which maps to 0; unset takes that of the data.")
    maximum: float | None = Field(None, description="Largest label, which maps to 1; unset takes that of the data.")


class Described(Section):
    """What only its owner can say of a data set."""

    name: str = Field("own", pattern=r"^[A-Za-z0-9._ -]+$", description="Name of the data set, for reports and cards.")
    license: str = Field("NOASSERTION", description="SPDX expression of the images' license.")
    homepage: str = Field("", description="Where the data set is described.")


class ImageFolderSource(PictureFiles, Described, Named):
    """Your images in one folder a class, perhaps within train, validation and test."""

    kind: Literal["image_folder"]
    folder: str = Field(
        description="Folder of class folders, or of train, validation (or val) and test with them; relative to where "
        "the command is started."
    )
    channels: Literal[1, 3] = Field(3, description="1 for grey images, 3 for colours.")


class ImageTableSource(PictureFiles, Described, Named):
    """Your images with a CSV of labels: a class, a number, several numbers, or a class with a number."""

    kind: Literal["image_table"]
    folder: str = Field(description="Folder of the images, relative to where the command is started.")
    table: str = Field("labels.csv", description="The CSV, relative to the folder.")
    file_column: str = Field("file", description="Column of the images' paths, relative to the folder.")
    file_suffix: str = Field("", description="What the column leaves out of the files' names, e.g. .png.")
    class_column: str | None = Field(None, description="Column of the classes, by name or number.")
    values: tuple[Values, ...] = Field((), description="Columns of numbers; with a class, one of them.")
    split_column: str | None = Field(
        None, description="Column that says train, validation (or val) or test; unset leaves the split to prepare."
    )
    channels: Literal[1, 3] = Field(3, description="1 for grey images, 3 for colours.")


class ArraysSource(Described):
    """Your images and labels as NumPy files, mapped and never held whole."""

    kind: Literal["arrays"]
    image_file: str = Field(description="uint8 .npy file of images, or .npz file with an array 'images'.")
    label_file: str | None = Field(None, description=".npy file of labels; unset takes 'labels' of the .npz file.")
    layout: Literal["NCHW", "NHWC", "NHW"] = Field("NCHW", description="Order of the axes of the images.")
    classes: tuple[ClassName, ...] = Field((), description="Class names in the order of the numbers; for classes.")
    values: tuple[Values, ...] = Field(
        (), description="Meaning of each column of numbers ('column' is only its name); none for classes."
    )
    split_file: str | None = Field(
        None,
        description=".npy file of 0 training, 1 validation, 2 test; unset takes 'split' of the .npz file, or leaves "
        "the split to prepare.",
    )


class Hdf5Source(Described):
    """Your images and labels in an HDF5 file."""

    kind: Literal["hdf5"]
    path: str = Field(description="The HDF5 file; it is checked and unpacked in a process of its own.")
    image_key: str = Field("images", description="Name of the uint8 data set of images.")
    class_key: str | None = Field(None, description="Name of the data set of class numbers.")
    values: tuple[Values, ...] = Field((), description="Data sets (or columns NAME[0] of one) of numbers.")
    split_key: str | None = Field(None, description="Name of a data set of 0 training, 1 validation, 2 test.")
    layout: Literal["NCHW", "NHWC", "NHW"] = Field("NCHW", description="Order of the axes of the images.")
    classes: tuple[ClassName, ...] = Field((), description="Class names in the order of the numbers.")


class ParquetSource(PictureFiles, Described, Named):
    """Your images and labels as Parquet files, as Hugging Face data sets keep them."""

    kind: Literal["parquet"]
    path: str = Field(description="A Parquet file, or a folder with data/train-*.parquet, test-*.parquet and so on.")
    image_column: str = Field("image", description="Column of encoded images (a struct with bytes, or bytes).")
    class_column: str | None = Field(None, description="Column of classes, by number or name.")
    values: tuple[Values, ...] = Field((), description="Columns of numbers; with a class, one of them.")
    channels: Literal[1, 3] = Field(3, description="1 for grey images, 3 for colours.")


Source = Annotated[
    DigitsSource
    | FashionMnistSource
    | ChairsSource
    | Cifar10Source
    | Cifar100Source
    | TinyImageNetSource
    | ImageNet100Source
    | Rc49Source
    | UtkFaceSource
    | SteeringAngleSource
    | Cell200Source
    | ImageFolderSource
    | ImageTableSource
    | ArraysSource
    | Hdf5Source
    | ParquetSource,
    Field(discriminator="kind"),
]

#: Kinds of sources, as the configuration names them.
SOURCE_KINDS = (
    "digits", "fashion_mnist", "chairs", "cifar10", "cifar100", "tiny_imagenet", "imagenet100", "rc49", "utkface",
    "steering_angle", "cell200", "image_folder", "image_table", "arrays", "hdf5", "parquet",
)  # fmt: skip
