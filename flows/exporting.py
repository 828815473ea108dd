"""The commands ``export`` and ``data export``: what was made here, in forms that other programs read."""

from __future__ import annotations

from pathlib import Path

from data.errors import ConfigError, DataError
from data.store import Store
from flows.inspection import only_set

GENERATOR_FORMATS = ("safetensors", "torch-export")
SET_FORMATS = ("fake-h5",)


def export_command(reference: str, format_name: str, out: Path, store_path: Path) -> None:
    """Writes a trained generator as one file.

    Raises:
        ConfigError: if the format is unknown, or the artifact is no trained generator.
        DataError: if there is no such artifact, or the file cannot be written.
        StageError: if the exported program does not give the generator's images.
    """
    if format_name not in GENERATOR_FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(GENERATOR_FORMATS)}, got '{format_name}'.")
    artifact = Store(store_path).resolve(reference)
    stage = artifact.manifest["stage"]
    if stage != "generator":
        raise ConfigError(f"export takes a generator artifact, got a {stage} artifact; other networks come later.")
    if artifact.manifest["config"].get("generator", {}).get("kind") == "external":
        raise ConfigError("export takes a generator trained here; an external one is a function of your own already.")
    from generators.export import export_generator

    export_generator(artifact.folder, out, format_name)
    print(f"{out}: {format_name}, {out.stat().st_size} bytes")


def export_set_command(file: Path, format_name: str, out: Path) -> None:
    """Writes a set of generated images in a layout of other programs.

    Raises:
        ConfigError: if the format is unknown.
        DataError: if the file is no whole set of generated images, or the other cannot be written.
    """
    if format_name not in SET_FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(SET_FORMATS)}, got '{format_name}'.")
    from data.foreign.fake_h5 import write_fake_h5
    from data.reading import open_set

    found = open_set(only_set(file))
    missing = [name for name in ("images", "labels", "seed") if name not in found.columns]
    if missing:
        raise DataError(
            f"{found.path}: must be a set of generated images, got kind '{found.kind}' without {missing[0]}."
        )
    images, labels, seeds = (found.columns[name] for name in ("images", "labels", "seed"))
    channels, height, width = images.shape[1:]
    write_fake_h5(out, lambda start, stop: images[start:stop], labels, seeds, (channels, height, width))
    print(f"{out}: {len(found)} images")
