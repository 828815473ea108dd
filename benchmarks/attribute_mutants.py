"""Sets whose attributes say something else, with right digests: what a fuzz test feeds to all that describes a set.

Changes of bytes alone hardly ever get past the digests; somebody who makes a file to harm recomputes them. A mutant is
a pure function of (file, seed, number).
"""

from __future__ import annotations

import io
import json
from typing import Any

import h5py
import numpy as np
from mutants import Original

from data.digests import attribute_digests

_TELLING: tuple[Any, ...] = (
    *(
        "",
        "\0",
        "a\0",
        "\ud800",
        "\udfff\ud800",
        "x\n\x1b[2J\x1b]0;t\x07",
        "\u202e",
        "é\u2028",
        "a" * 5000,
        "{",
        "=1+1",
        "`<b>|$",
    ),
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, True, False, None),
    *(0.0, -0.0, 5e-324, 1e-310, 1.7e308, -1.7e308, 1e39, float("nan"), float("inf"), -float("inf")),
    *([], {}, [[]], [None], ["a", "a"], ["a"], {"": ""}, {"name": {}}, [{"name": "a"}] * 3),
)
_JSON = ("label_space", "provenance")


def mutate_attributes(original: Original, seed: int, number: int) -> tuple[bytes, str]:
    """A copy with other attributes whose digests fit.

    Returns:
        Its bytes, and the attribute that was changed.
    """
    rng = np.random.default_rng([seed, number, 1])
    memory = io.BytesIO(original.content)
    with h5py.File(memory, "r+") as file:
        values: dict[str, Any] = {
            name: value.decode() if isinstance(value, bytes) else int(value) for name, value in file.attrs.items()
        }
        texts = sorted(name for name, value in values.items() if isinstance(value, str) and name != "attribute_digests")
        name = _JSON[int(rng.integers(2))] if rng.random() < 0.8 else texts[int(rng.integers(len(texts)))]
        if name in _JSON:
            values[name] = _change_json(values[name], rng)
        else:
            chosen = [value for value in _TELLING if isinstance(value, str)]
            base = values[name] if rng.random() < 0.5 else ""
            values[name] = base + chosen[int(rng.integers(len(chosen)))]
        # What UTF-8 cannot say is said as other bytes.
        encoded = values[name].encode("utf-8", "surrogatepass")
        values[name] = encoded.decode("utf-8", "replace")
        del file.attrs[name]
        file.attrs.create(name, encoded or b"\0", dtype=h5py.string_dtype("utf-8", max(1, len(encoded))))
        # As they are read: without the NUL at the end.
        values[name] = values[name].rstrip("\0")
        digests = attribute_digests({key: value for key, value in values.items() if key != "attribute_digests"})
        del file.attrs["attribute_digests"]
        file.attrs.create("attribute_digests", digests.encode(), dtype=h5py.string_dtype("utf-8", len(digests)))
    return memory.getvalue(), name


def _change_json(text: str, rng: np.random.Generator) -> str:
    value = json.loads(text)
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        value = _changed(value, rng)
    text = json.dumps(value, ensure_ascii=bool(rng.random() < 0.8))
    chance = rng.random()
    if chance < 0.03:
        return text[:-1] + ',"kind":"class"}'
    if chance < 0.06:
        return "[" * 70 + text + "]" * 70
    return text


def _changed(value: Any, rng: np.random.Generator) -> Any:
    """The value with one change somewhere in it."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[int(rng.integers(len(keys)))]
        copy = value.copy()
        chance = rng.random()
        if chance < 0.12:
            del copy[key]
        elif chance < 0.24 and isinstance(copy, list):
            copy += copy[: int(rng.integers(1, 400))]
        elif chance < 0.3 and isinstance(copy, dict):
            told = [telling for telling in _TELLING if isinstance(telling, str)]
            copy[told[int(rng.integers(len(told)))]] = copy.pop(key)
        else:
            copy[key] = _changed(value[key], rng)
        return copy
    return _TELLING[int(rng.integers(len(_TELLING)))]
