"""The command line. Heavy libraries are imported by the commands that need them, so that help is quick."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from data.errors import StillhouseError
from data.faults import printable
from flows.data_cli import JsonOption, data_app

app = typer.Typer(
    name="stillhouse",
    help="Distils a large teacher network into a small student through data.",
    epilog="An error is one sentence; --debug, with any command, shows where it came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")

ConfigArgument = Annotated[Path, typer.Argument(help="YAML file of the experiment.", metavar="CONFIG")]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the artifacts.", metavar="DIR")]
SetOption = Annotated[
    list[str], typer.Option("--set", help="Changes a key of the configuration; may be repeated.", metavar="KEY=VALUE")
]
FactoryOption = Annotated[
    str | None,
    typer.Option(
        "--factory",
        help="Your own function that builds the network, where the model names one; it is code that runs.",
        metavar="MODULE:FUNCTION",
    ),
]
StageOption = Annotated[str | None, typer.Option(metavar="STAGE")]
DEFAULT_STORE = Path("store")
INTERRUPTED = 130


@app.command()
def run(
    config: ConfigArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = [],  # noqa: B006 - typer copies it
    only: Annotated[str | None, typer.Option("--only", help="Run this stage alone.", metavar="STAGE")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Make this stage and all after it again.", metavar="STAGE")
    ] = None,
    force: Annotated[str | None, typer.Option("--force", help="Make this stage again.", metavar="STAGE")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why; run nothing.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run the stages without Prefect.")] = False,
    json_: JsonOption = False,
) -> None:
    """Runs an experiment: every stage that the store does not hold yet."""
    from flows.commands import run_command
    from flows.execute import Selection

    selection = Selection(only=only, start=from_, force=force)
    run_command(config, store, set_, selection, dry_run=dry_run, direct=direct, as_json=json_)


@app.command()
def ablate(
    config: ConfigArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = [],  # noqa: B006
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            help="Three or more seeds of the students (default: the configuration's, or 0,1,2 if it has fewer).",
            metavar="N,N,N",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="Method of every student (default: the one without a teacher).", metavar="NAME"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why; run nothing.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run the stages without Prefect.")] = False,
    json_: JsonOption = False,
) -> None:
    """Shows what each step of the data path adds: the student alone, generated images, and each filter in turn."""
    from flows.ablation_command import ablate_command

    ablate_command(config, store, set_, seeds=seeds, method=method, dry_run=dry_run, direct=direct, as_json=json_)


@app.command()
def stages(
    config: ConfigArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = [],  # noqa: B006
    json_: JsonOption = False,
) -> None:
    """Shows for every stage whether it is cached or would run, and why."""
    from flows.commands import run_command
    from flows.execute import Selection

    run_command(config, store, set_, Selection(), dry_run=True, direct=True, as_json=json_)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="sources, generators, networks, methods or runs.")],
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
) -> None:
    """Lists what can be named in a configuration, or the runs of a store."""
    from flows.inspection import list_command

    list_command(what, store, as_json=json_)


@app.command()
def sample(
    artifact: Annotated[str, typer.Argument(help="Generator: its folder, or the first digits of its fingerprint.")],
    out: Annotated[Path | None, typer.Option("--out", help="PNG file to write.", metavar="PNG")] = None,
    label: Annotated[
        list[str],
        typer.Option(
            "--label",
            help="Class number or name, value, values ('30,12.5'), or class and value ('chair 2,37.5'); "
            "may be repeated. Without any, a few all over the label space.",
        ),
    ] = [],  # noqa: B006
    labels: Annotated[
        Path | None, typer.Option("--labels", help="File with one label a line, as --label.", metavar="FILE")
    ] = None,
    range_: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="Values evenly from LOW to HIGH, both included; for a vector one such range a dimension, with commas "
            "between them. Classes with values: every class, or those of --label.",
            metavar="LOW:HIGH:COUNT",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", help="Images a label [16], or rows of an interpolation [1 or 4].", min=1)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the images.", min=0)] = 0,
    truncation: Annotated[
        float,
        typer.Option(
            "--truncation", help="Share of the latents' distribution that is used; less is more typical.", min=0, max=1
        ),
    ] = 1.0,
    interpolate: Annotated[
        str | None,
        typer.Option(
            "--interpolate",
            help="latent: between two seeds; label: between two --label; both.",
            metavar="latent|label|both",
        ),
    ] = None,
    from_seed: Annotated[
        int | None, typer.Option("--from-seed", help="Seed at the left of an interpolation.", min=0)
    ] = None,
    to_seed: Annotated[int | None, typer.Option("--to-seed", help="Seed at its right.", min=0)] = None,
    columns: Annotated[
        int | None, typer.Option("--columns", help="Images from left to right [9].", min=2, max=1000)
    ] = None,
    captions: Annotated[bool, typer.Option(help="Whether the picture tells the labels.")] = True,
    save: Annotated[
        Path | None, typer.Option("--save", help="HDF5 file for images, labels and seeds.", metavar="FILE")
    ] = None,
    save_as: Annotated[
        str, typer.Option("--save-as", help="Layout of that file.", metavar="stillhouse|fake-h5")
    ] = "stillhouse",
    store: StoreOption = DEFAULT_STORE,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Draws images of given labels from a trained generator, as one picture, as an HDF5 set, or both."""
    from flows.sampling_command import Wish, sample_command

    wish = Wish(
        labels=tuple(label),
        labels_file=labels,
        ranges=range_,
        count=count,
        seed=seed,
        truncation=truncation,
        interpolate=interpolate,
        from_seed=from_seed,
        to_seed=to_seed,
        columns=columns,
        captions=captions,
        out=out,
        save=save,
        save_as=save_as,
    )
    sample_command(artifact, wish, store, device)


@app.command()
def export(
    artifact: Annotated[
        str, typer.Argument(help="Student, teacher or generator: its folder, or the first digits of its fingerprint.")
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="Weights with their card, or a program; onnx is for students and teachers.",
            metavar="safetensors|onnx|torch-export",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write.", metavar="FILE")],
    store: StoreOption = DEFAULT_STORE,
    card: Annotated[bool, typer.Option(help="Whether a model card is written beside a student or teacher.")] = True,
    factory: FactoryOption = None,
) -> None:
    """Writes a student, teacher or generator as one file for use elsewhere."""
    from flows.exporting import export_command

    export_command(artifact, format_, out, store, card=card, factory=factory)


@app.command()
def predict(
    student: Annotated[
        str,
        typer.Argument(
            help="Artifact of a student or teacher (folder, or first digits of its fingerprint), or an exported "
            "safetensors or ONNX file.",
            metavar="STUDENT",
        ),
    ],
    images: Annotated[
        list[Path], typer.Argument(help="PNG and JPEG files, folders of them, HDF5 sets.", metavar="IMAGE...")
    ],
    top: Annotated[int, typer.Option("--top", help="Classes told of each image.", min=1)] = 3,
    resize: Annotated[bool, typer.Option("--resize", help="Resize files of another size, in any proportion.")] = False,
    store: StoreOption = DEFAULT_STORE,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    factory: FactoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Says what a student sees in images: classes with probabilities, values with their units."""
    from flows.prediction import predict_command

    predict_command(student, images, store, top=top, resize=resize, device=device, factory=factory, as_json=json_)


@app.command()
def report(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="A run, see 'stillhouse list runs'.")],
    store: StoreOption = DEFAULT_STORE,
    json_: JsonOption = False,
) -> None:
    """Shows the result table of a run, and where its report lies."""
    from flows.inspection import report_command

    report_command(run_name, store, as_json=json_)


@app.command()
def schema() -> None:
    """Prints the JSON schema of the configuration, for editors."""
    import json

    from flows.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status.

    0 done, 2 bad usage or configuration, 3 bad or damaged data, 4 a stage failed, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(words, prog_name="stillhouse")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            then = "begins anew" if words[:1] == ["data"] else "goes on where it stopped"
            print(f"stillhouse: interrupted; the same command {then}.", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0
    except StillhouseError as error:
        if debug:
            raise
        # Names in it may be those of a file from elsewhere.
        print(f"stillhouse: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
