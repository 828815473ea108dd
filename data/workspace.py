"""The workspace of a running stage: steps that resume, shards, a metrics log, progress.

A training loop reads on one screen because everything about interruption is here:

    for step in workspace.steps("training", total, {"network": network, "optimizer": optimizer}):
        loss = ...                      # a pure function of (seed, step) and the state
        if workspace.should_log(step):
            workspace.log(step, loss=loss.item())
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import StageError
from data.files import write_json

if TYPE_CHECKING:
    from data.checkpoint import Stateful

STATE_FOLDER = ".state"

#: Called with (task, done, total, numbers); draws a progress bar or nothing.
ProgressReporter = Callable[[str, int, int, Mapping[str, float]], None]


def _silent(task: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    del task, done, total, numbers


def _never(done: int) -> bool:
    del done
    return False


class Workspace:
    """Where a stage works: the folder that becomes the artifact, and what lets the stage go on after a kill.

    Args:
        folder: the work folder; its files, without ``.state``, become the artifact.
        checkpoint_seconds: least time between two checkpoints of ``steps``.
        progress: called as work proceeds, at most about ten times a second.
        resumed: whether the folder already held progress when the stage began.
        follows: whether another process works in this folder, and this one beside it: steps begin at its checkpoint,
            and nothing is written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        checkpoint_seconds: float = 20.0,
        progress: ProgressReporter = _silent,
        resumed: bool = False,
        follows: bool = False,
    ) -> None:
        self.folder = folder
        self.checkpoint_seconds = checkpoint_seconds
        self.resumed = resumed
        self.follows = follows
        self._progress = progress
        self._last_report = 0.0
        self._numbers: dict[str, float] = {}
        self._log_name = "curves"
        self._log_every = 1
        self._last_step = -1
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STATE_FOLDER).mkdir(exist_ok=True)

    @property
    def state_folder(self) -> Path:
        """Folder for what only a resume needs; it is not part of the artifact."""
        return self.folder / STATE_FOLDER

    def path(self, name: str) -> Path:
        """Path of a file of the future artifact."""
        return self.folder / name

    def steps(
        self,
        name: str,
        total: int,
        state: Mapping[str, Stateful],
        *,
        log_every: int = 50,
        stop: Callable[[int], bool] = _never,
    ) -> Iterator[int]:
        """Yields the step numbers that are still to be done, 0 .. total - 1, with checkpoints between them.

        The last checkpoint, if there is one, is loaded into ``state`` first. A checkpoint holds the state
        after a whole number of steps, so a step must depend only on the state and on its number.

        Args:
            name: names the checkpoint file, the log (``<name>.jsonl``) and the progress line.
            total: number of steps.
            state: every object that a step changes.
            log_every: ``should_log`` is true for each such step, and for the last.
            stop: told after each step how many are done; true ends the steps for good, for a resume as well.
        """
        from data.checkpoint import load_state, save_state

        path = self.state_folder / f"{name}.safetensors"
        log_path = self.path(f"{name}.jsonl")
        first, finished = 0, False
        if path.exists():
            saved = load_state(path)
            for key, item in state.items():
                item.load_state_dict(saved["state"][key])
            first, finished = int(saved["step"]), bool(saved.get("finished", False))
            if log_path.exists() and not self.follows:
                os.truncate(log_path, min(int(saved["log_bytes"]), log_path.stat().st_size))
        elif not self.follows:
            log_path.unlink(missing_ok=True)
        self._log_name, self._log_every, self._last_step = name, log_every, total - 1
        self._numbers = {}
        saved_at = time.monotonic()
        for step in range(first, first if finished else total):
            yield step
            done = step + 1
            finished = stop(done) or done == total
            self.report(name, done, total)
            if not self.follows and (finished or time.monotonic() - saved_at >= self.checkpoint_seconds):
                # The last step is saved too: what follows the loop may be killed as well.
                size = log_path.stat().st_size if log_path.exists() else 0
                save_state(
                    path,
                    {
                        "step": done,
                        "finished": finished,
                        "log_bytes": size,
                        "state": {key: item.state_dict() for key, item in state.items()},
                    },
                )
                saved_at = time.monotonic()
            if finished:
                return

    def should_log(self, step: int) -> bool:
        """Whether this step's numbers go into the log; only then is it worth waiting for the device."""
        return step % self._log_every == 0 or step == self._last_step

    def log(self, step: int, **numbers: float) -> None:
        """Appends numbers to the log of the current steps.

        Raises:
            StageError: if a number is not finite; the numbers are saved in ``nonfinite.json`` first.
        """
        bad = sorted(key for key, value in numbers.items() if not math.isfinite(value))
        if bad:
            report = {key: repr(value) for key, value in numbers.items()}
            write_json(self.path("nonfinite.json"), {"during": self._log_name, "step": step, "numbers": report})
            raise StageError(
                f"{self._log_name}: {', '.join(bad)} became non-finite at step {step} "
                f"({', '.join(f'{key}={value:g}' for key, value in numbers.items())}); "
                f"try a lower learning rate or precision fp32; details in {self.path('nonfinite.json')}."
            )
        self._numbers = numbers
        if self.follows:
            return
        with self.path(f"{self._log_name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")

    def shards(self, name: str, total: int, suffix: str = ".h5") -> Iterator[tuple[int, Path]]:
        """Yields (number, path) of the shards that are still missing; the caller commits each by rename.

        Shards lie in the state folder; ``shard_paths`` lists them for the consolidation.
        """
        paths = self.shard_paths(name, total, suffix)
        done = sum(path.exists() for path in paths)
        self._numbers = {}
        for number, path in enumerate(paths):
            if not path.exists():
                yield number, path
                done += 1
            self.report(name, done, total)

    def shard_paths(self, name: str, total: int, suffix: str = ".h5") -> list[Path]:
        """Paths of all shards of ``name``."""
        return [self.state_folder / f"{name}-{number:06d}{suffix}" for number in range(total)]

    def report(self, task: str, done: int, total: int) -> None:
        """Tells the terminal how far a task is; cheap enough for every step."""
        now = time.monotonic()
        if done >= total or now - self._last_report >= 0.1:
            self._last_report = now
            self._progress(task, done, total, self._numbers)

    def relay(self, task: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Tells the terminal what another process has told of its work in this folder."""
        self._progress(task, done, total, numbers)

    def clear_state(self) -> None:
        """Removes checkpoints and shards, when the artifact is whole."""
        shutil.rmtree(self.state_folder, ignore_errors=True)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics log; an absent file is an empty log."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
