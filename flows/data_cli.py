"""The commands ``stillhouse data``: sets on their own, without any run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(help="Looks at, joins, exports and mixes HDF5 sets.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
FileArgument = Annotated[Path, typer.Argument(help="An HDF5 set, or the folder of an artifact.", metavar="FILE")]
OutOption = Annotated[Path, typer.Option("--out", help="File to write; must be new.", metavar="FILE")]
SeedOption = Annotated[int, typer.Option("--seed", help="Makes the choice and its order.", min=0)]


@data_app.command("info")
def data_info(file: FileArgument, json_: JsonOption = False) -> None:
    """Says what a set holds: images, labels, columns, license, and where it comes from."""
    from flows.inspection import info_command

    info_command(file, as_json=json_)


@data_app.command("verify")
def data_verify(file: FileArgument, json_: JsonOption = False) -> None:
    """Reads every byte of a set or artifact and compares it with its digests."""
    from flows.inspection import verify_command

    verify_command(file, as_json=json_)


@data_app.command("export")
def data_export(
    file: FileArgument,
    format_: Annotated[
        str,
        typer.Option("--format", help="Layout of other programs.", metavar="fake-h5|image-folder|parquet|webdataset"),
    ],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write; must be new.", metavar="PATH")],
    json_: JsonOption = False,
) -> None:
    """Writes a set in a layout that other programs read."""
    from flows.set_exporting import export_set_command

    export_set_command(file, format_, out, as_json=json_)


@data_app.command("card")
def data_card(
    file: FileArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; must be new.", metavar="DIR")],
    title: Annotated[str, typer.Option("--title", help="Name of the set.")] = "",
    creator: Annotated[list[str], typer.Option("--creator", help="Who made the set; may be repeated.")] = [],  # noqa: B006
    version: Annotated[str, typer.Option("--set-version", help="Version of the set.")] = "1.0.0",
    publisher: Annotated[str, typer.Option("--publisher", help="Who publishes it.")] = "",
    published: Annotated[str, typer.Option("--published", help="Day of its publication.", metavar="YYYY-MM-DD")] = "",
    url: Annotated[str, typer.Option("--url", help="Its page.")] = "",
    description: Annotated[str, typer.Option("--description", help="A sentence or two on it.")] = "",
    with_set: Annotated[bool, typer.Option("--with-set", help="Copy the set into the folder.")] = False,
    json_: JsonOption = False,
) -> None:
    """Writes a data card of a set: what it is, with pictures, and the same as Croissant JSON-LD."""
    from flows.set_exporting import card_command

    card_command(
        file,
        out,
        as_json=json_,
        title=title,
        creators=creator,
        version=version,
        publisher=publisher,
        published=published,
        url=url,
        description=description,
        with_set=with_set,
    )


@data_app.command("pairs")
def data_pairs(
    file: FileArgument,
    out: OutOption,
    positive: Annotated[int, typer.Option("--positive", help="Rows of the first group of a comparison.", min=1)] = 1,
    negative: Annotated[int, typer.Option("--negative", help="Rows of the second group.", min=1)] = 1,
    count: Annotated[int, typer.Option("--count", help="Comparisons.", min=1)] = 100_000,
    relation: Annotated[
        str,
        typer.Option(
            "--relation",
            help="Which rows are compared; see recipes.groups.relation.",
            metavar="uniform|same_class|different_class|near_label|teacher_similar",
        ),
    ] = "uniform",
    neighbours: Annotated[
        int, typer.Option("--neighbours", help="Rows that count as near or similar to each row.", min=1)
    ] = 32,
    most_per_row: Annotated[
        int | None, typer.Option("--most-per-row", help="Comparisons that a row may be in [any number].", min=1)
    ] = None,
    seed: SeedOption = 0,
    json_: JsonOption = False,
) -> None:
    """Writes a recipe of comparative groups of training rows, for distill.recipe."""
    from flows.set_commands import pairs_command

    pairs_command(
        file,
        out,
        (positive, negative),
        count=count,
        relation=relation,
        neighbours=neighbours,
        most_per_row=most_per_row,
        seed=seed,
        as_json=json_,
    )


@data_app.command("mix")
def data_mix(
    file: FileArgument,
    out: OutOption,
    kind: Annotated[
        str, typer.Option("--kind", help="Blend whole images, or paste a box.", metavar="mixup|cutmix")
    ] = "cutmix",
    alpha: Annotated[float, typer.Option("--alpha", help="Coefficients follow Beta(ALPHA, ALPHA).")] = 1.0,
    count: Annotated[int, typer.Option("--count", help="Mixed images.", min=1)] = 20_000,
    seed: SeedOption = 0,
    materialise: Annotated[
        bool, typer.Option("--materialise", help="Write the mixed images themselves, not only which rows are mixed.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Writes a recipe of mixed images of training rows: which two, with what coefficient and box."""
    from flows.set_commands import mix_command

    mix_command(file, out, kind=kind, alpha=alpha, count=count, seed=seed, materialise=materialise, as_json=json_)


@data_app.command("merge")
def data_merge(
    files: Annotated[list[Path], typer.Argument(help="Sets of equal label space and image size.", metavar="FILE...")],
    out: OutOption,
    license_: Annotated[
        str | None,
        typer.Option("--license", help="SPDX expression of the whole, where the sets' own differ.", metavar="SPDX"),
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Leave out images that were there before.")
    ] = False,
    drop_leaks: Annotated[
        bool,
        typer.Option("--drop-leaks", help="Leave out training and validation images that another set tests with."),
    ] = False,
    drop_split: Annotated[
        bool, typer.Option("--drop-split", help="Join sets with and without a split into one without.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Makes the order of the rows.", min=0)] = 0,
    json_: JsonOption = False,
) -> None:
    """Joins sets into one."""
    from flows.set_commands import merge_command

    merge_command(
        files,
        out,
        license_=license_,
        drop_duplicates=drop_duplicates,
        drop_leaks=drop_leaks,
        drop_split=drop_split,
        seed=seed,
        as_json=json_,
    )
