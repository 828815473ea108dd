"""Sections of sources and the sources themselves: the same options with the same defaults."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic_core import PydanticUndefined

from data.errors import ConfigError
from data.sources import sources
from flows.loading import check_config, load_config
from flows.plan import make_source
from flows.source_config import SOURCE_KINDS, Source

SECTIONS = {section.model_fields["kind"].annotation.__args__[0]: section for section in get_args(get_args(Source)[0])}


def default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return PydanticUndefined if field.default is dataclasses.MISSING else field.default


def test_every_source_has_a_section() -> None:
    assert sorted(SECTIONS) == sorted(SOURCE_KINDS) == sources.names()


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_options_and_defaults_agree(kind: str) -> None:
    told = {name: field.default for name, field in SECTIONS[kind].model_fields.items() if name != "kind"}
    taken = {field.name: default_of(field) for field in dataclasses.fields(sources.get(kind)) if field.init}
    assert taken == told


def test_configurations_of_the_page_are_accepted(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    own = page[page.index("## Your own data") :]
    examples = re.findall(r"^ *```yaml\n(.*?)^ *```", own, re.MULTILINE | re.DOTALL)
    kinds = []
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        path.write_text(textwrap.dedent(example), encoding="utf-8")
        config = load_config(path)
        make_source(config)
        kinds.append(config.source.kind)
    assert kinds == ["image_folder", "image_table", "arrays", "hdf5", "parquet"]


def test_classes_may_be_whole_numbers() -> None:
    config = check_config({"source": {"kind": "image_folder", "folder": "a", "classes": [1, "2", 10]}}, "test")
    assert config.source.classes == ("1", "2", "10")
    with pytest.raises(ConfigError, match=r"source\.classes\.1.* must be text, got 1\.5"):
        check_config({"source": {"kind": "image_folder", "folder": "a", "classes": [1, 1.5]}}, "test")
