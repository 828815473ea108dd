"""Text of a set in Markdown, where it must do nothing but be read."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence


def plain(text: str) -> str:
    """Text on one line, with nothing in it that Markdown, HTML or mathematics in Markdown would act on."""
    line = html.escape(" ".join(text.split()), quote=False)
    # Within a word an underscore does nothing, and names of options are full of them.
    return re.sub(r"([\\`*\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", line)


def code(text: str) -> str:
    """Text within backticks."""
    return text.replace("`", "'")


def fenced(text: str) -> str:
    """Text within a block of code."""
    return text.replace("```", "'''")


def table(rows: Mapping[str, str]) -> str:
    """Names and what they stand for."""
    return grid(["", ""], [[name, value] for name, value in rows.items()])


def grid(names: Sequence[str], lines: Iterable[Sequence[str]], code: tuple[int, ...] = ()) -> str:
    """A table; columns in ``code`` are Markdown already."""
    text = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for line in lines:
        cells = [cell if place in code else plain(cell).replace("|", "\\|") for place, cell in enumerate(line)]
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)
