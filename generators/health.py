"""Monitors of a GAN that is training: what goes wrong, in plain words, with the number that says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from data.files import write_json
from generators.turns import Outcome

FINDINGS_FILE = "warnings.json"

#: From this share of images on that the discriminator tells apart, it has won.
WON = 0.98
#: Up to this share, and this lead of the real images' mean score, it is blind; chance is 0.5, and a hinge is 1 wide.
BLIND, BLIND_LEAD = 0.55, 0.05
#: How many times as much as guessing the discriminator's loss may cost.
DIVERGED = 5.0
#: Below this diversity, modes have collapsed; 1 is as diverse as real images. Not in the first tenth of the training.
COLLAPSED = 0.3
#: From this share of its preference on that validation images do not enjoy, the discriminator memorises. Some of it is
#: the rule on a few hundred images, and does no harm.
MEMORISED = 0.8

_LONGEST_WINDOW, _SHORTEST_WINDOW = 200, 50


@dataclass(frozen=True)
class Finding:
    """One thing that went wrong.

    Attributes:
        kind: names the monitor; each speaks at most once in a training.
        step: steps done.
        number: what was measured.
        sentence: what it means and what to try.
    """

    kind: str
    step: int
    number: float
    sentence: str


class Health:
    """Watches scores and losses over a recent window, and the judge's numbers.

    Averages stay on the device, so that no step waits for them; only ``check`` does. Everything is a function of the
    training alone, and is part of its checkpoints.

    Args:
        path: of the findings, a JSON list in the order in which they were made.
        warn: is told each sentence once; None for nobody.
        steps: of the whole training; the window is a tenth of them, from 50 to 200.
        guessing: the discriminator's adversarial loss where it says 0 to everything.
        device: where outcomes are.
    """

    def __init__(
        self, path: Path, warn: Callable[[str], None] | None, *, steps: int, guessing: float, device: torch.device
    ) -> None:
        self._path = path
        self._warn = warn
        self._steps = steps
        self._window = min(_LONGEST_WINDOW, max(_SHORTEST_WINDOW, steps // 10))
        self._guessing = guessing
        self._averages = torch.zeros(4, device=device)
        self._memorised = 0.0
        self._findings: list[Finding] = []
        self._write()

    @torch.no_grad()
    def watch(self, step: int, outcome: Outcome) -> None:
        """Adds the discriminator's last turn of the 0-based step ``step`` to the averages."""
        real, fake = outcome.real_scores, outcome.fake_scores
        told_apart = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        present = torch.stack([told_apart, real.mean(), fake.mean(), outcome.losses["adversarial"]])
        self._averages.lerp_(present, max(1 / self._window, 1 / (step + 1)))

    def check(self, done: int) -> dict[str, float]:
        """Looks at the averages when ``done`` steps are done; returns them for the log."""
        told_apart, real, fake, loss = self._averages.tolist()
        if done >= 2 * self._window:
            self._check_scores(done, told_apart, real - fake)
            self._check_loss(done, loss)
        return {"told_apart": told_apart}

    def check_memory(self, done: int, share: float) -> None:
        """Looks at the share of what the discriminator knows that it knows by heart; see ``overfitting``."""
        self._memorised += (share - self._memorised) / 4
        if self._memorised >= MEMORISED and done >= 2 * self._window:
            self._find(
                "discriminator_memorises",
                done,
                self._memorised,
                f"the discriminator memorises: {self._memorised:.0%} of what it prefers training images by, over "
                f"generated ones, it does not grant to validation images; add augment operations, set "
                f"consistency_weight to 10, or train on more images.",
            )

    def check_judged(self, row: Mapping[str, float]) -> None:
        """Looks at a judged snapshot's row."""
        diversity = row.get("diversity")
        if diversity is not None and diversity < COLLAPSED and 10 * row["step"] > self._steps:
            self._find(
                "modes_collapse",
                int(row["step"]),
                diversity,
                f"modes collapse: generated images of one label differ only {diversity:.0%} as much as real ones; "
                f"lower generator_learning_rate, take a larger batch_size or set r1_weight to 1.",
            )

    def _check_scores(self, done: int, told_apart: float, lead: float) -> None:
        if told_apart >= WON:
            self._find(
                "discriminator_won",
                done,
                told_apart,
                f"the discriminator has won: it tells {told_apart:.1%} of real and generated images apart, and the "
                f"generator learns little from it; lower discriminator_learning_rate, add augment operations or set "
                f"r1_weight to 1.",
            )
        elif told_apart <= BLIND and lead <= BLIND_LEAD:
            self._find(
                "discriminator_blind",
                done,
                told_apart,
                f"the discriminator is blind: it tells {told_apart:.1%} of real and generated images apart, where "
                f"chance is 50 %, and scores real ones {lead:.2g} higher on average; raise "
                f"discriminator_learning_rate or discriminator_steps, or lower r1_weight and consistency_weight.",
            )

    def _check_loss(self, done: int, loss: float) -> None:
        # An infinite loss ends the training at the next log, with a sentence of its own.
        if DIVERGED * self._guessing <= loss < math.inf:
            self._find(
                "diverging",
                done,
                loss,
                f"the training diverges: the discriminator's loss is {loss:.3g}, where guessing costs "
                f"{self._guessing:.3g}; lower both learning rates, or set gradient_clip to 1.",
            )

    def _find(self, kind: str, step: int, number: float, sentence: str) -> None:
        if any(finding.kind == kind for finding in self._findings):
            return
        self._findings.append(Finding(kind, step, number, f"After {step} steps {sentence}"))
        self._write()
        if self._warn is not None:
            self._warn(self._findings[-1].sentence)

    def _write(self) -> None:
        write_json(self._path, [asdict(finding) for finding in self._findings])

    def state_dict(self) -> dict[str, Any]:
        """Averages and findings."""
        findings = [asdict(finding) for finding in self._findings]
        return {"averages": self._averages, "memorised": self._memorised, "findings": findings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes them back, and undoes findings in the file that are younger."""
        self._averages.copy_(state["averages"])
        self._memorised = state["memorised"]
        self._findings = [Finding(**finding) for finding in state["findings"]]
        self._write()
