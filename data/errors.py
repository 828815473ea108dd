"""The typed errors of the project; each carries one clear sentence and an exit status."""

from __future__ import annotations


class StillhouseError(Exception):
    """A foreseeable fault: the message says what was wrong, where, and what to do.

    Attributes:
        exit_code: status with which the command line ends.
    """

    exit_code = 4


class ConfigError(StillhouseError, ValueError):
    """Bad usage or a bad configuration (exit status 2)."""

    exit_code = 2


class DataError(StillhouseError):
    """A bad, missing or damaged data file (exit status 3)."""

    exit_code = 3


class StageError(StillhouseError):
    """A stage that cannot finish: non-finite loss, nothing kept, budget exceeded (exit status 4)."""

    exit_code = 4
