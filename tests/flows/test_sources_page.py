from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter

from data.sources import sources
from flows import plan, preflight
from flows.execute import Selection
from flows.loading import check_config
from flows.source_config import SOURCE_KINDS, Source

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
#: Configurations on the page, fenced or indented.
FENCED = re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
INDENTED = re.findall(r"^ +source:.*\n(?: +.*\n)*", re.sub(r"(?s)```.*?```", "", PAGE), re.MULTILINE)
LOADED = [yaml.safe_load(dedent(text)) for text in (*FENCED, *INDENTED)]
SNIPPETS = [loaded["source"] for loaded in LOADED if "source" in loaded]
KINDS: Any = get_args(get_args(Source)[0])
SECTIONS: dict[str, Any] = {item.model_fields["kind"].annotation.__args__[0]: item for item in KINDS}


def section_of(kind: str) -> str:
    found = re.search(rf"^##+ `?{kind}`?(?::[^\n]*)?\n(.*?)(?=^##+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, kind
    return found.group(1)


def test_every_source_is_on_the_page_with_a_snippet() -> None:
    assert sorted(SECTIONS) == sorted(SOURCE_KINDS) == sources.names()
    assert {snippet["kind"] for snippet in SNIPPETS} == set(SOURCE_KINDS)
    assert all(f"`{kind}`" in PAGE for kind in SOURCE_KINDS)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: str(snippet["kind"]))
def test_the_snippets_are_configurations_and_make_sources(snippet: dict[str, Any]) -> None:
    section = TypeAdapter(Source).validate_python(snippet).model_dump()
    kind = section.pop("kind")
    assert sources.get(kind)(**section).homepage is not None


def defaults_in(text: str) -> dict[str, str]:
    """Options in the tables of a part of the page, of which a line may have several, with their defaults."""
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \|", text, re.MULTILINE):
        pairs = zip(names.split(", "), defaults.split(", "), strict=True)
        told |= {name.strip("`"): default.strip("`") for name, default in pairs}
    return told


def wanted(field: Any) -> str:
    if field.is_required():
        return "required"
    return "unset" if field.default is None else "empty" if field.default in ("", ()) else str(field.default)


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_every_option_stands_there_with_its_default(kind: str) -> None:
    own = kind in ("image_folder", "image_table", "arrays", "hdf5", "parquet")
    told = (defaults_in(section_of("What all five share")) if own else {}) | defaults_in(section_of(kind))
    fields = {name: field for name, field in SECTIONS[kind].model_fields.items() if name != "kind"}
    assert {name: told.get(name) for name in fields} == {name: wanted(field) for name, field in fields.items()}
    # The page names no option that the source does not have; two of the five have no image files.
    assert set(defaults_in(section_of(kind))) <= set(fields)


class Planned:
    """A source whose files nobody has: planning asks for its identity alone."""

    def identity(self) -> dict[str, Any]:
        return {"name": "planned"}


@pytest.mark.parametrize(
    "loaded", [item for item in LOADED if "source" in item], ids=lambda item: item["source"]["kind"]
)
def test_stage_prepare_of_every_snippet_can_be_planned(loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "make_source", lambda config: Planned())
    monkeypatch.setattr(preflight, "make_source", lambda config: Planned())
    config = check_config(loaded, "page")
    chosen = Selection(only="prepare").chosen(plan.make_plan(config))
    assert [node.stage for node in chosen] == ["prepare"]
    preflight.check_labels(config, {node.stage for node in chosen})
    # A whole run asks for the labels.
    with pytest.raises(AttributeError, match="label_space"):
        preflight.check_labels(config)
