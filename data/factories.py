"""Factories named 'module:function' in a configuration: found, identified and imported.

Planning reads this module, so it imports neither torch nor the user's code until a factory is really called.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.errors import ConfigError

#: Factories that this process may call when a file names them.
_trusted: set[str] = set()


def trust_factory(factory: str) -> None:
    """Lets ``check_trusted`` pass for a factory, as the user's own configuration or command names it."""
    _trusted.add(factory)


def check_trusted(factory: str, where: str) -> None:
    """Refuses a factory that only a file names: a file must not choose what code runs here.

    Args:
        factory: "module:function".
        where: what names it, for the message.

    Raises:
        ConfigError: if ``trust_factory`` has not been called for it.
    """
    if factory not in _trusted:
        raise ConfigError(
            f"{where} names the factory '{factory}', which is code that would run here; if it is yours, say so: "
            f"--factory {factory}, or data.factories.trust_factory('{factory}') from Python."
        )


def import_factory(factory: str, key: str) -> Callable[..., Any]:
    """Imports a factory. The working directory is searched last.

    It is code that runs here: the name may come from the user's own configuration, never from an artifact or a data
    file.

    Args:
        factory: "module:function".
        key: key of the configuration that names it, for messages ("generator.factory").

    Raises:
        ConfigError: if it cannot be imported or is not callable.
    """
    module_name, name = _split(factory, key)
    _find(module_name, key)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"{key} '{factory}' cannot be imported ({in_one_line(error)}).") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{key} must be 'module:function', but '{module_name}' has no function '{name}'.")
    function: Callable[..., Any] = found
    return function


def factory_identity(factory: str, key: str) -> str:
    """What a factory is at present: the SHA-256 of its module's file, which is not imported.

    What that module imports is not part of it: an option that names a version tells that.

    Args:
        factory: "module:function".
        key: key of the configuration that names it, for messages.

    Returns:
        SHA-256, hexadecimal; for a module without a file, name and version of the distribution that it is from.

    Raises:
        ConfigError: if there is no such module.
    """
    module_name, _ = _split(factory, key)
    path = _find(module_name, key)
    if path is not None:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = importlib.metadata.packages_distributions().get(module_name.partition(".")[0], [])
    if not found:
        raise ConfigError(f"{key} '{factory}' must lie in a module with a file, or of an installed distribution.")
    return f"{found[0]} {importlib.metadata.version(found[0])}"


def in_one_line(error: BaseException) -> str:
    """An error of foreign code in one line."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _split(factory: str, key: str) -> tuple[str, str]:
    module, colon, name = factory.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"{key} must be 'module:function', got '{factory}'.")
    return module, name


def _find(module_name: str, key: str) -> Path | None:
    """The file of a module, or None if it has none; nothing is imported, the packages around it included.

    Raises:
        ConfigError: if there is no such module.
    """
    # A command does not search the working directory by itself; last, it hides nothing that is installed.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    importlib.invalidate_caches()
    name, origin = "", None
    folders: list[str] | None = None
    for part in module_name.split("."):
        name = f"{name}.{part}" if name else part
        try:
            # Every finder is asked, as an editable installation has one of its own.
            asked = (finder.find_spec(name, folders) for finder in sys.meta_path if hasattr(finder, "find_spec"))
            spec = next((found for found in asked if found is not None), None)
            if spec is None:
                raise ConfigError(
                    f"{key}: there is no module '{module_name}' (no '{name}') on Python's path or in the "
                    "working directory; start in the folder that holds it, or install it."
                )
            origin, inside = spec.origin, spec.submodule_search_locations
            folders = [] if inside is None else list(inside)
        except KeyError:
            # A namespace in a package wants its parent imported; it is the folders of that name.
            folders = [str(Path(folder) / part) for folder in folders or [] if (Path(folder) / part).is_dir()]
            origin = None
    path = None if origin is None else Path(origin)
    return path if path is not None and path.is_file() else None
