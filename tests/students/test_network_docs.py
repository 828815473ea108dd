"""``docs/networks.md`` says what the networks are."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
from pathlib import Path

import pytest
import torch
import yaml

from data.labels import LabelSpace
from students.cost import multiply_adds
from students.model import build_model, parameter_count
from students.networks import make_network, networks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "networks.md").read_text()
ROWS = re.findall(r"^\| ([\w .-]+) \| `(\w+)` \| `(\{.*\})` \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("name", networks.names())
def test_every_network_is_listed_with_its_options(name: str) -> None:
    row = re.findall(rf"^\| `{name}` \| (.*)$", PAGE, re.MULTILINE)[0]
    for item in inspect.signature(networks.get(name)).parameters.values():
        if item.kind is item.KEYWORD_ONLY and item.default != "":
            default = str(item.default).lower() if isinstance(item.default, bool) else item.default
            quoted = repr(default) if isinstance(default, str) and default[0].isdigit() else default
            assert f"`{item.name}` = {quoted}" in row
    arxiv = re.findall(r"arXiv (\d{4}\.\d{5})", inspect.getdoc(inspect.getmodule(networks.get(name))) or "")
    assert all(number in row for number in arxiv)


@pytest.mark.parametrize(("name", "network", "options", "parameters", "cost"), ROWS)
def test_sizes_on_the_page_are_those_of_the_networks(
    name: str, network: str, options: str, parameters: str, cost: str
) -> None:
    built = make_network(network, yaml.safe_load(options), (3, 32, 32), 100)
    assert f"{parameter_count(built):,}" == parameters
    if int(parameters.replace(",", "")) < 4_000_000:  # the others would take seconds
        assert f"{multiply_adds(built, (3, 32, 32)):,}" == cost


def test_the_page_has_the_rows_that_the_program_prints() -> None:
    zoo = runpy.run_path(str(ROOT / "benchmarks" / "network_sizes.py"), run_name="not main")["ZOO"]
    assert [(row[0], row[1], yaml.safe_load(row[2])) for row in ROWS] == [tuple(row) for row in zoo]


@pytest.mark.parametrize("row", re.findall(r"^\| (`.*`) \| [^|]*[234] \|(.*→.*)\|$", PAGE, re.MULTILINE))
def test_the_table_of_small_images(row: tuple[str, str]) -> None:
    named, cells = row
    space = LabelSpace("scalar")
    for network in ast.literal_eval(f"[{named.replace('`', chr(39))}]"):
        for cell in cells.split("|"):
            side, last = (int(part) for part in cell.split("→"))
            model = build_model(network, None, (1, side, side), space, [0.0], [1.0]).eval()
            with torch.no_grad():
                assert model.with_features(torch.zeros(1, 1, side, side))[1].maps[-1].shape[2] == last


def test_the_network_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = PAGE.split("```python\n")[1].split("```")[0]
    (tmp_path / "networks_of_the_page.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    network = make_network("factory", {"factory": "networks_of_the_page:make", "channels": 12}, (2, 9, 9), 4)
    assert network(torch.zeros(3, 2, 9, 9)).shape == (3, 4)


def test_the_page_was_read() -> None:
    assert len(ROWS) >= 25
    assert len(re.findall(r"^\| (`.*`) \| [^|]*[234] \|(.*→.*)\|$", PAGE, re.MULTILINE)) == 4
