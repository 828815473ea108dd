"""From a YAML file and overrides to a checked configuration, with errors that name the nearest right key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from data.errors import ConfigError
from flows.config import Config


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Reads an experiment.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` assignments, the values in YAML; applied after the chosen profile.

    Raises:
        ConfigError: if the file is missing or no YAML, or a key or value is wrong.
    """
    if not path.is_file():
        raise ConfigError(f"configuration {path} is not a file; try one of configs/*.yaml.")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be a YAML file, got: {' '.join(str(error).split())}.") from error
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold a mapping of sections, got {type(document).__name__}.")
    assignments = [_parse(text) for text in overrides]
    for keys, value in assignments:
        if keys == ["profile"]:
            document["profile"] = value
    document = _lay_over(document, _profile(document, path))
    for keys, value in assignments:
        _assign(document, keys, value)
    return check_config(document, str(path))


def check_config(document: Mapping[str, Any], where: str) -> Config:
    """A plain mapping as a configuration.

    Raises:
        ConfigError: naming the first wrong key or value, and the nearest right key.
    """
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_sentence(error)}") from error


def _profile(document: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    name, profiles = document.get("profile"), document.get("profiles") or {}
    if name is None:
        return {}
    if not isinstance(profiles, dict) or name not in profiles:
        known = ", ".join(profiles) if isinstance(profiles, dict) and profiles else "none"
        raise ConfigError(f"{path}: profile must be one of its profiles ({known}), got '{name}'.")
    chosen = profiles[name]
    if not isinstance(chosen, dict):
        raise ConfigError(f"{path}: profiles.{name} must be a mapping of sections, got {type(chosen).__name__}.")
    return chosen


def _parse(text: str) -> tuple[list[str], Any]:
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set must be key.path=value, got '{text}'.")
    try:
        return key.split("."), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: the value must be YAML, got '{value}'.") from error


def _assign(document: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {'.'.join(keys)}: '{key}' is no section.")
        document = inner
    document[keys[-1]] = value


def _lay_over(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _lay_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


#: Tags that pydantic puts into the location of an error inside a union, and that are no keys.
_TAGS = ("class_gan", "continuous_gan", "digits", "fashion_mnist", "chairs")


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"] if part not in _TAGS]
    key = ".".join(location)
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {_nearest(location)}{more}"
    if first["type"] == "union_tag_invalid":
        context = first["ctx"]
        return f"{key}.kind must be one of {context['expected_tags']}, got '{context['tag']}'.{more}"
    if first["type"] == "union_tag_not_found":
        return f"{key} must name its kind; 'stillhouse schema' lists the kinds.{more}"
    value = first.get("input")
    shown = "" if isinstance(value, dict | BaseModel) else f", got {value!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key or 'configuration'}: {message[0].lower()}{message[1:].rstrip('.')}{shown}.{more}"


def _nearest(location: list[str]) -> str:
    """A hint at the key that was probably meant: one of the same section if any is close, else of any section."""
    section, key = [part for part in location[:-1] if not part.isdigit()], location[-1]
    paths: list[list[str]] = []
    _collect(Config, [], paths)
    for candidates in ([path for path in paths if path[:-1] == section], paths):
        near = difflib.get_close_matches(key, sorted({path[-1] for path in candidates}), n=1)
        if near:
            path = next(path for path in candidates if path[-1] == near[0])
            return f"did you mean '{'.'.join(path)}'?"
    return "'stillhouse schema' lists all keys."


def _collect(model: type[BaseModel], prefix: list[str], paths: list[list[str]]) -> None:
    for name, field in model.model_fields.items():
        path = [*prefix, name]
        paths.append(path)
        for inner in _models(field.annotation):
            _collect(inner, path, paths)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
