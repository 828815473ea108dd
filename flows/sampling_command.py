"""The command ``sample``: which labels and seeds a person asks for, and the picture and the file that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError
from data.label_texts import label_grid, parse_class, parse_labels, parse_ranges
from data.store import Artifact, Store

if TYPE_CHECKING:
    from data.labels import LabelSpace
    from generators.sampling import Sampler

INTERPOLATIONS = ("latent", "label", "both")
LAYOUTS = ("stillhouse", "fake-h5")
_COUNT, _COUNT_MOVED, _STEPS = 16, 4, 9
_MOST_IMAGES, _MOST_PICTURED = 200_000, 10_000
_LABEL_FILE_BYTES = 1 << 24


@dataclass(frozen=True)
class Wish:
    """What a person asks for.

    Args:
        labels: labels as written.
        labels_file: a file of labels, one a line.
        ranges: LOW:HIGH:COUNT of every continuous dimension.
        count: images a label, or ways of an interpolation.
        seed: makes the latents.
        truncation: share of the normal distribution that latents are drawn from.
        interpolate: "latent", "label", "both" or None.
        from_seed: seed of the first latents.
        to_seed: seed of the last latents.
        columns: images on a way of an interpolation.
        captions: whether the picture says which label a row has.
        out: picture to write.
        save: HDF5 file to write.
        save_as: its layout.
    """

    labels: tuple[str, ...] = ()
    labels_file: Path | None = None
    ranges: str | None = None
    count: int | None = None
    seed: int = 0
    truncation: float = 1.0
    interpolate: str | None = None
    from_seed: int | None = None
    to_seed: int | None = None
    columns: int | None = None
    captions: bool = True
    out: Path | None = None
    save: Path | None = None
    save_as: str = "stillhouse"


def sample_command(reference: str, wish: Wish, store_path: Path, device: str) -> None:
    """Draws what is wished and writes it.

    Raises:
        ConfigError: if the wish makes no sense, or is not for this generator's labels.
        DataError: if there is no such generator, or a file cannot be read or written.
    """
    _check(wish)
    artifact = Store(store_path).resolve(reference, "generator")
    sampler = _open(artifact, device)
    labels = chosen_labels(wish, sampler.label_space)
    if wish.interpolate is None:
        _sample(sampler, labels, wish, artifact)
    else:
        _walk(sampler, labels, wish, artifact)


def _check(wish: Wish) -> None:
    if wish.out is None and wish.save is None:
        raise ConfigError("sample must write something; give --out PNG, --save FILE, or both.")
    for option, value, known in (
        ("--interpolate", wish.interpolate, INTERPOLATIONS),
        ("--save-as", wish.save_as, LAYOUTS),
    ):
        if value is not None and value not in known:
            raise ConfigError(f"{option} must be one of {', '.join(known)}, got '{value}'.")
    if wish.ranges is not None and wish.labels_file is not None:
        raise ConfigError("--range and --labels must not come together; write the labels of the range into the file.")
    if wish.interpolate not in ("latent", "both") and (wish.from_seed, wish.to_seed) != (None, None):
        raise ConfigError("--from-seed and --to-seed are for --interpolate latent or both; use --seed otherwise.")
    if wish.interpolate is None and wish.columns is not None:
        raise ConfigError("--columns is for --interpolate; -n tells how many images a label has.")
    if wish.interpolate in ("latent", "both") and wish.save is not None:
        raise ConfigError("--save needs a seed for every image, which an interpolated latent does not have; use --out.")
    if wish.interpolate in ("label", "both") and (len(wish.labels) != 2 or wish.ranges or wish.labels_file):
        raise ConfigError(
            f"--interpolate {wish.interpolate} must have the two ends as two --label, got {len(wish.labels)}."
        )


def _open(artifact: Artifact, device: str) -> Sampler:
    from data.compute import pick_compute
    from generators.sampling import load_generator

    config = artifact.manifest["config"]
    if config.get("generator", {}).get("kind") == "external":
        # Code that an artifact names is never run.
        raise ConfigError(
            f"'{artifact.folder.name[:12]}' is a generator outside Stillhouse ({config['generator'].get('factory')}), "
            "of which only a configuration makes images; its samples.png shows some."
        )
    return load_generator(artifact.folder, pick_compute(device, config["compute"]["precision"]))


def chosen_labels(wish: Wish, space: LabelSpace) -> npt.NDArray[Any]:
    """The labels that a wish names, a column of the label space; a few all over it where it names none.

    Raises:
        ConfigError: if a text is no label of the space.
        DataError: if the file of labels cannot be read.
    """
    if wish.ranges is not None:
        values = parse_ranges(wish.ranges, space, "--range")
        if wish.labels and space.kind != "class+scalar":
            raise ConfigError("--range and --label must not come together, unless labels have a class and a value.")
        classes = [parse_class(text, space, "--label with --range") for text in wish.labels]
        return label_grid(space, values, classes or None)
    parts = [parse_labels(wish.labels, space, "--label")]
    if wish.labels_file is not None:
        parts.append(parse_labels(_lines(wish.labels_file), space, f"a line of {wish.labels_file}"))
    labels = np.concatenate(parts)
    if len(labels):
        return labels
    counts = {"class": 0, "scalar": 8, "class+scalar": 3, "vector": 4 if len(space.dimensions) == 2 else 2}
    steps = [np.linspace(axis.minimum, axis.maximum, counts[space.kind]) for axis in space.dimensions]
    return label_grid(space, steps)


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LABEL_FILE_BYTES:
            raise DataError(f"--labels {path} must have at most {_LABEL_FILE_BYTES >> 20} MiB.")
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--labels {path} cannot be read ({error}); give a text file with one label a line.") from error
    found = [line for line in lines if line]
    if not found:
        raise ConfigError(f"--labels {path} must have one label a line, got none.")
    return found


def _seeds(seed: int, count: int) -> npt.NDArray[np.uint64]:
    from data.random import derive_seed, row_seeds

    return row_seeds(derive_seed(seed, "sample"), np.arange(count))


def _bounded(images: int, wish: Wish) -> None:
    if images > _MOST_IMAGES:
        raise ConfigError(f"sample makes at most {_MOST_IMAGES} images, got {images}; ask for less.")
    if wish.out is not None and images > _MOST_PICTURED:
        raise ConfigError(
            f"--out holds at most {_MOST_PICTURED} images, got {images}; ask for less, or for --save without --out."
        )


def _sample(sampler: Sampler, labels: npt.NDArray[Any], wish: Wish, artifact: Artifact) -> None:
    space, count = sampler.label_space, wish.count or _COUNT
    _bounded(len(labels) * count, wish)
    rows = np.repeat(labels, count, axis=0)
    # A column has one seed, so that only the label changes along it.
    seeds = np.tile(_seeds(wish.seed, count), len(labels))
    images = sampler.sample(rows, seeds, wish.truncation)
    if wish.out is not None:
        grid = images.reshape(len(labels), count, *images.shape[1:])
        _picture(wish, grid, [space.describe(label) for label in labels])
    _save(wish, images, rows, seeds, space, artifact)
    names = [space.describe(label) for label in labels[:10]]
    what = ", ".join(names) + (f" and {len(labels) - 10} other labels" if len(labels) > 10 else "")
    print(f"{wish.out or wish.save}: {len(rows)} images of {what}")


def _walk(sampler: Sampler, labels: npt.NDArray[Any], wish: Wish, artifact: Artifact) -> None:
    from generators.interpolation import interpolate

    space, steps = sampler.label_space, wish.columns or _STEPS
    moves = wish.interpolate != "latent"
    first, second = (labels[:1], labels[1:]) if moves else (labels, labels)
    from_seed = wish.seed if wish.from_seed is None else wish.from_seed
    to_seed = from_seed if wish.interpolate == "label" else from_seed + 1 if wish.to_seed is None else wish.to_seed
    count = wish.count or (_COUNT_MOVED if moves else 1)
    _bounded(len(first) * count * steps, wish)
    here, there = (np.repeat(end, count, axis=0) for end in (first, second))
    seeds, others = (np.tile(_seeds(seed, count), len(first)) for seed in (from_seed, to_seed))
    walk = interpolate(sampler, (here, there), (seeds, others), steps, wish.truncation)
    if wish.out is not None and moves:
        fixed = [space.names[number] for number in space.class_part(here)] if space.has_classes else None
        varied = ", ".join(axis.name for axis in space.dimensions)
        values = space.continuous_part(walk.labels[0])
        columns = [", ".join(f"{value:.3g}" for value in row) for row in values]
        _picture(wish, walk.images, fixed or [varied] * len(here), columns)
    elif wish.out is not None:
        _picture(wish, walk.images, [space.describe(label) for label in here])
    images, flat = (array.reshape(-1, *array.shape[2:]) for array in (walk.images, walk.labels))
    _save(wish, images, flat, np.repeat(seeds, steps), space, artifact)
    ends = f"from {space.describe(here[0])} to {space.describe(there[0])}" if moves else "between latents"
    print(f"{wish.out or wish.save}: {len(here)} x {steps} images {ends}")


def _picture(wish: Wish, images: npt.NDArray[np.uint8], rows: list[str], columns: list[str] | None = None) -> None:
    from data.pictures import captioned_grid, image_grid

    if images.shape[2] not in (1, 3):
        raise ConfigError(f"--out shows images of 1 or 3 channels, got {images.shape[2]}; use --save.")
    if wish.captions:
        picture = captioned_grid(images, rows, columns or [])
    else:
        picture = image_grid(images.reshape(-1, *images.shape[2:]), images.shape[1])
    try:
        picture.save(str(wish.out), format="PNG")
    except OSError as error:
        raise DataError(f"--out {wish.out} cannot be written ({error.strerror}).") from error


def _save(
    wish: Wish,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    seeds: npt.NDArray[np.uint64],
    space: LabelSpace,
    artifact: Artifact,
) -> None:
    if wish.save is None:
        return
    if wish.save_as == "fake-h5":
        from data.foreign.fake_h5 import write_fake_h5

        shape = (images.shape[1], images.shape[2], images.shape[3])
        write_fake_h5(wish.save, lambda start, stop: images[start:stop], labels, seeds, shape)
        return
    from data.writing import write_set

    write_set(
        wish.save,
        {"images": images, "labels": labels, "seed": seeds},
        kind="samples",
        label_space=space,
        provenance={"generator": artifact.fingerprint, "truncation": wish.truncation},
        license=_license(artifact),
    )


def _license(artifact: Artifact) -> str:
    """The license of the images that the generator has seen, if they are still in the store."""
    from data.foreign import UNKNOWN_LICENSE
    from data.reading import open_set

    real = Store(artifact.folder.parent.parent).find("prepare", str(artifact.manifest["inputs"].get("real", "")))
    return UNKNOWN_LICENSE if real is None else open_set(real.path("real.h5")).license
