"""Why a stage would run: what differs between what is asked for and what the store holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from data.store import Request, Store

#: Changes of one kind up to which all are named.
_LISTED = 3


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) for every leaf of nested mappings and lists."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from flatten(item, f"{prefix}[{number}]")
    else:
        yield prefix, list(value) if isinstance(value, tuple) else value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) of every leaf that differs; None stands for an absent one."""
    before, after = dict(flatten(old)), dict(flatten(new))
    keys = [*before, *(key for key in after if key not in before)]
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def reason(store: Store, request: Request) -> str:
    """Why ``request`` would run, in words: damage, progress to resume, or what changed since the nearest artifact.

    Args:
        store: the store to look in.
        request: a stage that the store does not hold whole.
    """
    folder = store.folder(request.stage, request.fingerprint)
    if folder.is_dir():
        return f"damaged: {store.damage(request.stage, request.fingerprint)}"
    if folder.with_name(f"{request.fingerprint}.work").is_dir():
        return "unfinished: goes on where it stopped"
    nearest: list[str] | None = None
    least = 0
    for artifact in store.artifacts(request.stage):
        manifest = artifact.manifest
        if manifest.get("label", "") != request.label:
            continue
        changes = [
            f"{key} {_show(old)} -> {_show(new)}" for key, old, new in differences(manifest["config"], request.config)
        ]
        if manifest["recipe_version"] != request.version:
            changes.append(f"recipe version {manifest['recipe_version']} -> {request.version}")
        inputs = [f"input {key}" for key, _, _ in differences(manifest["inputs"], request.inputs)]
        if nearest is None or len(changes) + len(inputs) < least:
            nearest, least = [*_shortened(changes), *_shortened(inputs)], len(changes) + len(inputs)
    if nearest is None:
        return "never made"
    return "changed: " + ", ".join(nearest)


def _shortened(changes: list[str]) -> list[str]:
    """The changes, or the first one and how many more there are."""
    return changes if len(changes) <= _LISTED else [f"{changes[0]} and {len(changes) - 1} more"]


def _show(value: Any) -> str:
    return "unset" if value is None else str(value)
