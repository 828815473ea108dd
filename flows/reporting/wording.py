"""Numbers and names as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Methods as a person reads them; those of one's own are called what they are called in the configuration.
_METHODS = {
    "ce": "cross-entropy",
    "mse": "squared error",
    "joint": "both labels",
    "kd": "KD",
    "joint_kd": "joint KD",
    "attentive_imitation": "attentive imitation",
    "augmented_kd": "augmented KD",
    "cckd": "CCKD",
    "ckd": "CKD",
    "correlation": "correlation matching",
    "cswt": "CSWT",
    "ctkd": "CTKD",
    "dist": "DIST",
    "dkd": "DKD",
    "dtkd": "DTKD",
    "gaussian_kl": "Gaussian KL",
    "hint": "feature hint",
    "imitation": "imitation",
    "input_gradients": "input gradients",
    "lskd": "logit standardisation",
    "mixup_kd": "mixup KD",
    "mlld": "multi-level logits",
    "nkd": "NKD",
    "outlier_rejection": "outlier rejection",
    "pairwise_difference": "pairwise difference",
    "r2kd": "R2KD",
    "rkd": "RKD",
    "teacher_bounded": "teacher-bounded loss",
    "upper_bound": "upper bound",
}
_UNITS = {"%": " %", "degree": "°"}
#: Methods that train on labels only; the student alone is one of them on real data.
ALONE = ("ce", "mse", "joint")
MINUS = "\N{MINUS SIGN}"


def plain_words(method: str, data: str, label: str = "") -> str:
    """What a student was trained with: "student alone", "KD", "real + synthetic", "KD on real + synthetic".

    Args:
        method: its name.
        data: kind of training data.
        label: what the configuration calls this variant of the method, which then stands for its name.
    """
    if method in ALONE:
        variant = f" ({label})" if label else ""
        return f"{'student alone' if data == 'real' else plain_data(data)}{variant}"
    name = variant_words(method, label)
    return name if data == "real" else f"{name} on {plain_data(data)}"


def method_words(method: str) -> str:
    """Name of a method, or of several that are joined: "DTKD + CKD"."""
    return " + ".join(_METHODS.get(part, part) for part in method.split("+"))


def variant_words(method: str, label: str = "") -> str:
    """What a method, or a variant of it that has a label, is called beside others: "KD", "labels only"."""
    if method in ALONE:
        return f"labels only ({label})" if label else "labels only"
    return label or method_words(method)


def steps_words(taken: Sequence[int], allowed: int) -> str:
    """Optimiser steps of some seeds: "300", or "70 of 300" and "70–130 of 300" where some stopped early."""
    low, high = min(taken, default=allowed), max(taken, default=allowed)
    if low == high == allowed:
        return count(allowed)
    taken_words = count(low) if low == high else f"{count(low)}–{count(high)}"
    return f"{taken_words} of {count(allowed)}"


def plain_data(data: str) -> str:
    """Kind of training data, spaced for reading."""
    return " + ".join(data.split("+"))


def added_data(data: str) -> str:
    """What a kind of training data has beside the real images, as an adjective: "synthetic", "mixed"."""
    return data.split("+")[-1]


def metric_words(metric: str) -> str:
    """Name of a metric in words."""
    names = {"accuracy": "accuracy", "mae": "mean absolute error", "rmse": "root mean squared error"}
    return names.get(metric, metric)


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is the better one."""
    return metric == "accuracy"


def unit_words(unit: str) -> str:
    """A unit as a suffix, with its space where it takes one."""
    return _UNITS.get(unit, f" {unit}" if unit else "")


def decimals(scale: float) -> int:
    """Decimal places at which numbers of this size are shown."""
    scale = abs(scale)
    if scale >= 1 or scale == 0 or not math.isfinite(scale):
        return 2
    return min(8, 2 - math.floor(math.log10(scale)))


def number(value: float | None, places: int = 2, *, signed: bool = False) -> str:
    """A number with a fixed number of decimals and a typographic minus; an em dash for None."""
    if value is None or not math.isfinite(value):
        return "—"
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    return text.replace("-", MINUS)


def mean_and_deviation(mean: float, deviation: float | None, places: int) -> str:
    """Mean ± standard deviation, or the mean alone for one seed."""
    return number(mean, places) if deviation is None else f"{number(mean, places)} ± {number(deviation, places)}"


def unbroken(text: str) -> str:
    """A text in which no line ends between a number and its unit or deviation."""
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}").replace(" %", "\N{NO-BREAK SPACE}%")


def difference_words(value: float, unit: str, places: int) -> str:
    """A difference with its sign; differences of percentages are points."""
    return f"{number(value, places, signed=True)}{' points' if unit == '%' else unit_words(unit)}"


def count(value: float | None) -> str:
    """A whole number with thousands separated by narrow spaces; an em dash for None."""
    return "—" if value is None else f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def share(value: float | None) -> str:
    """A share of one as a percentage; an em dash for None."""
    return "—" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def plural(value: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds is None:
        return "—"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
