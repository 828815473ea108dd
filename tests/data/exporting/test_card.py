"""The data card: complete, true to the set, harmless to a reader, and valid Croissant for every kind."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from data.errors import ConfigError
from data.exporting.about import About, Step
from data.exporting.card import write_card
from data.exporting.citations import papers_of
from data.exporting.examples import MISSING, choose_examples
from data.exporting.licenses import hub_license, license_urls
from data.exporting.meanings import MEANINGS
from data.labels import KINDS as LABEL_KINDS
from data.labels import Axis, LabelSpace
from data.reading import verify_set
from data.schema import COLUMNS, KINDS


def readme(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("space", "kind"), [*(("class", kind) for kind in KINDS), *((space, "synthetic") for space in LABEL_KINDS[1:])]
)
def test_every_kind_has_a_card_that_mlcroissant_takes(make_set, open_croissant, spaces, tmp_path, space, kind):
    found = make_set(spaces[space], kind)
    write_card(found, tmp_path / "out", About(published="2026-01-31", url="https://example.org/a", creators=("A", "B")))
    dataset = open_croissant(tmp_path / "out" / "croissant.json")
    metadata = dataset.metadata
    assert [each.name for each in metadata.creators] == ["A", "B"]
    assert metadata.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    (file,) = metadata.distribution
    assert file.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert file.encoding_formats == ["application/x-hdf5"]
    assert file.content_url == "the%20set.h5"
    text = readme(tmp_path / "out")
    assert found.content_sha256 in text
    for name, values in found.columns.items():
        assert re.search(rf"^\| `{name}` \| {values.dtype.name} \| {len(values)}\b.* \| \S.+ \|", text, re.MULTILINE)
    assert ("![" in text) == (len(list((tmp_path / "out").glob("*.png"))) > 0)
    assert (tmp_path / "out" / "examples.png").exists() == ("images" in KINDS[kind])


def test_the_day_of_publication_is_only_told_by_a_person(make_set, open_croissant, class_space, tmp_path):
    write_card(make_set(class_space), tmp_path / "out")
    open_croissant(tmp_path / "out" / "croissant.json", "datePublished")
    assert "date" not in json.loads((tmp_path / "out" / "croissant.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_on_the_card_runs(make_set, class_space, tmp_path, monkeypatch, kind):
    found = make_set(class_space, kind)
    write_card(found, tmp_path / "out", with_set=True)
    assert verify_set(tmp_path / "out" / "the set.h5")["content_sha256"] == found.content_sha256
    monkeypatch.chdir(tmp_path / "out")
    blocks = re.findall(r"```python\n(.*?)```", readme(tmp_path / "out"), re.DOTALL)
    assert len(blocks) == 2
    first = {"answers": "teacher_outputs", "draws": "condition", "groups": "positive", "mixes": "first"}.get(
        kind, "images"
    )
    for block in blocks:
        # Five lines are promised.
        assert len(block.strip().splitlines()) == 5
        names: dict[str, object] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(block, names)
        assert np.array_equal(names[first], found.columns[first])


def test_counts_and_thresholds_are_those_of_the_set(make_set, class_space, tmp_path):
    found = make_set(class_space, columns={"labels": np.repeat([0, 2], [20, 3])})
    write_card(found, tmp_path / "out")
    text = readme(tmp_path / "out")
    assert "| 0 | cat | 20 | 87.0% |\n| 1 | dog | 0 | 0.0% |\n| 2 | bird | 3 | 13.0% |" in text
    assert "kept 18 of 30 candidates (60.0%)" in text
    assert "within the quantile 0.6 of all candidates (global)" in text
    assert "Labels are the conditions." in text
    assert f"largest teacher error in the set is {found.columns['teacher_error'].max():.4g}" in text


def test_quantiles_are_those_of_every_dimension(make_set, tmp_path):
    space = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "", -1, 1)))
    labels = np.stack([np.arange(21) * 2, np.linspace(-1, 1, 21)], 1).astype(np.float32)
    write_card(make_set(space, "samples", rows=21, columns={"labels": labels}), tmp_path / "out")
    assert "| yaw | degree | 0 | 2 | 20 | 38 | 40 |\n| tilt |  | -1 | -0.9 |" in readme(tmp_path / "out")


def test_text_of_a_set_does_nothing_on_the_page(make_set, open_croissant, tmp_path):
    space = LabelSpace("class", ("<script>x</script>", "a|b\n# c", "[x](http://y)"))
    found = make_set(space, license="LicenseRef-mine", provenance={"a`|": "<b>\n\n# title"})
    about = About(title="*A* <i>\n# set", published="2026-01-31", creators=("} x {",))
    write_card(found, tmp_path / "out", about)
    text = readme(tmp_path / "out")
    assert "<script" not in text
    assert "<b>" not in text
    assert "<i>" not in text.partition("```bibtex")[0]
    assert "[x](" not in text
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert titles[0] == r"# \*A\* &lt;i&gt; # set"
    assert len(titles) == 9
    assert "{{A* <i> # set}}" not in text
    dataset = open_croissant(tmp_path / "out" / "croissant.json")
    assert dataset.metadata.license == ["LicenseRef-mine"]


def test_equal_sets_give_equal_cards(make_set, label_space, tmp_path):
    found = make_set(label_space)
    for name in ("a", "b"):
        write_card(found, tmp_path / name, About(history=(Step("Generator", {"network": "sngan"}),)))
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["README.md", "croissant.json", "distributions.png", "examples.png"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert "**1. Generator**" in readme(tmp_path / "a")


def test_examples_are_of_the_class_and_range_beside_them(make_set, label_space):
    found = make_set(label_space, rows=400)
    labels = found.columns["labels"]
    chosen = choose_examples(found)
    assert chosen.rows.shape == (len(chosen.left), len(chosen.top) or 10)
    assert (chosen.rows != MISSING).mean() > 0.9
    for place, text in enumerate(chosen.left):
        rows = chosen.rows[place][chosen.rows[place] != MISSING]
        if label_space.has_classes:
            assert len(chosen.left) == 3
            assert {label_space.names[number] for number in label_space.class_part(labels[rows])} == {text}
            continue
        values = label_space.continuous_part(labels[rows])[:, 0]
        width = np.ptp(label_space.continuous_part(labels)[:, 0]) / 10
        # The text is rounded.
        assert np.abs(values - float(text.rstrip("°"))).max() <= width / 2 + 0.1
    for place, text in enumerate(chosen.top):
        rows = chosen.rows[:, place][chosen.rows[:, place] != MISSING]
        values = label_space.continuous_part(labels[rows])[:, -1]
        width = np.ptp(label_space.continuous_part(labels)[:, -1]) / 10
        assert np.abs(values - float(text.split()[0].rstrip("°"))).max() <= width / 2 + 0.1


def test_the_picture_shows_the_pixels(make_set, class_space, tmp_path):
    images = np.zeros((23, 3, 60, 40), np.uint8)
    images[:, 1] = 200
    found = make_set(class_space, columns={"images": images})
    write_card(found, tmp_path / "out")
    shown = (choose_examples(found).rows != MISSING).sum()
    assert shown >= 20
    with Image.open(tmp_path / "out" / "examples.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (pixels == (0, 200, 0)).all(axis=1).sum() == shown * 60 * 40


def test_large_images_are_shown_smaller(make_set, class_space, tmp_path):
    images = np.full((6, 1, 300, 200), 10, np.uint8)
    write_card(make_set(class_space, rows=6, columns={"images": images}), tmp_path / "out")
    with Image.open(tmp_path / "out" / "examples.png") as picture:
        assert picture.width < 1000
        assert (np.asarray(picture.convert("L")) == 10).any()


def test_every_column_has_a_meaning():
    assert set(MEANINGS) == set(COLUMNS)


@pytest.mark.parametrize(
    ("expression", "urls", "hub"),
    [
        ("CC-BY-4.0", ["https://spdx.org/licenses/CC-BY-4.0.html"], {"license": "cc-by-4.0"}),
        ("GPL-3.0-or-later", ["https://spdx.org/licenses/GPL-3.0-or-later.html"], {"license": "gpl-3.0"}),
        ("NOASSERTION", ["NOASSERTION"], {"license": "unknown"}),
        (
            "MIT AND CC-BY-4.0",
            ["https://spdx.org/licenses/MIT.html", "https://spdx.org/licenses/CC-BY-4.0.html"],
            {"license": "other", "license_name": "mit-and-cc-by-4.0"},
        ),
        ("MIT OR ISC", ["MIT OR ISC"], {"license": "other", "license_name": "mit-or-isc"}),
        ("LicenseRef-ours", ["LicenseRef-ours"], {"license": "other", "license_name": "licenseref-ours"}),
    ],
)
def test_licences_are_written_as_others_write_them(expression, urls, hub):
    assert license_urls(expression) == urls
    assert hub_license(expression) == hub


def test_papers_are_those_that_made_the_set(make_set, class_space, spaces):
    def keys(found, about=About()):  # noqa: B008
        return [re.search(r"\{([\w-]+),", paper).group(1) for paper in papers_of(found, about)]

    assert keys(make_set(class_space, "real", name="a.h5")) == ["alpaydin1998digits"]
    assert keys(make_set(class_space, "candidates", name="b.h5")) == ["ding2023distilling", "ding2023efficient"]
    assert keys(make_set(class_space, "synthetic", name="c.h5")) == ["ding2023distilling"]
    made = About(source="fashion_mnist", history=(Step("Candidates", {"subsample": "yes"}),))
    assert keys(make_set(class_space, "synthetic", name="d.h5"), made) == [
        "xiao2017fashion",
        "ding2023distilling",
        "ding2023efficient",
    ]
    assert keys(make_set(spaces["scalar"], "synthetic", name="e.h5")) == ["ding2023distilling", "ding2023ccgan"]
    assert keys(make_set(class_space, "mixes", name="f.h5", provenance={"kind": "cutmix"})) == ["yun2019cutmix"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "1"}, "version must be MAJOR.MINOR.PATCH"),
        ({"published": "31.1.2026"}, "published must be a day as YYYY-MM-DD"),
        ({"url": "javascript:x"}, "url must be an address"),
        ({"creators": (" ",)}, "creators must be names"),
    ],
)
def test_what_is_told_must_have_a_form(options, message):
    with pytest.raises(ConfigError, match=message):
        About(**options)


def test_values_on_a_coarse_grid_get_a_row_each_and_gaps_none(make_set):
    space = LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("tilt", "", -1, 1)))
    labels = np.array([[30, 0.5], [60, 0.5], [30, -1], [30, 0.5]] * 5, np.float32)
    chosen = choose_examples(make_set(space, "samples", rows=20, columns={"labels": labels}))
    assert chosen.left == ("30°", "60°")
    assert chosen.top == ("-1", "0.5")
    assert chosen.rows.tolist() == [[2, 0], [MISSING, 1]]
    far = np.r_[np.linspace(0, 1, 19), 100].astype(np.float32)
    single = choose_examples(make_set(LabelSpace("scalar"), "samples", name="b.h5", rows=20, columns={"labels": far}))
    assert single.left == ("5", "95")
    assert single.rows[0].tolist() == list(range(10))
    assert single.rows[1][0] == 19
