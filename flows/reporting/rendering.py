"""Templates of this folder and of those below it, filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flows.reporting import wording

_HERE = Path(__file__).resolve().parent


def render(template: str, **values: Any) -> str:
    """A whole page as HTML, with the house's style in it; every value passes through Jinja's escaping.

    Args:
        template: name of the template.
        values: what it shows.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=wording.number, count=wording.count, share=wording.share, duration=wording.duration
    )
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **values)
