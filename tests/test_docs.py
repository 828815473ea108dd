"""The documents say what is there: a card for every method, commands that exist, files that exist."""

import dataclasses
import re
from pathlib import Path

import pytest

from flows.cli import app
from students.methods import methods

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_a_card_that_names_its_options(name):
    card = (ROOT / "docs" / "methods" / f"{name}.md").read_text()
    assert card.startswith(f"# {name}: ")
    for option in dataclasses.fields(methods.get(name)):
        assert f"`{option.name}` = {option.default}" in card


def test_there_are_methods():
    assert len(methods.names()) >= 4


def test_commands_of_the_readme_exist():
    readme = (ROOT / "README.md").read_text()
    used = set(re.findall(r"^\s*(?:\.venv/bin/)?stillhouse (\w+)", readme, re.MULTILINE))
    known = {command.name or command.callback.__name__ for command in app.registered_commands} | {"data"}
    assert len(used) >= 6
    assert used <= known


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    for link in links:
        assert link.startswith("https://") or (path.parent / link).exists(), link
