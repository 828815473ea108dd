"""The plan of an ablation: the same students on what each step of the data path adds, at equal optimiser steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data.errors import ConfigError
from data.store import Request
from flows.config import Config
from flows.plan import Node, labels_only, make_plan, make_source
from flows.student_config import Method
from students.methods import check_method

LEAST_SEEDS = 3
_DEFAULT_SEEDS = (0, 1, 2)
#: Sections that no arm reads, and a part of one.
_UNREAD: dict[str, Any] = {
    **dict.fromkeys(("compute", "profile", "profiles", "fidelity", "tuning", "audit", "assess"), True),
    "recipes": {"mixes": True},
}


@dataclass(frozen=True)
class Arm:
    """One way in which the students' training data are made.

    Args:
        name: alone, raw, subsampled, filtered or relabelled.
        config: the configuration with this arm's data path, and its students alone.
    """

    name: str
    config: Config

    @property
    def synthetic(self) -> bool:
        """Whether its students see generated images."""
        return self.config.uses_synthetic


@dataclass(frozen=True)
class Ablation:
    """The arms in order, each with one step more than the one before; and why an arm cannot be, by its name."""

    arms: tuple[Arm, ...]
    left_out: Mapping[str, str]


def make_ablation(config: Config, seeds: Sequence[int] | None = None, method: str | None = None) -> Ablation:
    """The arms that a configuration can have.

    Args:
        config: its students, steps and data path are those of the arms.
        seeds: at least three; None takes those of the configuration, or 0, 1 and 2 where it has fewer.
        method: with which every student is trained, with its options in the configuration if it is named there; None
            takes the one that needs no teacher.

    Raises:
        ConfigError: if the quantile or the count is auto, the method is unknown, or there are too few seeds.
    """
    for name in ("quantile", "count"):
        if getattr(config.synthetic, name) == "auto":
            raise ConfigError(
                f"synthetic.{name} must be a number for ablate, as all arms share it, got 'auto'; take the one that "
                f"the tuning stage of a run chose: --set synthetic.{name}=NUMBER."
            )
    kind = make_source(config).label_space.kind
    trained = {
        "methods": (_method(config, labels_only(kind) if method is None else method),),
        "seeds": _seeds(config, seeds),
    }
    left_out = _left_out(config)
    base = config.model_copy(
        update={
            "fidelity": config.fidelity.model_copy(update={"enabled": False}),
            "audit": config.audit.model_copy(update={"enabled": False}),
            "assess": config.assess.model_copy(update={"enabled": False}),
        }
    )
    arms = []
    for name, candidates, synthetic in _data_paths(config, kind, subsample="subsampled" not in left_out):
        if name in left_out:
            continue
        data = ("real",) if name == "alone" else ("real+synthetic",)
        sections = {
            "candidates": base.candidates.model_copy(update=candidates),
            "synthetic": base.synthetic.model_copy(update=synthetic),
            "distill": base.distill.model_copy(update={**trained, "data": data}),
        }
        arms.append(Arm(name, base.model_copy(update=sections)))
    return Ablation(tuple(arms), left_out)


def _method(config: Config, name: str) -> Method:
    """The configuration's method of that label or name, the first of its variants; else the one by its name."""
    known = config.distill.methods
    labelled = next((method for method in known if method.shown == name), None)
    if labelled is not None:
        return labelled
    name = check_method(name)
    return next((method for method in known if method.name == name), Method(name=name))


def _seeds(config: Config, seeds: Sequence[int] | None) -> tuple[int, ...]:
    if seeds is None:
        own = config.distill.seeds
        return own if len(own) >= LEAST_SEEDS else _DEFAULT_SEEDS
    if len(set(seeds)) < LEAST_SEEDS or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ConfigError(
            f"--seeds must be at least {LEAST_SEEDS} different numbers from 0 up, "
            f"got {','.join(map(str, seeds))}; try --seeds 0,1,2."
        )
    return tuple(seeds)


def _left_out(config: Config) -> dict[str, str]:
    generator, without_ratio = config.generator, ""
    if config.candidates.file is not None:
        without_ratio = "candidates.file gives images without a generator, so they have no density ratio"
    elif config.ratio.features == "generator" and not getattr(generator, "density_ratio_weight", 0.0):
        without_ratio = "ratio.features is generator, and this generator has learnt no density ratio"
    left_out = {"subsampled": without_ratio} if without_ratio else {}
    if config.synthetic.quantile == 1.0:
        left_out["filtered"] = "synthetic.quantile is 1, so the filter would keep every image"
    return left_out


def _data_paths(config: Config, kind: str, *, subsample: bool) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name of every arm with its changes to the sections ``candidates`` and ``synthetic``.

    Values of the configuration stay where they mean the same, so that what a run has made is found in the store.
    """
    own = config.synthetic
    # A label that is a class and nothing else stays as it is with auto, and has no values.
    changes_nothing = own.relabel == "none" or (kind == "class" and own.relabel in ("auto", "values"))
    plain = {"relabel": own.relabel if changes_nothing else "none"}
    # A teacher's answer to a label without a class is its value, which "hard" puts in the label's place.
    strongest = "hard" if kind in ("scalar", "vector") else "soft"
    accepted = {"subsample": subsample}
    filtered = {"error": "auto" if own.error == "none" else own.error}
    yield "alone", {}, {}
    yield "raw", {"subsample": False}, {"error": "none", **plain}
    yield "subsampled", accepted, {"error": "none", **plain}
    yield "filtered", accepted, {**filtered, **plain}
    yield "relabelled", accepted, {**filtered, "relabel": strongest if changes_nothing else own.relabel}


def plan_ablation(ablation: Ablation) -> list[Node]:
    """What the arms need, each thing once, inputs first; at the end the stage that compares their students.

    Raises:
        DataError: if the files of the source are missing.
    """
    found: list[tuple[Arm, Node]] = []
    known: set[str] = set()
    for arm in ablation.arms:
        plan = make_plan(arm.config)
        wanted = _ancestors([node for node in plan if _is_result(node, arm)])
        for node in plan:
            if node.request.fingerprint in wanted and node.request.fingerprint not in known:
                known.add(node.request.fingerprint)
                found.append((arm, node))
    keys = Counter(node.key for _, node in found if not node.arguments)
    nodes: dict[str, Node] = {}
    for arm, node in found:
        nodes[node.request.fingerprint] = replace(
            node,
            key=_key(arm, node, alone=keys[node.key] == 1),
            inputs={name: nodes[parent.request.fingerprint] for name, parent in node.inputs.items()},
            arguments={"arm": arm.name, **node.arguments} if _is_result(node, arm) else node.arguments,
        )
    return [*nodes.values(), _last(ablation, list(nodes.values()))]


def _is_result(node: Node, arm: Arm) -> bool:
    """Whether a node is a student of the arm, not one that only the density ratio reads."""
    distill = arm.config.distill
    mine = {"method": distill.methods[0].shown, "data": distill.data[0]}
    return (
        node.stage == "distill" and mine.items() <= node.arguments.items() and node.arguments["seed"] in distill.seeds
    )


def _ancestors(nodes: Sequence[Node]) -> set[str]:
    """Fingerprints of nodes and of all that they are made from."""
    seen: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.request.fingerprint not in seen:
            seen.add(node.request.fingerprint)
            waiting += node.inputs.values()
    return seen


def _key(arm: Arm, node: Node, *, alone: bool) -> str:
    if _is_result(node, arm):
        return f"{arm.name}: {node.arguments['student']} / seed {node.arguments['seed']}"
    return node.key if alone or node.arguments else f"{arm.name}: {node.key}"


def _last(ablation: Ablation, nodes: list[Node]) -> Node:
    from flows.stages.ablation import VERSION

    students = [node for node in nodes if "arm" in node.arguments]
    arms: list[dict[str, Any]] = []
    for arm in ablation.arms:
        entry: dict[str, Any] = {"arm": arm.name}
        if arm.synthetic:
            synthetic = next(node for node in students if node.arguments["arm"] == arm.name).inputs["synthetic"]
            entry |= {"candidates": synthetic.inputs["candidates"].key, "synthetic": synthetic.key}
            entry["subsample"] = arm.config.candidates.subsample
        arms.append(entry)
    config = ablation.arms[-1].config
    section = config.model_dump(mode="json", exclude=_UNREAD)
    section["ablation"] = {"arms": arms, "left_out": dict(ablation.left_out)}
    # Students stand last in the table of artifacts.
    inputs = {node.key: node for node in sorted(nodes, key=lambda node: node.stage == "distill")}
    request = Request(
        stage="ablation",
        version=VERSION,
        config=section,
        inputs={name: node.request.fingerprint for name, node in inputs.items()},
        label=f"{config.name}: ablation",
        seed=config.seed,
    )
    return Node("ablation", request, config, inputs)
