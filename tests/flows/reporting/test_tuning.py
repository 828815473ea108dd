"""The section on tuning: what was chosen and why, against the alternatives, and what it cost."""

import json
from dataclasses import replace

import pytest

from flows.reporting.build import build_report
from flows.reporting.filtering import coverage_note, filter_of, passed
from flows.reporting.samples import Samples, teacher_plots
from flows.reporting.tuning import tuning_section


def choice(chosen, error, *rows):
    rows = [{"value": value, "mean": sum(values) / 2, "std": 0.1, "values": values} for value, *values in rows]
    return {"chosen": chosen, "default": None, "standard_error": error, "rows": rows}


FOUND = {
    "quantile": choice(1.0, 0.5, (0.5, 91.0, 91.4), (0.9, 92.0, 93.0), (1.0, 92.1, 92.3)) | {"skipped": [0.3]},
    "count": choice(500, 0.4, (500, 93.0, 92.9), (2000, 92.1, 92.3)),
    "alone": {"mean": 90.5, "std": 0.7, "values": [90.0, 91.0]},
    "gain": 2.45,
    "standard_error": 0.45,
    "metric": "accuracy",
    "unit": "%",
    "seeds": [0, 1],
    "steps": 360,
    "method": "kd",
}
for row, share in zip(FOUND["count"]["rows"], (0.25, 1.0), strict=True):
    row["share"] = share


@pytest.fixture
def tuned(digits, tmp_path):
    """Inputs of a report with what tuning found."""

    def make(**changes):
        (tmp_path / "tuning.json").write_text(json.dumps({k: v for k, v in (FOUND | changes).items() if v is not None}))
        manifest = {**digits.inputs.manifests["synthetic"], "seconds": 20.0}
        return replace(
            digits.inputs,
            config={**digits.inputs.config, "distill": {"students": [{"name": "small"}]}},
            folders={**digits.inputs.folders, "tuning": tmp_path},
            manifests={**digits.inputs.manifests, "tuning": manifest},
        )

    return make


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_the_choice_is_told_with_its_reason(tuned):
    section = tuning_section(tuned(), 200.0)
    assert plain(section.choices[0]) == (
        "Quantile 1 was chosen: its mean of 92.20 % lies within one standard error (0.50 points) of the best, "
        "92.50 % at 0.9 "
        "(left out as they lose a class: 0.3)."
    )
    assert plain(section.choices[1]) == "Count 500 was chosen: it has the best mean, 92.95 %."
    assert plain(section.against_alone) == (
        "In these runs it is better than the student alone, which has 90.50 % "
        "(difference 2.45 points, standard error 0.45 points)."
    )
    assert plain(section.cost) == "The short runs took 20.0 s, 10.0 % of the time of all stages."
    assert "with kd for 360 steps with 2 seeds" in plain(section.intro)
    assert [plot.title for plot in section.plots] == ["Quantile of the teacher's filter", "Number of images"]
    for plot, settings in zip(section.plots, (3, 2), strict=True):
        assert plot.svg.count("fill-opacity: 0.85") == 2 * settings  # a dot a seed
        assert plot.svg.count("stroke-dasharray: 4") == 1  # the student alone


@pytest.mark.parametrize(
    ("gain", "words"), [(0.3, "not to be told from"), (-0.3, "not to be told from"), (-0.6, "worse than")]
)
def test_it_is_compared_with_the_student_alone(tuned, gain, words):
    assert f"it is {words} the student alone" in tuning_section(tuned(gain=gain), 0.0).against_alone


def test_lower_errors_are_better(tuned):
    quantile = choice(0.5, 0.1, (0.5, 3.0, 3.2), (1.0, 4.0, 4.0))
    section = tuning_section(tuned(quantile=quantile, count=None, metric="mae", unit="degree"), 0.0)
    assert plain(section.choices[0]) == "Quantile 0.5 was chosen: it has the best mean, 3.10°."
    assert len(section.plots) == 1


def test_the_page_has_the_section_between_results_and_pictures(tuned, digits, tmp_path):
    inputs = tuned()
    build_report(inputs, tmp_path / "report")
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    places = [html.index(f'id="{name}"') for name in ("results", "tuning", "images")]
    assert places == sorted(places)
    assert 'id="tuning"' not in (digits.folder / "report.html").read_text(encoding="utf-8")
    assert tuning_section(digits.inputs, 1.0) is None


def test_coverage_is_noted():
    assert coverage_note({}) == ""
    assert coverage_note({"sentence": "the filter keeps 3 of 9.", "windows_with_global_threshold": 1}) == (
        "The filter keeps 3 of 9. 1 window with too few candidates took the threshold of all."
    )


def test_errors_and_what_passed_are_those_of_the_recorded_filter(digits):
    samples = Samples(digits.inputs)
    taken = samples.kept
    assert passed(samples.candidates, samples.selection, taken) is taken
    selection = samples.selection | {"count": 5, "error": "margin", "quantile": 0.5}
    found = passed(samples.candidates, selection, taken)
    chosen = filter_of(samples.candidates, selection)
    assert found.sum() == len(chosen.keep(0.5)[0])
    samples.selection = selection
    assert teacher_plots(samples)[0].title == "Teacher error: margin"
