"""Methods that are combined: "dtkd+ckd" is a weighted sum of the named parts of both."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from data.errors import ConfigError
from data.options import check_options
from students.method_checks import channels_of, remedies_of
from students.methods import (
    Batch,
    Method,
    Sizes,
    auxiliary_of,
    check_positive,
    group_sizes,
    learns_labels,
    least_classes,
    make_method,
    recentring_of,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Parts that learn from labels alone and see their level. Each method brings its own, and a sum of three methods would
#: count labels three times, so that they are counted once: those of the first method in which they have a weight.
LABEL_PARTS = frozenset({"ce", "mse", "label"})


@dataclass(frozen=True)
class Member:
    """One of the methods of a combination.

    Args:
        name: of the method.
        method: with its options.
        weight: factor of all its parts, above 0.
    """

    name: str
    method: Method
    weight: float = 1.0


@dataclass(frozen=True)
class Combination:
    """A weighted sum of the parts of several methods, each named "<method>.<part>".

    Args:
        members: at least two, of different names.

    Raises:
        ConfigError: if they serve no common kind of labels, want rows in different groups, one of them wants outputs
            re-centred, or one would add nothing, as labels count already and it has nothing else.
    """

    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        joined = "+".join(member.name for member in self.members)
        if not self.tasks:
            kinds = "; ".join(f"{item.name}: {', '.join(sorted(item.method.tasks))}" for item in self.members)
            raise ConfigError(f"methods of '{joined}' must serve a common kind of labels, got {kinds}.")
        wanted = {group_sizes(item.method): item.name for item in self.members if group_sizes(item.method)}
        if len(wanted) > 1:
            sizes = " and ".join(f"{name} {size}" for size, name in wanted.items())
            raise ConfigError(f"methods of '{joined}' must compare groups of the same sizes, got {sizes}.")
        for item in self.members:
            # What it would move outputs to is best for its own parts and not for the sum with others'.
            if recentring_of(item.method) is not None:
                raise ConfigError(
                    f"method '{item.name}' must stand alone where it re-centres outputs, got '{joined}'; try "
                    f"{item.name}.recenter_bias false, and a method that learns from labels beside it."
                )
            if self._adds_nothing(item):
                first = self.labels_from
                raise ConfigError(
                    f"methods of '{joined}' must each add something, but '{item.name}' adds nothing behind "
                    f"'{first}', whose labels count; leave it out."
                )

    @property
    def needs(self) -> frozenset[str]:
        """All that any of them reads."""
        return frozenset().union(*(member.method.needs for member in self.members))

    @property
    def tasks(self) -> frozenset[str]:
        """What all of them serve."""
        return frozenset.intersection(*(member.method.tasks for member in self.members))

    @property
    def least_classes(self) -> int:
        """The most that any of them takes."""
        return max(least_classes(member.method) for member in self.members)

    @property
    def groups(self) -> tuple[int, int] | None:
        """Sizes of the groups that one of them compares; to the others the same rows are a batch like any other."""
        return next((sizes for member in self.members if (sizes := group_sizes(member.method))), None)

    @property
    def channels(self) -> frozenset[int] | None:
        """What all of their augmentations take."""
        found = [allowed for member in self.members if (allowed := channels_of(member.method)) is not None]
        return frozenset.intersection(*found) if found else None

    @property
    def remedies(self) -> dict[str, str]:
        """Those of the members that cannot take what others can, under their names."""
        found: dict[str, str] = {}
        for member in self.members:
            for what, remedy in remedies_of(member.method).items():
                found.setdefault(what, f"{remedy} for {member.name}")
        return found

    @property
    def learns_labels(self) -> bool:
        """Whether one of them does."""
        return bool(self.labels_from)

    @property
    def labels_from(self) -> str:
        """The member whose label parts count: the first in which they have a weight; empty if there is none."""
        names = (member.name for member in self.members if learns_labels(member.method))
        return next(names, "")

    def _adds_nothing(self, member: Member) -> bool:
        # What needs labels alone has label parts alone.
        return member.method.needs == {"labels"} and self.labels_from not in ("", member.name)

    def auxiliary(self, sizes: Sizes) -> nn.Module | None:
        """Networks that members train beside the student, by the names of their methods; None where none does."""
        from torch import nn

        made = {member.name: auxiliary_of(member.method, sizes) for member in self.members}
        networks = {name: network for name, network in made.items() if network is not None}
        return nn.ModuleDict(networks) if networks else None

    def __call__(self, batch: Batch, outputs: Tensor, progress: float) -> dict[str, Tensor]:
        """The parts of all members; of label parts those of ``labels_from``."""
        networks = {} if batch.auxiliary is None else dict(batch.auxiliary.named_children())
        parts: dict[str, Tensor] = {}
        labels_from = self.labels_from
        for member in self.members:
            own = member.method(replace(batch, auxiliary=networks.get(member.name)), outputs, progress)
            for part, value in own.items():
                if part not in LABEL_PARTS or labels_from == member.name:
                    parts[f"{member.name}.{part}"] = member.weight * value
        return parts


def combine(names: Sequence[str], options: Mapping[str, Any]) -> Combination:
    """Several methods as one.

    Args:
        names: of registered methods, each once.
        options: by "<method>.<option>"; "<method>.weight" is the factor of all its parts, 1 by default.

    Raises:
        ConfigError: for an unknown option, naming the nearest right one, a value out of range, or methods that do
            not go together.
    """
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in options.items():
        name, _, option = key.partition(".")
        if name not in own or not option:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{near[0]}.{option or key}'?" if near and option else f"try '{names[0]}.{key}'."
            raise ConfigError(f"options of '{'+'.join(names)}' must be named <method>.<option>, got '{key}'; {hint}")
        own[name][option] = value
    members = []
    for name in names:
        written = {"weight": own[name].pop("weight")} if "weight" in own[name] else {}
        weight = check_options(f"method '{name}'", written, {"weight": 1.0}).get("weight", 1.0)
        check_positive(name, "weight", weight, 1.0)
        members.append(Member(name, make_method(name, own[name]), weight))
    return Combination(tuple(members))
