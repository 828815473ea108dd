"""The command line. Heavy libraries are imported by the commands that need them, so that help is quick."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from data.errors import StillhouseError

app = typer.Typer(
    name="stillhouse",
    help="Distils a large teacher network into a small student through data.",
    epilog="An error is one sentence; --debug, with any command, shows where it came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Looks at HDF5 sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

ConfigArgument = Annotated[Path, typer.Argument(help="YAML file of the experiment.", metavar="CONFIG")]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the artifacts.", metavar="DIR")]
SetOption = Annotated[
    list[str], typer.Option("--set", help="Changes a key of the configuration; may be repeated.", metavar="KEY=VALUE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
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
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.", metavar="PNG")],
    label: Annotated[
        list[float], typer.Option("--label", help="Class number, or value in the label's unit; may be repeated.")
    ] = [],  # noqa: B006
    count: Annotated[int, typer.Option("-n", help="Images a label.", min=1, max=10_000)] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the images.", min=0)] = 0,
    store: StoreOption = DEFAULT_STORE,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Draws images of given labels from a trained generator and writes them as one grid."""
    from flows.inspection import sample_command

    sample_command(artifact, label, count, seed, out, store, device)


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


FileArgument = Annotated[Path, typer.Argument(help="An HDF5 set, or the folder of an artifact.", metavar="FILE")]


@data_app.command("info")
def data_info(file: FileArgument, json_: JsonOption = False) -> None:
    """Says what a set holds."""
    from flows.inspection import info_command

    info_command(file, as_json=json_)


@data_app.command("verify")
def data_verify(file: FileArgument, json_: JsonOption = False) -> None:
    """Reads every byte of a set or artifact and compares it with its digests."""
    from flows.inspection import verify_command

    verify_command(file, as_json=json_)


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
            print("stillhouse: interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0
    except StillhouseError as error:
        if debug:
            raise
        print(f"stillhouse: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
