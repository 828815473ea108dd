"""Options that a person wrote, checked against the defaults of what they configure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from data.errors import ConfigError


def check_options(what: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``options`` with whole numbers turned into floats where a float is expected.

    Args:
        what: names the owner of the options in messages ("method 'kd'").
        options: the options as written in a configuration.
        defaults: every known option with its default, whose type the written value must have.

    Raises:
        ConfigError: for an unknown option, naming the nearest known one, or a value of the wrong type.
    """
    checked: dict[str, Any] = {}
    for key, value in options.items():
        if key not in defaults:
            near = difflib.get_close_matches(key, list(defaults), n=1)
            known = ", ".join(defaults) or "none"
            hint = f"did you mean '{near[0]}'?" if near else f"known: {known}."
            raise ConfigError(f"options of {what} must be among {known}, got '{key}'; {hint}")
        kind = type(defaults[key])
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"option '{key}' of {what} must be of type {kind.__name__}, got {value!r}.")
        checked[key] = value
    return checked
