"""Stage ``prepare``: reads a source, splits it, writes the real set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.plan import make_source

if TYPE_CHECKING:
    from flows.execute import StageContext

VERSION = 1
_BLOCK_ROWS = 8192


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``real.h5``: training, validation and test images with their labels."""
    import numpy as np

    from data.random import derive_seed
    from data.splitting import split_rows
    from data.writing import consolidate, write_set

    source = make_source(context.config)
    options = context.config.prepare
    labels, space = source.labels(), source.label_space
    rows, parts = split_rows(labels, source.pool(), space, **options.model_dump())
    order = np.random.default_rng(derive_seed(options.seed, "shuffle")).permutation(len(rows))
    rows, parts = rows[order], parts[order]
    described: dict[str, Any] = {
        "kind": "real",
        "label_space": space,
        "license": source.license,
        "provenance": {
            "source": source.identity(),
            "homepage": source.homepage,
            "prepare": options.model_dump(mode="json"),
        },
    }
    shards = -(-len(rows) // _BLOCK_ROWS)
    for number, path in context.workspace.shards("images", shards):
        chosen = rows[number * _BLOCK_ROWS : (number + 1) * _BLOCK_ROWS]
        columns = {
            "images": source.images(chosen),
            "labels": labels[chosen].astype(space.dtype),
            "split": parts[number * _BLOCK_ROWS : (number + 1) * _BLOCK_ROWS],
            "source_row": chosen.astype(np.int64),
        }
        write_set(path, columns, **described)
    paths = context.workspace.shard_paths("images", shards)
    consolidate(paths, context.workspace.path("real.h5"), shuffle_seed=None, **described)
    counts = np.bincount(parts, minlength=3)
    return {"train": int(counts[0]), "validation": int(counts[1]), "test": int(counts[2])}
