"""Plots of the audit: the three terms of the error bound, and the shares of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from flows.reporting.drawing import ACCENT, COLOURS, Plot, draw
from flows.reporting.wording import share

_MOST_GROUPS = 24
_TERMS = (("images", "Number of images"), ("gap", "Distance to real images"), ("labels", "Label noise"))


def terms_plot(found: Mapping[str, Any]) -> Plot:
    """Two bars a term: training on real and synthetic images, and on the real ones alone.

    Args:
        found: the object of ``audit.json``.
    """
    bound, gap = found["bound"], found["gap"]
    alone = {"images": bound["alone"], "gap": 0.0, "labels": 0.0}
    weight = 1.0 - found["real_fraction"]
    spread = 2 * weight * gap["error"] if gap["value"] is not None else 0.0
    reach = max(*((bound[key] or 0.0) + (spread if key == "gap" else 0.0) for key, _ in _TERMS), alone["images"])

    def paint(axes: Axes) -> None:
        for place, (key, name) in enumerate(_TERMS):
            value = bound[key]
            colour = ACCENT if key == bound["largest"] else COLOURS["series-2"]
            axes.text(0, 0.44 - place, name, va="center", color=COLOURS["ink"])
            for offset, length, shade in ((0.14, value, colour), (-0.14, alone[key], COLOURS["grey"])):
                middle, end = offset - place, length or 0.0
                axes.barh(middle, 100 * end, height=0.25, color=shade, lw=0)
                if key == "gap" and shade == colour and length is not None:
                    axes.plot([100 * max(0.0, end - spread), 100 * (end + spread)], [middle] * 2, color=COLOURS["ink"])
                    noise = 100 * weight * max(0.0, gap["null_high"])
                    axes.plot([noise] * 2, [middle - 0.2, middle + 0.2], color=COLOURS["ink"], ls=":", lw=1.5)
                    end = max(end + spread, weight * gap["null_high"])
                text = "not measured" if length is None else share(length)
                axes.text(100 * (end + 0.015 * reach), middle, text, va="center", color=COLOURS["muted"])
        axes.set_xlim(0, 122 * reach)
        axes.set_ylim(-2.45, 0.65)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("part of a loss between 0 and 1 [%], less is better")

    spoken = "; ".join(
        f"{name}: {'not measured' if bound[key] is None else share(bound[key])}, student alone {share(alone[key])}"
        for key, name in _TERMS
    )
    svg = draw("audit-terms", f"Three terms of a bound on the error. {spoken}.", paint, width=410, height=250)
    shades = [("series-1", "real + synthetic, the largest term")]
    shades += [("series-2", "real + synthetic"), ("grey", "student alone")]
    return Plot("Three terms of a bound on the error of a student", svg, tuple(shades))


def balance_plots(found: Mapping[str, Any]) -> list[Plot]:
    """Shares of the labels, but where all are equal, and of the bins of each value where labels have several parts.

    Args:
        found: ``balance`` of ``audit.json``.
    """
    even = found["ratio"] == 1 and found["total_variation"] < 1e-9
    plots = [] if even else [_shares_plot("audit-balance", "Share of each label", found["groups"])]
    for place, axis in enumerate(found["axes"]):
        plots.append(_shares_plot(f"audit-balance-{place}", f"Share of each bin of {axis['axis']}", axis["groups"]))
    return plots


def _shares_plot(key: str, title: str, groups: Sequence[Mapping[str, Any]]) -> Plot:
    """Shares of the groups in their order; of many groups, of those whose shares differ most."""
    counts = np.array([[group["synthetic"], group["training"]] for group in groups], np.float64)
    shares = 100 * counts / counts.sum(axis=0)
    order = np.arange(len(groups))
    if len(groups) > _MOST_GROUPS:
        order = np.argsort(-np.abs(shares[:, 0] - shares[:, 1]), kind="stable")[:_MOST_GROUPS]
        title += f", the {_MOST_GROUPS} of {len(groups)} that differ most"
    places = -np.arange(len(order))

    def paint(axes: Axes) -> None:
        axes.barh(places, shares[order, 0], height=0.62, color=ACCENT, alpha=0.85, lw=0)
        axes.vlines(shares[order, 1], places - 0.42, places + 0.42, color=COLOURS["series-2"], lw=2)
        axes.set_yticks(places, [_short(str(groups[row]["label"])) for row in order.tolist()])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(0.3 - len(order), 0.7)
        axes.set_xlim(0, 1.05 * shares[order].max())
        axes.set_xlabel("share [%]")

    spoken = f"{title}: of synthetic images from {shares[:, 0].min():.1f} to {shares[:, 0].max():.1f} %."
    svg = draw(key, spoken, paint, width=410, height=20 * len(order) + 60)
    return Plot(title, svg, (("series-1", "synthetic images"), ("series-2", "training images")))


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
