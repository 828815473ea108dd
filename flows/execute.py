"""Runs the nodes of a plan against the store; what Prefect's tasks and the direct run both call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from data.errors import ConfigError, StageError
from data.store import Artifact, State, Store
from data.workspace import ProgressReporter, Workspace
from flows.config import Config
from flows.own_networks import trust_sources
from flows.plan import STAGES, Node
from flows.recipes import check_recipe

#: Stages that run no network: neither they nor the checks before them import torch.
WITHOUT_NETWORK = frozenset({"prepare", "synthetic", "report"})
#: Folder of the teachers' ledgers in the store; no stage has that name.
LEDGERS = "ledger"


@dataclass(frozen=True)
class StageContext:
    """What a stage function gets.

    Args:
        node: the stage's place in the run.
        inputs: the input artifacts by name.
        workspace: where it works.
        warn: tells the person who runs it one sentence.
        ledgers: folder of the teachers' ledgers; None where none may be used.
    """

    node: Node
    inputs: Mapping[str, Artifact]
    workspace: Workspace
    warn: Callable[[str], None] = lambda sentence: None
    ledgers: Path | None = None

    @property
    def config(self) -> Config:
        """The whole configuration that the stage was planned with."""
        return self.node.config

    @property
    def seed(self) -> int:
        """Seed of the stage."""
        return self.node.request.seed


@dataclass(frozen=True)
class Outcome:
    """A stage that is done."""

    node: Node
    state: State
    seconds: float
    artifact: Artifact


@dataclass(frozen=True)
class Selection:
    """Which stages of a plan run, and which are made again although they are there.

    Args:
        only: run this stage alone; its inputs must be there.
        start: make this stage and all that follows it again.
        force: make this stage again.
    """

    only: str | None = None
    start: str | None = None
    force: str | None = None

    def __post_init__(self) -> None:
        for option, stage in (("--only", self.only), ("--from", self.start), ("--force", self.force)):
            if stage is not None and stage not in STAGES:
                raise ConfigError(f"{option} must be one of {', '.join(STAGES)}, got '{stage}'.")

    def chosen(self, plan: list[Node]) -> list[Node]:
        """The nodes to run, in order.

        Raises:
            ConfigError: if the plan has no such stage.
        """
        for stage in (self.only, self.start, self.force):
            if stage is not None and all(node.stage != stage for node in plan):
                raise ConfigError(f"this configuration has no stage '{stage}': {_why_without(stage, plan[-1].config)}.")
        return [node for node in plan if self.only in (None, node.stage)]

    def forces(self, node: Node) -> bool:
        """Whether a node is made again although it is there."""
        if node.stage == self.force:
            return True
        return self.start is not None and _follows(node, self.start)


def _why_without(stage: str, config: Config) -> str:
    """Why a plan has no such stage, in words."""
    if stage in ("assess", "fidelity", "audit") and not getattr(config, stage).enabled:
        return f"{stage}.enabled is false"
    if stage == "recipes":
        return "no student trains on mixed images, and comparisons are drawn as students train"
    if not config.uses_synthetic:
        return "no student trains on synthetic data"
    if stage in ("generator", "ratio") and config.candidates.file is not None:
        return "the images come from candidates.file"
    if stage == "ratio":
        return "candidates.subsample is false"
    if stage == "tuning":
        return "neither synthetic.quantile nor synthetic.count is auto"
    return "nothing in it needs that stage"


def _follows(node: Node, stage: str) -> bool:
    return node.stage == stage or any(_follows(parent, stage) for parent in node.inputs.values())


class Runner:
    """Runs nodes one by one and remembers what they made.

    Args:
        config: the configuration: its device and its checkpoints serve all nodes.
        store: the store.
        selection: which stages are made again.
        progress: draws progress.
        done: told of every outcome.
        warn: told what a stage finds odd, one sentence each.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        selection: Selection,
        progress: Callable[[Node], ProgressReporter] | None = None,
        done: Callable[[Outcome], None] = lambda outcome: None,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.config = config
        self.store = store
        self.selection = selection
        self.outcomes: list[Outcome] = []
        self._progress = progress
        self._done = done
        self._warn = warn

    def _record(self, outcome: Outcome) -> Outcome:
        self.outcomes.append(outcome)
        self._done(outcome)
        return outcome

    def cached(self, node: Node) -> Outcome | None:
        """The outcome of a node that the store holds whole and that is not forced; recorded."""
        if self.selection.forces(node):
            return None
        started = time.monotonic()
        artifact = self.store.find(node.stage, node.request.fingerprint)
        if artifact is None:
            return None
        return self._record(Outcome(node, "cached", time.monotonic() - started, artifact))

    def run(self, node: Node) -> Outcome:
        """Makes a node, or takes what another process has made meanwhile.

        Raises:
            StillhouseError: one clear sentence for every foreseeable fault.
        """
        started = time.monotonic()
        inputs = {name: self._input(node, name, parent) for name, parent in node.inputs.items()}
        if "real" in inputs:
            # Here and not in the stages: a recipe of other images must be refused before anything is trained or asked.
            check_recipe(node.config, inputs["real"])
        function = import_module(f"flows.stages.{node.stage}").run
        trust_sources(node.config, node.request.config)

        def make(workspace: Workspace) -> Mapping[str, Any]:
            metrics: Mapping[str, Any] = function(
                StageContext(
                    node,
                    inputs,
                    workspace,
                    lambda sentence: self._warn(f"{node.key}: {sentence}"),
                    self.store.root / LEDGERS,
                )
            )
            return metrics

        options: dict[str, Any] = {"checkpoint_seconds": self.config.compute.checkpoint_seconds}
        if self._progress is not None:
            options["progress"] = self._progress(node)
        artifact, state = self.store.build(
            node.request,
            make,
            force=self.selection.forces(node),
            device="cpu" if node.stage in WITHOUT_NETWORK else device_name(self.config),
            workspace_options=options,
        )
        return self._record(Outcome(node, state, time.monotonic() - started, artifact))

    def _input(self, node: Node, name: str, parent: Node) -> Artifact:
        artifact = self.store.find(parent.stage, parent.request.fingerprint)
        if artifact is None:
            raise StageError(
                f"{node.key} needs {parent.key} ({name}), which is not in the store; run without --only, "
                f"or first with --only {parent.stage}."
            )
        return artifact


def device_name(config: Config) -> str:
    """The device that ``compute.device`` stands for on this machine."""
    from data.compute import pick_compute

    return str(pick_compute(config.compute.device).device)


def run_directly(runner: Runner, nodes: list[Node]) -> Iterator[Outcome]:
    """Runs nodes in this process, without Prefect; yields each outcome as it is there."""
    for node in nodes:
        yield runner.cached(node) or runner.run(node)


def run_identity(config: Config, plan: list[Node]) -> str:
    """Name of a run: the experiment's name and the beginning of its report's fingerprint; what it is, if no run."""
    last = plan[-1]
    kind = "" if last.stage == "report" else f"-{last.stage}"
    return f"{config.name}{kind}-{last.request.fingerprint[:8]}"
