"""Networks of the user's own in a run: identified when it is planned, trusted and unchanged when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data.errors import StageError
from data.factories import factory_identity, trust_factory
from flows.student_config import Network

if TYPE_CHECKING:
    from flows.config import Config

FACTORY = "factory"
KEY = "option 'factory' of network 'factory'"


def source_of(network: Network) -> dict[str, str]:
    """What joins a network's section of a fingerprint: the identity of the code that makes it, where that is a factory.

    Raises:
        ConfigError: if there is no such module.
    """
    if network.network != FACTORY:
        return {}
    return {"source_sha256": factory_identity(_factory(network.options), KEY)}


def trust_sources(config: Config, section: Mapping[str, Any]) -> None:
    """Lets a stage load models of the factories that its run's configuration names.

    Args:
        config: of the run.
        section: the stage's own configuration, as it was planned.

    Raises:
        StageError: if the code of a factory has changed since.
    """
    # Ensembles have their members' sections in a list of their own.
    for network in (*getattr(config.teacher, "members", (config.teacher,)), *config.distill.students):
        if isinstance(network, Network) and network.network == FACTORY:
            trust_factory(_factory(network.options))
    for part in _parts(section):
        if part.get("network") == FACTORY and "source_sha256" in part:
            factory = _factory(part["options"])
            if factory_identity(factory, KEY) != part["source_sha256"]:
                raise StageError(f"factory '{factory}' has changed since this run was planned; run again.")


def _factory(options: Mapping[str, Any]) -> str:
    return str(options.get("factory", ""))


def _parts(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A section and all sections within it."""
    inner = [part for value in section.values() if isinstance(value, Mapping) for part in _parts(value)]
    return [section, *inner]
