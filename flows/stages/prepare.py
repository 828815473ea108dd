"""Stage ``prepare``: reads a source, splits it, writes the real set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data.errors import StageError
from flows.plan import make_source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from data.faults import Fault
    from data.sources import Source
    from flows.execute import StageContext

    Rows = npt.NDArray[np.int64]

VERSION = 2
#: Files that a source left out, one a line with the reason; only where it left some out.
SKIPPED = "skipped.txt"
# Rows of a shard: so many, or so many bytes of images; a shard is what is in memory at a time.
_SHARD_ROWS = 8192
_SHARD_BYTES = 1 << 27
# Equal images that a warning names.
_MOST_NAMED_PAIRS = 4


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``real.h5``: training, validation and test images with their labels.

    Images that cannot be read are collected over all shards before the stage stops; a source that leaves them out by
    choice has no rows for them, and the stage names them in ``skipped.txt``.

    Raises:
        UnreadableImages: naming every image that cannot be read.
        StageError: if files of the source have changed since the run was planned.
        DataError: if the source cannot be read, or has too few rows for the split.
    """
    import numpy as np

    from data.faults import MOST_NAMED, UnreadableImages
    from data.random import derive_seed
    from data.sources import notes, skipped
    from data.splitting import left_out, split_rows
    from data.writing import consolidate, write_set

    source = make_source(context.config)
    identity = source.identity()
    if identity != context.node.request.config["source"]:
        raise StageError("the files of the source have changed since this run was planned; run again.")
    options = context.config.prepare
    lost = skipped(source)
    for sentence in notes(source):
        context.warn(sentence)
    labels, space = source.labels(), source.label_space
    pool = source.pool()
    rows, parts = split_rows(labels, pool, space, **options.model_dump())
    for sentence in left_out(pool, rows, options.validation_images, options.test_images):
        context.warn(sentence)
    order = np.random.default_rng(derive_seed(options.seed, "shuffle")).permutation(len(rows))
    rows, parts = rows[order], parts[order]
    described: dict[str, Any] = {
        "kind": "real",
        "label_space": space,
        "license": source.license,
        "provenance": {
            "source": identity,
            "homepage": source.homepage,
            "prepare": options.model_dump(mode="json"),
            **({"skipped": len(lost)} if lost else {}),
        },
    }
    shard_rows = _rows_a_shard(source.image_shape)
    shards = -(-len(rows) // shard_rows)
    faults: list[Fault] = []
    stopped: list[UnreadableImages] = []
    for number, path in context.workspace.shards("images", shards):
        chosen = rows[number * shard_rows : (number + 1) * shard_rows]
        try:
            images = source.images(chosen)
        except UnreadableImages as error:
            faults += error.faults
            stopped.append(error)
            continue
        columns = {
            "images": images,
            "labels": labels[chosen].astype(space.dtype),
            "split": parts[number * shard_rows : (number + 1) * shard_rows],
            "source_row": chosen.astype(np.int64),
        }
        write_set(path, columns, **described)
    if stopped:
        from data.image_files import remedy_of

        faults.sort(key=lambda fault: fault.name)
        path = context.workspace.state_folder / "unreadable.txt"
        path.write_text(_lines(faults), encoding="utf-8")
        if len(faults) > MOST_NAMED:
            context.warn(f"all {len(faults):,} images that cannot be read are named in {path}.")
        remedy = stopped[0].remedy if len(stopped) == 1 else remedy_of(faults)
        raise UnreadableImages(faults, len(rows), stopped[0].where, remedy)
    if lost:
        _tell_skipped(context, lost, len(labels))
    paths = context.workspace.shard_paths("images", shards)
    # Only what is read can be told to have changed meanwhile.
    if make_source(context.config).identity() != identity:
        raise StageError("the files of the source have changed while they were read; run again.")
    seen = _tell_seen(context, source, paths, rows, parts)
    described["provenance"] |= seen
    consolidate(paths, context.workspace.path("real.h5"), shuffle_seed=None, **described)
    counts = np.bincount(parts, minlength=3)
    told = {"train": int(counts[0]), "validation": int(counts[1]), "test": int(counts[2])}
    return told | ({"skipped": len(lost)} if lost else {}) | seen


def _tell_seen(
    context: StageContext, source: Source, paths: Sequence[Path], rows: Rows, parts: npt.NDArray[np.uint8]
) -> dict[str, int]:
    """Warns of validation and test images that equal training images byte by byte; their counts, where there are any.

    Sixteen bytes and a few numbers a row are held.
    """
    from data.identical_images import ids_of_images, rows_seen_in_training
    from data.reading import open_set
    from data.sources import row_names

    seen, twins = rows_seen_in_training(ids_of_images([open_set(path).columns["images"] for path in paths]), parts)
    found: dict[str, int] = {}
    for part, word in ((1, "validation"), (2, "test")):
        here = parts[seen] == part
        count = int(here.sum())
        if count:
            found[f"{word}_seen_in_training"] = count
            first = slice(0, _MOST_NAMED_PAIRS)
            pairs = zip(
                row_names(source, rows[seen[here][first]]), row_names(source, rows[twins[here][first]]), strict=True
            )
            more = f" and {count - _MOST_NAMED_PAIRS:,} more" if count > _MOST_NAMED_PAIRS else ""
            context.warn(
                f"{count:,} {word} images are training images, too, byte by byte: "
                f"{', '.join(f'{one} is {other}' for one, other in pairs)}{more}; what is measured on them flatters."
            )
    return found


def _rows_a_shard(image_shape: tuple[int, int, int]) -> int:
    channels, height, width = image_shape
    return max(1, min(_SHARD_ROWS, _SHARD_BYTES // (channels * height * width)))


def _tell_skipped(context: StageContext, lost: Sequence[Fault], rows: int) -> None:
    """Names the files that were left out in a file of the artifact, and says how many they are."""
    from data.faults import in_words

    context.workspace.path(SKIPPED).write_text(_lines(lost), encoding="utf-8")
    context.warn(
        f"{len(lost):,} of {len(lost) + rows:,} images are left out, as source.damaged is skip: "
        f"{in_words(lost)}; {SKIPPED} names them all."
    )


def _lines(faults: Sequence[Fault]) -> str:
    """A line a file: its name, a tab, and why."""
    from data.faults import printable

    return "".join(f"{printable(fault.name)}\t{printable(fault.reason)}\n" for fault in faults)
