"""The command ``export``: models that were trained here, in forms that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import ConfigError
from data.store import Artifact, Store

if TYPE_CHECKING:
    from data.compute import Compute
    from students.model import ImageModel

GENERATOR_FORMATS = ("safetensors", "torch-export")
MODEL_FORMATS = ("safetensors", "onnx", "torch-export")
#: Stages whose artifacts hold a model.
MODEL_STAGES = ("distill", "teacher")


def export_command(
    reference: str, format_name: str, out: Path, store_path: Path, *, card: bool = True, factory: str | None = None
) -> None:
    """Writes a trained generator, student or teacher as one file.

    Args:
        reference: folder of the artifact, or the first digits of its fingerprint.
        format_name: of ``GENERATOR_FORMATS`` or ``MODEL_FORMATS``.
        out: the file.
        store_path: where artifacts lie.
        card: whether a model's card is written beside it, as ``<out>.card.md``.
        factory: a factory of the user's own that the model may be built by.

    Raises:
        ConfigError: if the format is unknown, or the artifact holds no network that was trained here.
        DataError: if there is no such artifact, or the file cannot be written.
        StageError: if the exported program does not give what the network gives.
    """
    artifact = Store(store_path).resolve(reference)
    stage = artifact.manifest["stage"]
    if stage in MODEL_STAGES:
        _export_model(artifact, format_name, out, card=card, factory=factory)
    elif stage == "generator":
        _export_generator(artifact, format_name, out)
    else:
        raise ConfigError(f"export takes a generator, distill or teacher artifact, got a {stage} artifact.")
    print(f"{out}: {format_name}, {out.stat().st_size} bytes")


def _export_generator(artifact: Artifact, format_name: str, out: Path) -> None:
    if format_name not in GENERATOR_FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(GENERATOR_FORMATS)}, got '{format_name}'.")
    if artifact.manifest["config"].get("generator", {}).get("kind") == "external":
        raise ConfigError("export takes a generator trained here; an external one is a function of your own already.")
    from generators.export import export_generator

    export_generator(artifact.folder, out, format_name)


def _export_model(artifact: Artifact, format_name: str, out: Path, *, card: bool, factory: str | None) -> None:
    if format_name not in MODEL_FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(MODEL_FORMATS)}, got '{format_name}'.")
    import torch

    from data.compute import Compute
    from flows.made_from import about_model
    from students.export import export_model
    from students.model_card import model_card

    model = open_model(artifact, Compute(torch.device("cpu")), factory)
    about = about_model(artifact)
    export_model(model, out, format_name, about)
    if card:
        beside = out.with_name(out.name + ".card.md")
        beside.write_text(model_card(model.card, about, out.name, format_name), encoding="utf-8")
        print(f"{beside}: model card")


def open_model(artifact: Artifact, compute: Compute, factory: str | None) -> ImageModel:
    """The model of a distill or teacher artifact.

    Args:
        artifact: of one of ``MODEL_STAGES``.
        compute: where it is put.
        factory: a factory of the user's own that it may be built by; None allows none.

    Raises:
        ConfigError: if it holds no network, as those teachers do not that answer from elsewhere.
        DataError: if its files are damaged.
    """
    from data.factories import trust_factory
    from students.model import CARD, load_model

    if factory is not None:
        trust_factory(factory)
    kind = artifact.manifest["config"].get("teacher", {}).get("kind", "trained")
    if not artifact.path(CARD).is_file() or kind in ("factory", "ensemble") or _adapted(artifact):
        raise ConfigError(
            f"{artifact.folder} must hold a network that its card describes, got a {artifact.manifest['stage']} of "
            f"kind '{kind}' that answers in another way; use it where it is from."
        )
    return load_model(artifact.folder, compute)


def _adapted(artifact: Artifact) -> bool:
    """Whether a teacher from elsewhere has only some outputs of its network, or gives probabilities."""
    from flows.teacher_cards import CARD, read_card

    return artifact.path(CARD).is_file() and bool(read_card(artifact.folder).get("adapted"))
