"""Sections of the teacher: where its answers come from, what images it takes, and what asking it may cost."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from flows.section import Option, Section
from flows.student_config import Network, Training


class Asked(Section):
    """What holds for every teacher: the record of its answers, and the budget."""

    ledger: bool = Field(
        False, description="Whether every answer is recorded durably before it is used; always so for http."
    )
    max_calls: int | None = Field(
        None,
        ge=0,
        description="Images that the teacher may be asked for, over all runs of this store; unset: no limit.",
    )
    judges: bool | None = Field(
        None,
        description="Whether stages fidelity and audit ask it about images, too; unset: unless it costs something, as "
        "with kind http or with max_calls.",
    )


class TrainedTeacher(Network, Asked):
    """A teacher that is trained here, on the training split."""

    kind: Literal["trained"] = "trained"
    options: dict[str, Option] = Field({"depth": 20, "width": 32}, description="Options of the network.")
    training: Training = Training()


class Imported(Asked):
    """What a teacher from elsewhere takes and gives."""

    input_size: int | None = Field(
        None, ge=1, description="Pixels a side that it takes; images are resized. Unset: as they are."
    )
    input_channels: Literal[1, 3] | None = Field(
        None,
        description="Channels that it takes; grey images are repeated, colour ones turned grey. Unset: as they are.",
    )
    gives: Literal["logits", "probabilities"] = Field("logits", description="What it gives for classes.")
    values: Literal["label", "normalised"] = Field(
        "label", description="Unit of its predictions: the label's own, or 0..1 over the label's range."
    )
    outputs: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="Which of its outputs are used, in the order of the label space; unset takes all."
    )


class Normalised(Imported):
    """A teacher from elsewhere that takes normalised pixels."""

    mean: tuple[float, ...] = Field(
        (0.0,), min_length=1, description="Subtracted from pixels in 0..1, a channel or all."
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,), min_length=1, description="Pixels are divided by it, a channel or all."
    )


class CheckpointTeacher(Network, Normalised):
    """A network by name with weights from a file: safetensors, or a state that torch loads with weights only."""

    kind: Literal["checkpoint"]
    path: str = Field(description="File of the weights.")


class PretrainedTeacher(Imported):
    """A torchvision or timm model with the weights that the library publishes."""

    kind: Literal["pretrained"]
    library: Literal["torchvision", "timm"] = Field("torchvision", description="Which library.")
    model: str = Field(description="Name of the model there, e.g. resnet50.")
    weights: str = Field("DEFAULT", description="Name of the weights; DEFAULT takes the library's best.")
    input_size: int | None = Field(
        None, ge=1, description="Pixels a side that it takes; images are resized. Unset: those of the weights."
    )
    input_channels: Literal[3] | None = Field(
        None, description="Channels that it takes, which grey images are repeated to. Unset: those of the weights."
    )
    mean: tuple[float, ...] | None = Field(
        None, min_length=1, description="Subtracted from pixels in 0..1. Unset: that of the weights."
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, min_length=1, description="Pixels are divided by it. Unset: that of the weights."
    )


class FactoryTeacher(Normalised):
    """A function of yours that makes the network or any function of images."""

    kind: Literal["factory"]
    factory: str = Field(description="module:function; called with the options.")
    options: dict[str, Option] = Field({}, description="Keyword arguments of the function.")


class OnnxTeacher(Normalised):
    """An ONNX file, run by onnxruntime."""

    kind: Literal["onnx"]
    path: str = Field(description="The file.")


class HttpTeacher(Imported):
    """An endpoint that answers images with outputs; the protocol is in docs/teachers.md."""

    kind: Literal["http"]
    url: str = Field(pattern=r"^https?://", description="Address that takes POST requests.")
    encoding: Literal["json", "npz"] = Field("npz", description="Form of requests and answers.")
    batch_images: int = Field(64, ge=1, description="Images a request.")
    timeout_seconds: float = Field(30.0, gt=0, le=86400, description="Longest wait for a whole answer.")
    attempts: int = Field(5, ge=1, description="Tries of a request before the stage stops.")
    backoff_seconds: float = Field(1.0, ge=0, description="Wait after the first failure; doubles each time.")
    requests_per_second: float = Field(0.0, ge=0, description="Most requests a second of a process; 0 for no limit.")
    token_variable: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Environment variable that holds the bearer token."
    )
    version: str = Field("", description="Which model answers; a new name asks everything anew.")
    give_up_unanswered: bool = Field(
        False,
        description="Whether requests that an earlier run left unanswered are given up: counted as spent, and asked "
        "anew in new requests.",
    )

    @field_validator("url")
    @classmethod
    def _without_secret(cls, url: str) -> str:
        if "@" in urlsplit(url).netloc:
            raise ValueError(
                "url must hold no user name and password, as it is written into manifests, got one with '@'; "
                "put a token into the environment and name it by token_variable"
            )
        return url

    @field_validator("url")
    @classmethod
    def _with_host(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ValueError(f"url must have a host and at most a port of 1..65535, got {url!r} ({error})") from error
        named = host if ":" in host else host.removesuffix(".")  # an address of IPv6, or a name
        if not all(0 < len(label) < 64 for label in named.split(".")) or port == 0:
            raise ValueError(f"url must have a host and at most a port of 1..65535, got {url!r}")
        if not url.isprintable() or " " in url:
            raise ValueError(f"url must hold no spaces and control characters, got {url!r}; write %20 for a space")
        return url


Member = Annotated[
    TrainedTeacher | CheckpointTeacher | PretrainedTeacher | FactoryTeacher | OnnxTeacher | HttpTeacher,
    Field(discriminator="kind"),
]


class EnsembleTeacher(Asked):
    """Several teachers that answer as one: the mean of their probabilities or predictions."""

    kind: Literal["ensemble"]
    members: tuple[Member, ...] = Field(min_length=2, description="The teachers.")
    weights: tuple[float, ...] | None = Field(None, description="Weight of each; unset weighs all alike.")

    @model_validator(mode="after")
    def _weighted(self) -> EnsembleTeacher:
        if self.weights is not None and (len(self.weights) != len(self.members) or min(self.weights) <= 0):
            raise ValueError(f"weights must be {len(self.members)} numbers above 0, one a member, got {self.weights}")
        return self


Teacher = Annotated[Member | EnsembleTeacher, Field(discriminator="kind")]


class Answers(Section):
    """What the teacher is asked about the training images."""

    views: int = Field(
        0, ge=0, description="Seeded augmented views of each image that it answers; 0 asks for the clean image."
    )
    shift_pixels: int = Field(0, ge=0, description="Largest shift of a view, in pixels.")
    flip: bool = Field(False, description="Whether views are mirrored at random.")
