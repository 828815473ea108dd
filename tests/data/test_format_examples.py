from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.checking import ATTRIBUTE_BYTES
from data.describing import SAMPLED_IMAGES
from data.digests import ContentDigest, attribute_digests, block_digest
from data.labels import LabelSpace
from data.random import derive_seed, row_seeds
from data.reading import open_set
from data.schema import COLUMNS, KINDS
from data.writing import shuffled_order, write_set

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "read_set.py"


@pytest.fixture(scope="module")
def read_set() -> Any:
    spec = importlib.util.spec_from_file_location("read_set", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read_set


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 9, 4100])
def test_the_example_reads_a_set_of_every_kind(
    tmp_path: Path, read_set: Any, make_columns: Any, label_space: LabelSpace, kind: str, rows: int
) -> None:
    written = make_columns(label_space, rows, *KINDS[kind])
    path = tmp_path / "s.h5"
    write_set(path, written, kind=kind, label_space=label_space, provenance={"é": 1}, license="MIT", shuffle_seed=4)
    header, columns = read_set(path)
    found = open_set(path)
    assert sorted(columns) == sorted(found.columns) == sorted(written)
    for name, values in columns.items():
        assert values.dtype == found.columns[name].dtype
        assert np.array_equal(values, found.columns[name]), name
    assert (header["kind"], header["content_sha256"], header["license"]) == (kind, found.content_sha256, "MIT")


def test_the_example_refuses_what_is_damaged_or_no_set(tmp_path: Path, read_set: Any, make_columns: Any) -> None:
    path = tmp_path / "s.h5"
    space = LabelSpace("class", ("a", "b"))
    write_set(
        path, make_columns(space, 9, *KINDS["real"]), kind="real", label_space=space, provenance={}, license="MIT"
    )
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        content[file["split"].id.get_offset()] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        read_set(path)
    with h5py.File(path, "a") as file:
        del file.attrs["complete"]
    with pytest.raises(ValueError, match="is no complete set"):
        read_set(path)


def test_the_example_is_short_needs_h5py_and_numpy_alone_and_runs(tmp_path: Path, make_columns: Any) -> None:
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported - set(sys.stdlib_module_names) == {"h5py", "numpy"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line and "import " not in line]
    assert len([line for line in lines if '"""' not in line]) <= 20
    space = LabelSpace("class", ("a", "b"))
    columns = make_columns(space, 9, *KINDS["samples"])
    write_set(tmp_path / "s.h5", columns, kind="samples", label_space=space, provenance={}, license="MIT")
    shown = subprocess.run(
        [sys.executable, "-I", str(EXAMPLE), str(tmp_path / "s.h5")], capture_output=True, text=True, check=True
    )
    assert "'images': ('uint8', (9, 1, 3, 4))" in shown.stdout
    assert "'kind': 'samples'" in shown.stdout


def test_the_figures_on_the_page_are_those_of_the_code() -> None:
    page = (DOCS / "data-format.md").read_text(encoding="utf-8")
    content = ContentDigest()
    columns = {"negative": np.array([[2], [2]]), "positive": np.array([[0], [1]])}
    for name, values in columns.items():
        content.begin(name, values.dtype, values.shape)
        content.update(values)
    for figure in (
        f"content_sha256        {content.hexdigest()}",
        f"digests/negative      {block_digest(columns['negative']).tobytes().hex()}",
        f"of block_rows (4096)  {json.loads(attribute_digests({'block_rows': 4096}))['block_rows']}",
        f"key(0) is {row_seeds(derive_seed('shuffle', 0), np.arange(1))[0]}, and 8 rows come in the order "
        f"{' '.join(map(str, shuffled_order(8, 0)))}.",
        f"base is {derive_seed('shuffle', 0)},",
        f"at most {SAMPLED_IMAGES:,}:",
        f"at most {ATTRIBUTE_BYTES >> 20} MiB;",
    ):
        assert figure in page, figure


def tables_of(page: str, heading: str) -> list[dict[str, list[str]]]:
    """The tables below a heading whose rows begin with a name: cells of each row by that name."""
    lines = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    tables: list[dict[str, list[str]]] = [{}]
    for line in lines:
        if line.startswith("| `"):
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            tables[-1][name.strip("`")] = cells
        elif tables[-1]:
            tables.append({})
    return [table for table in tables if table]


def test_the_page_tells_of_every_column_and_kind() -> None:
    page = (DOCS / "data-format.md").read_text(encoding="utf-8")
    _, told, *rest = tables_of(page, "Columns")
    tables = [told, *rest]
    for name, column in COLUMNS.items():
        kind = "label" if column.dtype is None else np.dtype(column.dtype).name
        assert told[name][0] == kind, name
        if column.dtype is not None:
            assert told[name][1] == f"({', '.join(('N', *column.axes))})", name
    required, meant = tables[1], tables[2]
    for kind, names in KINDS.items():
        assert required[kind][0].split(", ") == list(names), kind
        assert meant[kind][0], kind
