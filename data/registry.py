"""One registry for sources, generators, networks and methods: a package of modules, one object a module."""

from __future__ import annotations

import ast
import difflib
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from data.errors import ConfigError

T = TypeVar("T")

#: Names up to which a message lists all of them.
_LISTED = 10


class Registry(Generic[T]):
    """Objects registered by name, one in each module of a package.

    The module's name is the object's name, so that names are known without importing anything heavy.

    Args:
        noun: what is registered, for messages ("method").
        package: dotted name of the package whose modules register themselves.
    """

    def __init__(self, noun: str, package: str) -> None:
        self.noun = noun
        self.package = package
        self._objects: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers an object under ``name``, the name of its module."""

        def decorate(item: T) -> T:
            self._objects[name] = item
            return item

        return decorate

    def _folder(self) -> Path:
        return Path(__file__).resolve().parent.parent.joinpath(*self.package.split("."))

    def names(self) -> list[str]:
        """Names of all registered objects, sorted, found without importing their modules."""
        modules = {info.name for info in pkgutil.iter_modules([str(self._folder())]) if not info.name.startswith("_")}
        return sorted(modules | set(self._objects))

    def check(self, name: str) -> str:
        """Returns ``name`` if it is registered.

        Raises:
            ConfigError: naming the nearest registered name.
        """
        names = self.names()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            long = len(names) > _LISTED
            allowed = f"of the {len(names)} that there are" if long else f"of {', '.join(names)}"
            told = f"{self.noun} must be one {allowed}, got '{name}'"
            if near:
                raise ConfigError(f"{told}; did you mean '{near[0]}'?")
            raise ConfigError(f"{told}; see 'stillhouse list {self.noun}s'." if long else f"{told}.")
        return name

    def get(self, name: str) -> T:
        """The object registered under ``name``; imports its module on first use.

        Raises:
            ConfigError: if no module of that name exists.
        """
        self.check(name)
        if name not in self._objects:
            importlib.import_module(f"{self.package}.{name}")
        return self._objects[name]

    def about(self, name: str) -> str:
        """First line of the docstring of an object's module, read without importing it."""
        self.check(name)
        tree = ast.parse((self._folder() / f"{name}.py").read_text(encoding="utf-8"))
        return (ast.get_docstring(tree) or "").partition("\n")[0]
