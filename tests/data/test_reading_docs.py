"""What docs/reading.md shows runs as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from data.labels import LabelSpace
from data.writing import write_set

PAGE = (Path(__file__).parents[2] / "docs" / "reading.md").read_text(encoding="utf-8")


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (300, 3, 4, 4), dtype=np.uint8)
    columns = {"images": images, "labels": np.arange(300) % 2, "seed": np.arange(300, dtype=np.uint64)}
    space = LabelSpace("class", ("a", "b"))
    write_set(Path("synthetic.h5"), columns, kind="samples", label_space=space, provenance={}, license="CC0-1.0")
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)]
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(block.replace("range(1000)", "range(9)"), names)
    assert names["batch"]["images"].shape == (128, 3, 4, 4)  # type: ignore[index]
    assert names["images"].shape == (128, 3, 4, 4)  # type: ignore[attr-defined]
    assert len(list(names["loader"])) == 1000  # type: ignore[call-overload]
