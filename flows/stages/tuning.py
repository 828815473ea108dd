"""Stage ``tuning``: short student runs on the validation split choose the quantile and the count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.execute import StageContext
    from flows.filtering import CandidateFilter, Rows

VERSION = 1


def run(context: StageContext) -> dict[str, Any]:
    """Writes ``tuning.json``: the scores of all short runs, and the quantile and the count that they choose.

    First the student alone and with each quantile, then with each share of what the chosen quantile keeps; each
    choice is by the one-standard-error rule (``flows.tuning.choose``). A run is a shard, so that a killed stage goes on
    at the first one that is missing. What would lose a class is left out.

    Raises:
        StageError: if no quantile keeps images of all classes.
    """
    from data.files import write_json
    from flows.filter_config import Synthetic
    from flows.reporting.wording import higher_is_better
    from flows.short_runs import ShortRuns
    from flows.tuning import advantage, choose, described, described_choice, paired_error, score_unit
    from students.evaluation import selection_metric

    options, tuning = context.config.synthetic, context.node.request.config["tuning"]
    runs, defaults = ShortRuns(context), Synthetic()
    metric = selection_metric(runs.real.label_space)
    higher = higher_is_better(metric)
    result: dict[str, Any] = {}

    tried = sorted(tuning["quantiles"], reverse=True) if isinstance(options.quantile, str) else [options.quantile]
    kept, skipped = _kept(runs.filter, tried)
    quantile, by_quantile = next(iter(kept)), {}
    if isinstance(options.quantile, str):
        count = None if isinstance(options.count, str) else options.count
        alone, *values = runs.scores("quantile", [None, *(runs.filter.take(rows, count) for rows in kept.values())])
        by_quantile = dict(zip(kept, values, strict=True))
        quantile, error = choose(by_quantile, higher_is_better=higher)
        choice = described_choice(by_quantile, quantile, error, defaults.quantile)
        result["quantile"] = {**choice, "skipped": skipped}
    else:
        (alone,) = runs.scores("quantile", [None])
    best, by_count = by_quantile.get(quantile, []), {}

    if isinstance(options.count, str):
        shares, sets, lost = _taken(runs.filter, kept[quantile], tuning["shares"])
        # All images of the chosen quantile have been tried already, if it was not given.
        known = {len(kept[quantile]): best} if best else {}
        missing = [number for number in shares if number not in known]
        rows = runs.scores("count", [sets[number] for number in missing])
        made = known | dict(zip(missing, rows, strict=True))
        by_count = {number: made[number] for number in shares}
        chosen, error = choose(by_count, higher_is_better=higher)
        choice = described_choice(by_count, chosen, error, defaults.count)
        choice["rows"] = [{**row, "share": shares[row["value"]]} for row in choice["rows"]]
        choice["skipped"] = lost
        result["count"], best = choice, by_count[chosen]

    gain = advantage(best, alone, higher_is_better=higher)
    error = paired_error([alone, *by_quantile.values(), *by_count.values()])
    if gain < -error:
        context.warn(
            f"in the short runs the student alone is better than with these synthetic images, by {-gain:.3g} "
            f"({metric} on validation rows, standard error {error:.2g}); improve the generator before you rely on them."
        )
    write_json(
        context.workspace.path("tuning.json"),
        {
            **result,
            "alone": described(alone),
            "gain": gain,
            "standard_error": error,
            "metric": metric,
            "unit": score_unit(runs.real.label_space),
            "seeds": tuning["seeds"],
            "steps": tuning["steps"],
            "method": context.config.distill.methods[0].name,
        },
    )
    numbers = {name: choice["chosen"] for name, choice in result.items()}
    return {**numbers, "steps": tuning["steps"], "gain": gain, "standard_error": error}


def _taken(
    chosen: CandidateFilter, kept: Rows, shares: list[float]
) -> tuple[dict[float, float], dict[float, Rows], list[float]]:
    """The number of images of each share, the rows of each number, and the shares that lose a class, left out.

    Raises:
        StageError: of the last share, if all lose one.
    """
    from data.errors import StageError

    numbers: dict[float, float] = {}
    sets: dict[float, Rows] = {}
    lost: list[float] = []
    for share in shares:
        number = max(1, round(share * len(kept)))
        try:
            sets[number] = chosen.take(kept, number)
        except StageError:
            if share == shares[-1]:
                raise
            lost.append(share)
        else:
            numbers[number] = share
    return numbers, sets, lost


def _kept(chosen: CandidateFilter, quantiles: list[float]) -> tuple[dict[float, Rows], list[float]]:
    """What each quantile keeps, and the quantiles that lose a class, which are left out.

    Raises:
        StageError: of the first quantile, if all lose one.
    """
    from data.errors import StageError

    kept: dict[float, Rows] = {}
    faults: dict[float, StageError] = {}
    for quantile in quantiles:
        try:
            kept[quantile] = chosen.keep(quantile)[0]
        except StageError as error:
            faults[quantile] = error
    if not kept:
        raise next(iter(faults.values()))
    return kept, sorted(faults)
