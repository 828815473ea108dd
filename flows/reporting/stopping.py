"""Students that stopped early, which are an exception to the equal budgets."""

from __future__ import annotations

from collections.abc import Sequence

from flows.reporting.inputs import StudentRun
from flows.reporting.wording import count


def stopped_note(students: Sequence[StudentRun]) -> list[str]:
    """A sentence that names every student that took fewer steps than it was allowed; nothing if there is none."""
    stopped: dict[str, list[str]] = {}
    several = len({run.student for run in students}) > 1
    for run in students:
        metrics = run.manifest["metrics"]
        if metrics.get("stopped_early"):
            name = f"{run.student} with {run.words}" if several else run.words
            stopped.setdefault(name, []).append(f"{count(metrics['steps'])} (seed {run.seed})")
    if not stopped:
        return []
    named = "; ".join(f"{name} after {', '.join(steps)}" for name, steps in stopped.items())
    return [f"Stopped early, as validation had not improved for training.patience validations: {named} steps."]
