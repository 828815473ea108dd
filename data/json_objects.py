"""JSON that others wrote: an object of distinct names, finite numbers and little depth, or a sentence on why not."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from data.errors import DataError

# An attribute longer than this is no description of a set; and JSON unpacks to some twenty times its length.
ATTRIBUTE_BYTES = 1 << 22
# Whoever walks through a provenance may do it by recursion.
_DEPTH = 64
# Marks that begin a value or part two: what is read takes some hundred bytes of memory for each. Those within a text
# count, too, so that nothing is parsed to count them.
_MARKS = 400_000
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def parse_object(where: str, name: str, text: str | int) -> dict[str, Any]:
    """An attribute that is a JSON object, as strictly as it is read; the writer asks before it writes one.

    Args:
        where: the file, for messages.
        name: of the attribute.
        text: its value.

    Raises:
        DataError: if it is too long, nested too deep, or no object of distinct names and finite numbers.
    """
    if len(str(text)) > ATTRIBUTE_BYTES:
        raise DataError(f"{where}: attribute {name} must have at most {ATTRIBUTE_BYTES} bytes; shorten it.")
    marks = sum(map(str(text).count, "{[,"))
    if marks > _MARKS:
        raise DataError(f"{where}: attribute {name} must have at most {_MARKS} values, got about {marks}; shorten it.")
    try:
        value = json.loads(str(text), object_pairs_hook=_distinct, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: attribute {name} must be JSON ({error}); write the set again.") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: attribute {name} must be a JSON object; write the set again.")
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        if not all(_is_text(item) for item in level if isinstance(item, str)):
            raise DataError(f"{where}: attribute {name} must have whole characters and no NUL; write the set again.")
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in ((*item, *item.values()) if isinstance(item, dict) else item)
        ]
    if level:
        raise DataError(f"{where}: attribute {name} must be nested at most {_DEPTH} deep; write the set again.")
    return value


def _is_text(value: str) -> bool:
    """Whether UTF-8 and a terminal can take it: half a pair of surrogates has no bytes, and NUL ends a text in C."""
    return _NO_TEXT.search(value) is None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two members of one name each reader would take another."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"numbers must be finite, got {text[:40]}")
    return number
