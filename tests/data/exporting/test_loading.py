"""What README files and the page on exports tell a reader to paste runs, and gives what the set holds."""

from __future__ import annotations

import contextlib
import gc
import io
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest

from data.errors import DataError
from data.exporting.card import write_card
from data.exporting.image_folder import export_image_folder
from data.exporting.parquet import export_parquet
from data.exporting.webdataset import export_webdataset

PAGE = Path(__file__).parents[3] / "docs" / "exporting-sets.md"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs code in a folder, as a reader would who has no network, and gives its variables and what it prints."""

    def run(code, folder):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        import datasets

        datasets.disable_progress_bars()
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        names: dict[str, object] = {}
        printed = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            # webdataset leaves its files to the collector; mlcroissant's parser and its use of pandas are outdated.
            warnings.simplefilter("ignore", ResourceWarning)
            warnings.filterwarnings("ignore", "ConjunctiveGraph", DeprecationWarning)
            warnings.filterwarnings("ignore", "The inplace keyword")
            exec(code, names)
            found = {name: value for name, value in names.items() if name not in ("samples", "__builtins__")}
            names.clear()
            gc.collect()
        return found, printed.getvalue()

    return run


def blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("export", [export_image_folder, export_parquet, export_webdataset])
def test_a_set_without_rows_has_a_card_and_no_export(make_set, label_space, tmp_path, export):
    found = make_set(label_space, rows=0)
    with pytest.raises(DataError, match="must have at least one row to be exported"):
        export(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_card(found, tmp_path / "out")
    assert "| rows | 0 |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("kind", ["class", "scalar"])
@pytest.mark.parametrize("export", [export_image_folder, export_parquet, export_webdataset])
def test_the_code_in_each_readme_gives_an_image(make_set, spaces, tmp_path, run, export, kind):
    found = make_set(spaces[kind])
    export(found, tmp_path / "out")
    codes = blocks(tmp_path / "out" / "README.md")
    assert len(codes) == {"export_image_folder": 1 + (kind == "class"), "export_parquet": 2}.get(export.__name__, 1)
    pictures = []
    for code in codes:
        names, _ = run(code, tmp_path / "out")
        pictures.append(names["image"] if "image" in names else names["images"][0]["image"])
    images = found.columns["images"]
    for picture in pictures:
        pixels = np.asarray(picture)
        if pixels.dtype != np.uint8:
            pixels = np.round(pixels * 255).astype(np.uint8)
        # ImageFolder begins with the first image of the first class by name.
        assert any(np.array_equal(pixels.transpose(2, 0, 1), image) for image in images)
        assert pixels.shape == (5, 4, 3)


def test_commands_and_code_of_the_page_run(make_set, class_space, tmp_path, run, monkeypatch, capsys):
    from flows.cli import main

    images = np.random.default_rng(0).integers(0, 256, (23, 3, 5, 4), dtype=np.uint8)
    found = make_set(class_space, name="set.h5", columns={"images": images})
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    stillhouse (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert main(shlex.split(command)) == 0
    capsys.readouterr()
    codes = blocks(PAGE)
    assert len(codes) == 5
    told = [run(code, tmp_path) for code in codes]
    assert told[0][0]["rows"][0]["teacher_error"] == str(found.columns["teacher_error"][0])
    assert told[1][1] == "['cat', 'dog', 'bird'] (4, 5)\n"
    assert told[2][1] == f"{found.columns['labels'][0]}\n"
    picture, number = told[3][0]["picture"], told[3][0]["number"]
    assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), images[0])
    assert number == found.columns["labels"][0]
    assert np.array_equal(told[4][0]["images"], images)
