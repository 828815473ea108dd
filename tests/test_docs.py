"""The documents say what is there: a card for every method, commands that exist, files that exist."""

import dataclasses
import re
from pathlib import Path

import pytest

from data.labels import LabelSpace
from flows.cli import app
from flows.filter_config import Audit, Autoencoder, Candidates, Ratio, Synthetic, Tuning
from generators.networks import networks
from students.methods import make_method, methods

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_a_card_that_names_its_options(name):
    card = (ROOT / "docs" / "methods" / f"{name}.md").read_text()
    assert card.startswith(f"# {name}: ")
    for option in dataclasses.fields(methods.get(name)):
        assert f"`{option.name}` = {option.default}" in card


def test_the_index_of_methods_lists_each_with_its_needs_and_labels():
    index = (ROOT / "docs" / "methods" / "README.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", index, re.MULTILINE)
    assert sorted(row[0] for row in rows) == methods.names()
    for name, card, needs, labels in rows:
        method = make_method(name)
        assert card == name
        assert set(re.findall(r"`(\w+)`", needs)) == method.needs - {"labels"}
        assert set(labels.split(", ")) == method.tasks


@pytest.mark.parametrize("name", networks.names())
def test_every_generator_has_a_card_that_names_its_options_and_labels(name):
    family = networks.get(name)
    card = (ROOT / "docs" / "generators" / f"{name}.md").read_text()
    assert card.startswith(f"# {name}: ")
    options = dataclasses.fields(family)
    for option in options:
        default = str(option.default).lower() if isinstance(option.default, bool) else option.default
        assert f"| `{option.name}` | {default} |" in card
    assert len(re.findall(r"^\| `", card, re.MULTILINE)) == len(options)
    labels = re.search(r"\*\*Labels\*\*: ([^.]+)\.", card).group(1)
    assert {kind.removesuffix("es") for kind in labels.split(", ")} == family.label_kinds
    assert set(re.findall(r"arXiv\s+(\d{4}\.\d{5})", family.__doc__)) <= set(
        re.findall(r"arXiv\s+(\d{4}\.\d{5})", card)
    )


@pytest.mark.parametrize("name", networks.names())
def test_the_parameters_on_a_card_are_those_of_the_networks(name):
    family = networks.get(name)()
    classes = "class" in family.label_kinds
    space = LabelSpace("class", tuple("abcdefghij")) if classes else LabelSpace("scalar")
    card = (ROOT / "docs" / "generators" / f"{name}.md").read_text()
    for half in (family.generator((3, 32, 32), space), family.discriminator((3, 32, 32), space)):
        own = {key: value for key, value in half.named_parameters() if not key.startswith("embedding.")}
        assert f"{sum(value.numel() for value in own.values()):,}" in card


def test_there_are_generators():
    assert len(networks.names()) >= 7


def test_there_are_methods():
    assert len(methods.names()) >= 25


def test_commands_of_the_readme_exist():
    readme = (ROOT / "README.md").read_text()
    used = set(re.findall(r"^\s*(?:\.venv/bin/)?stillhouse (\w+)", readme, re.MULTILINE))
    known = {command.name or command.callback.__name__ for command in app.registered_commands} | {"data"}
    assert len(used) >= 6
    assert used <= known


def test_pages_of_the_filters_name_every_key_of_their_sections():
    text = "\n".join(page.read_text() for page in sorted((ROOT / "docs" / "filters").glob("*.md")))
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`\n]+)`", text))))
    sections = (Autoencoder, Ratio, Candidates, Tuning, Synthetic, Audit)
    keys = {key for section in sections for key in section.model_fields}
    # Where labels and images of candidates come from is told with the generators and the sampling.
    assert keys - named == {"labels", "file", "resize", "truncation"} - named
    assert len(keys) >= 40


DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_there_are_documents():
    assert len(DOCUMENTS) >= 25


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = ROOT / document
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text()):
        if target.startswith("https://"):
            continue
        found = path.parent / target if target else path
        assert found.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, anchor
