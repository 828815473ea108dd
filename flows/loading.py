"""From a YAML file and overrides to a checked configuration, with errors that name the nearest right key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from data.errors import ConfigError
from flows.config import Config
from flows.source_config import SOURCE_KINDS


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
    return check_config(document, str(path), [keys for keys, _ in assignments])


def check_config(document: Mapping[str, Any], where: str, overrides: Sequence[Sequence[str]] = ()) -> Config:
    """A plain mapping as a configuration.

    Args:
        document: the sections.
        where: what it was read from, for messages.
        overrides: paths of the keys that ``--set`` has changed, for messages.

    Raises:
        ConfigError: naming the first wrong key or value, and the nearest right key.
    """
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        location = _keys(_errors(error)[0]["loc"])
        sentence = _sentence(error)
        # A check of several keys is found at their section, and names the key.
        if any(location[: len(keys)] == list(keys) or sentence.startswith(f"{'.'.join(keys)} ") for keys in overrides):
            where = "--set"
        raise ConfigError(f"{where}: {sentence}") from error


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


#: Tags that pydantic puts into the location of an error inside a union of sections, and that are no keys; those of the
#: teacher are the same for the members of an ensemble.
_TEACHERS = ("trained", "checkpoint", "pretrained", "factory", "onnx", "http", "ensemble")
_TAGS = {
    "generator": ("class_gan", "continuous_gan", "external"),
    "source": SOURCE_KINDS,
    "teacher": _TEACHERS,
    "members": _TEACHERS,
}

#: The same for a union of plain types, at the end of the location, and what a value of the type is called.
_TYPES = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
_BRANCH = re.compile(r"(bool|int|float|str|literal\[.*\]|(tuple|list|dict)\[.*\])")

#: What the value must be, by the kind of error, where the library's own words mean nothing to a user.
_PLAIN = {
    "tuple_type": "must be a list such as [64, 32]",
    "too_short": "must have {min_length} or more items",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a section of keys",
    "model_type": "must be a section of keys",
}

#: What a method must be where there is text in its place, by the kind of error.
_NO_SECTION = {"model_type": "must be a section of keys", "tuple_type": "must be a list of sections"}

#: Kinds of a section up to which a message lists all of them, and how the library quotes each one.
_LISTED = 10
_QUOTED = r"'([^']*)'"

#: Kinds of errors that say no more than that a value is none of the type.
_OF_TYPE = re.compile(r".*_(type|parsing|from_float)|literal_error|finite_number")


def _errors(error: ValidationError) -> list[Any]:
    """All errors but lists that are too short only because an item of theirs is wrong."""
    errors: list[Any] = error.errors(include_url=False)
    return [
        item
        for item in errors
        if item["type"] != "too_short"
        or not any(len(other["loc"]) > len(item["loc"]) and _starts(other["loc"], item["loc"]) for other in errors)
    ]


def _starts(location: Sequence[int | str], with_: Sequence[int | str]) -> bool:
    return tuple(location[: len(with_)]) == tuple(with_)


def _sentence(error: ValidationError) -> str:
    errors = _errors(error)
    first = errors[0]
    location = _keys(first["loc"])
    key = ".".join(location)
    others = len({tuple(_keys(item["loc"])) for item in errors}) - 1
    more = f" ({others} more)" if others else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {_nearest(location, first['loc'])}{more}"
    if first["type"] == "union_tag_invalid":
        return f"{_unknown_kind(key, first['ctx']['tag'], re.findall(_QUOTED, first['ctx']['expected_tags']))}{more}"
    if first["type"] == "union_tag_not_found":
        return f"{key} must name its kind; 'stillhouse schema' lists the kinds.{more}"
    message = _message([item for item in errors if _keys(item["loc"]) == location])
    value = first.get("input")
    # Sentences of this project's own checks tell the value themselves.
    told = isinstance(value, dict | BaseModel) or ", got " in message
    shown = "" if told else f", got {value!r}"
    remedy = ""
    if location[:2] == ["distill", "methods"] and isinstance(value, str) and first["type"] in _NO_SECTION:
        listed = "{}" if len(location) > 2 else "[{}]"
        message, remedy = _NO_SECTION[first["type"]], f"; try {listed.format(f'{{name: {value}}}')}"
    # Checks of several keys name the one that they are about.
    opening = "" if key and message.startswith(f"{key}.") else f"{key or 'configuration'}: "
    text = f"{opening}{message[0].lower()}{message[1:].rstrip('.')}{shown}{remedy}"
    return f"{text}{'' if text.endswith('?') else '.'}{more}"


def _unknown_kind(key: str, given: str, known: Sequence[str]) -> str:
    """A kind that a section cannot have: which ones it can, or which one was probably meant."""
    near = difflib.get_close_matches(given, known, n=1)
    listed = len(known) <= _LISTED
    allowed = f"of {', '.join(map(repr, known))}" if listed else f"of the {len(known)} that there are"
    told = f"{key}.kind must be one {allowed}, got '{given}'"
    if near:
        return f"{told}; did you mean '{near[0]}'?"
    return f"{told}." if listed else f"{told}; see 'stillhouse list {key}s'."


def _keys(location: Sequence[int | str]) -> list[str]:
    """The location of an error without the tags of unions."""
    parts: list[str] = []
    union = ""
    for part in map(str, location):
        if part in _TAGS.get(union, ()):
            union = ""
        else:
            parts.append(part)
            # The tag of an item of a list stands behind its number.
            union = union if part.isdigit() else part
    return parts[:-1] if len(parts) > 1 and _BRANCH.fullmatch(parts[-1]) else parts


def _message(errors: Sequence[Any]) -> str:
    """What is wrong with one value; one sentence where it fits none of several types."""
    first = errors[0]
    if len(errors) > 1 and _BRANCH.fullmatch(str(first["loc"][-1])):
        special = [item for item in errors if not _OF_TYPE.fullmatch(item["type"])]
        if not special:
            wanted = [_wanted(item) for item in errors]
            return f"must be {', '.join(wanted[:-1])} or {wanted[-1]}"
        first = special[0]
    plain = _PLAIN.get(first["type"])
    if plain is not None:
        return plain.format(**first.get("ctx", {}))
    message = str(first["msg"]).removeprefix("Value error, ")
    return re.sub("^Input should be ", "must be ", message)


def _wanted(item: Any) -> str:
    if item["type"] == "finite_number":
        return "a finite number"
    branch = str(item["loc"][-1])
    return str(item["ctx"]["expected"]) if item["type"] == "literal_error" else _TYPES.get(branch, "a list")


def _nearest(location: list[str], tagged: Sequence[int | str]) -> str:
    """A hint at the key that was probably meant: one of the same kind of section, of the section, or of any.

    Args:
        location: keys that lead to the wrong one.
        tagged: the same with tags of unions.
    """
    section, key = [part for part in location[:-1] if not part.isdigit()], location[-1]
    own = _keys_of_kind(tagged)
    close = difflib.get_close_matches(key, own, n=1) or [name for name in own if key in name.split("_")]
    if close:
        return f"did you mean '{'.'.join([*section, close[0]])}'?"
    paths: list[list[str]] = []
    _collect(Config, [], paths)
    for candidates in ([path for path in paths if path[:-1] == section], paths):
        near = difflib.get_close_matches(key, sorted({path[-1] for path in candidates}), n=1)
        if near == [key] and candidates is not paths:
            return f"{'.'.join(section)} has it with another kind, not with this one."
        if near:
            path = next(path for path in candidates if path[-1] == near[0])
            return f"did you mean '{'.'.join(path)}'?"
    return "'stillhouse schema' lists all keys."


def _keys_of_kind(tagged: Sequence[int | str]) -> list[str]:
    """Keys of the kind of a section, such as those of a source, that an error lies directly in; else none."""
    if len(tagged) != 3 or tagged[1] not in _TAGS.get(str(tagged[0]), ()):
        return []
    models = _models(Config.model_fields[str(tagged[0])].annotation)
    kinds = {kind: model for model in models if "kind" in model.model_fields for kind in _kinds_of(model)}
    return list(kinds[str(tagged[1])].model_fields) if str(tagged[1]) in kinds else []


def _kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["kind"].annotation)


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
