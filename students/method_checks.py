"""Checks of a method's options, and of a method against the data it is to be trained on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from data.errors import ConfigError

if TYPE_CHECKING:
    from students.methods import Method


def check_share(method: str, option: str, value: float, example: float) -> None:
    """Checks an option that divides a loss between two terms.

    Raises:
        ConfigError: if the value is not in [0, 1].
    """
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"option '{option}' of method '{method}' must be in [0, 1], got {value}; try {example:g}.")


def check_positive(method: str, option: str, value: float, example: float) -> None:
    """Checks an option that must be a finite number above 0.

    Raises:
        ConfigError: if it is not.
    """
    if not 0.0 < value < math.inf:
        what = "finite" if value == math.inf else "above 0"
        raise ConfigError(f"option '{option}' of method '{method}' must be {what}, got {value}; try {example:g}.")


def check_not_negative(method: str, option: str, value: float, example: float) -> None:
    """Checks an option that must be a finite number of at least 0.

    Raises:
        ConfigError: if it is not.
    """
    if not 0.0 <= value < math.inf:
        what = "finite" if value == math.inf else "at least 0"
        raise ConfigError(f"option '{option}' of method '{method}' must be {what}, got {value}; try {example:g}.")


def check_choice(method: str, option: str, value: str, choices: Collection[str]) -> None:
    """Checks an option that is one of a few words.

    Raises:
        ConfigError: if it is not.
    """
    if value not in choices:
        raise ConfigError(
            f"option '{option}' of method '{method}' must be {' or '.join(choices)}, got '{value}'; "
            f"try {next(iter(choices))}."
        )


def least_classes(method: Method) -> int:
    """Fewest classes that a method means anything for, from its ``least_classes``; 2 mostly."""
    found: int = getattr(method, "least_classes", 2)
    return found


def channels_of(method: Method) -> frozenset[int] | None:
    """Numbers of channels that a method's own augmentation takes, from its ``channels``; None for any."""
    found: frozenset[int] | None = getattr(method, "channels", None)
    return found


def remedies_of(method: Method) -> Mapping[str, str]:
    """What to try where there are too few "classes" or the wrong "channels", from its ``remedies``."""
    found: Mapping[str, str] = getattr(method, "remedies", {})
    return found


def check_classes(method: str, classes: int, least: int, remedy: str = "kd") -> None:
    """Checks that there are as many classes as a method takes.

    Raises:
        ConfigError: if there are fewer.
    """
    if classes < least:
        raise ConfigError(f"method '{method}' must have at least {least} classes, got {classes}; try {remedy}.")


def check_fits(method: Method, name: str, classes: int, channels: int) -> None:
    """Checks a method against the data, before anything trains.

    Args:
        method: with its options.
        name: of the method.
        classes: number of classes; 0 where labels have none.
        channels: of the images.

    Raises:
        ConfigError: if there are fewer classes than it takes, or its own augmentation does not take such images.
    """
    remedies, allowed = remedies_of(method), channels_of(method)
    if classes:
        check_classes(name, classes, least_classes(method), remedies.get("classes", "kd"))
    if allowed is not None and channels not in allowed:
        raise ConfigError(
            f"method '{name}' must have images of {' or '.join(map(str, sorted(allowed)))} channels, got {channels}; "
            f"try {remedies.get('channels', 'kd')}."
        )
