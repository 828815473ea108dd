"""Cards of sets with odd names, classes and kinds: BibTeX, descriptions, code and pictures that hold."""

from __future__ import annotations

import ast
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from data.errors import ConfigError
from data.exporting.about import About, description_of, title_of
from data.exporting.card import write_card
from data.exporting.citations import cite_set
from data.exporting.examples import choose_examples
from data.exporting.markdown import plain
from data.labels import LabelSpace
from data.schema import KINDS


def readme(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def test_bibtex_holds_whatever_is_told(make_set, class_space):
    about = About(
        title=r"50% of a_b & #1 for $2 ~ ^ \dog",
        creators=("Ann & Bob", "O{Neil", "Ünal {ABC}"),
        publisher="x_y",
        url="https://example.org/a_b?c=%20#d{e",
        published="2026-01-31",
    )
    text = cite_set(make_set(class_space), about)
    title = r"50\% of a\_b \& \#1 for \$2 \textasciitilde{} \textasciicircum{} \textbackslash{}dog"
    assert f"  title = {{{{{title}}}}}," in text
    assert r"  author = {{Ann \& Bob} and {O(Neil} and {Ünal {ABC}}}," in text
    assert r"  publisher = {x\_y}," in text
    assert "  url = {https://example.org/a_b?c=%20#d%7Be}," in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("source", "shown"), [("fashion_mnist", "Fashion-MNIST"), ("cifar10", "CIFAR-10"), ("a_b", "a_b")]
)
def test_sources_have_the_names_that_people_write(make_set, class_space, source, shown):
    found = make_set(class_space, "real", provenance={"source": {"name": source}})
    assert title_of(found, About()) == f"{shown}: real images"
    assert f"from the data set {shown}." in description_of(found, About())
    assert "_" not in cite_set(found, About()).replace(r"\_", "")


@pytest.mark.parametrize("kind", KINDS)
def test_descriptions_say_what_the_rows_are(make_set, class_space, kind):
    text = description_of(make_set(class_space, kind, rows=1200), About())
    assert text.startswith("1,200 ")
    assert "rows of" not in text or kind in ("groups", "mixes", "answers")
    # Rows without images have no label of their own.
    assert ("whose images are each labelled" in text) == (kind in ("answers", "groups", "mixes"))
    assert ("both their labels" in text) == (kind == "mixed")


def test_a_card_of_mixed_images_says_that_one_label_is_half(make_set, class_space, tmp_path):
    write_card(make_set(class_space, "mixed"), tmp_path / "out")
    text = readme(tmp_path / "out")
    assert "Each image has two labels, `labels` of its first and `other_labels` of its second image" in text
    assert "the label of the first of two images that are mixed: half of the truth" in text


@pytest.mark.parametrize(("channels", "words"), [(1, "one channel (grey)"), (3, "channels (red, green, blue)")])
def test_channels_are_those_of_the_images(make_set, class_space, tmp_path, channels, words):
    write_card(make_set(class_space, channels=channels), tmp_path / "out")
    assert f"images, rows first, then {words}, height" in readme(tmp_path / "out")


def test_classes_of_a_split_set_are_counted_in_each_split(make_set, class_space, tmp_path):
    columns = {"labels": np.repeat([0, 1, 2], [20, 2, 1]), "split": np.r_[np.repeat([0, 1, 2], [10, 6, 4]), 0, 1, 2]}
    columns["split"] = columns["split"].astype(np.uint8)
    write_card(make_set(class_space, "real", columns=columns), tmp_path / "out")
    text = readme(tmp_path / "out")
    assert "| number | class | rows | share | train | validation | test |" in text
    assert "| 0 | cat | 20 | 87.0% | 10 | 6 | 4 |\n| 1 | dog | 2 | 8.7% | 1 | 1 | 0 |" in text


@pytest.mark.parametrize("name", ["README.md", "croissant.json", "examples.png", "distributions.png", "readme.MD"])
@pytest.mark.parametrize("with_set", [False, True])
def test_a_set_called_as_a_file_of_the_card_is_refused(make_set, class_space, tmp_path, name, with_set):
    found = make_set(class_space, name=name)
    with pytest.raises(ConfigError, match="a card must name a set beside itself"):
        write_card(found, tmp_path / "out", with_set=with_set)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ['a"b.h5', "it's.h5", "a\\b.h5", "a`b c.h5", "dé $x.h5"])
def test_code_on_a_card_parses_whatever_the_name(make_set, class_space, tmp_path, name):
    write_card(make_set(class_space, name=name), tmp_path / "out")
    text = readme(tmp_path / "out")
    for block in re.findall(r"```python\n(.*?)```\n", text, re.DOTALL):
        strings = [node.value for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant)]
        assert name in strings
    command = re.search(r"^`(?:` )?(stillhouse data verify .*?)(?: `)?` compares", text, re.MULTILINE).group(1)
    assert shlex.split(command)[-1] == name


@pytest.mark.parametrize("published", ["20260102", "2026-W01-2", "2026-1-2", "2026-02-30"])
def test_days_have_one_form(published):
    with pytest.raises(ConfigError, match="published must be a day as YYYY-MM-DD"):
        About(published=published)


def test_markdown_acts_on_nothing():
    assert plain("_a_ per_label ~~b~~ $c$ __d") == r"\_a\_ per_label \~\~b\~\~ \$c\$ \_\_d"


def test_classes_without_images_have_no_row_of_pictures(make_set):
    space = LabelSpace("class", tuple(f"c{number}" for number in range(60)))
    labels = np.repeat([3, 50, 59], [10, 12, 1])
    chosen = choose_examples(make_set(space, "samples", columns={"labels": labels}))
    assert chosen.left == ("c3", "c50", "c59")
    assert chosen.rows[1].tolist() == list(range(10, 20))


@pytest.mark.parametrize(("classes", "letters"), [(2, 3), (10, 3), (10, 16), (37, 3), (40, 200), (41, 16)])
def test_every_class_has_room_in_the_picture(make_set, tmp_path, classes, letters):
    space = LabelSpace("class", tuple(f"{number:03d}" + "x" * (letters - 3) for number in range(classes)))
    labels = np.r_[np.arange(classes), np.zeros(20, int)]
    write_card(make_set(space, rows=classes + 20, columns={"labels": labels}), tmp_path / "out")
    with Image.open(tmp_path / "out" / "distributions.png") as picture:
        width, height = picture.size
    lying = classes <= 40 and classes * (letters + 2) >= 56
    # At 150 dots an inch: a row of its own of 28 dots a class, or no higher than the other panels.
    assert (height >= 375 + 28 * classes) == lying
    assert width == (1320 if lying else 1980)


def test_names_without_a_glyph_warn_of_nothing(make_set, tmp_path):
    names = ("犬" * 12, "Éléphant d'Asie", "$x_1$ \x07", "猫" * 12, "鳥" * 20)
    # A warning would be an error here.
    write_card(make_set(LabelSpace("class+scalar", names, "長さ", "尺")), tmp_path / "out")
    assert (tmp_path / "out" / "distributions.png").exists()
