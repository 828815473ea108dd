"""The page of an ablation: its intervals, its sentence, its table, and that it reads well anywhere."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from data.reading import open_set
from flows.reporting.ablation.build import build_ablation
from flows.reporting.ablation.inputs import AblationInputs, Arm
from flows.reporting.ablation.rows import figure_rows
from flows.reporting.ablation.words import ablation_sentences
from flows.reporting.results import Summary
from flows.reporting.verdict import compare

ARMS = ("alone", "raw", "subsampled", "filtered", "relabelled")
SETTINGS = {"error": "auto", "quantile": 0.8, "count": None, "scope": "per_class", "relabel": "none"}


def summary(values, name="x", metric="accuracy", seeds=(0, 1, 2)):
    unit = "%" if metric == "accuracy" else "degree"
    return Summary("small", "ce", name, 50, metric, unit, seeds, tuple(values), 0, None, name=name)


def trained(run, values, other):
    """A student's run with other figures: accuracy, or the first figure, and the mean absolute error of the value."""
    metrics = dict(run.manifest["metrics"])
    figures = metrics.get("figures", [{name: metrics[name] for name in ("metric", "unit")} | {"of": ""}])
    figures = [{**figure, "value": values if place == 0 else other} for place, figure in enumerate(figures)]
    return {**run.manifest, "metrics": {**metrics, "figures": figures}}


def ablation_of(run, table, *, students=("tiny",), left_out=None, name="run"):
    """Inputs of a page whose students have given values: a row an arm, a column a seed."""
    source = run.inputs.students[0]
    arms = []
    for arm, values in table.items():
        alone = arm == "alone"
        method = source.method
        own = tuple(
            replace(
                source,
                student=student,
                method=method,
                data="real" if alone else "real+synthetic",
                seed=seed,
                manifest=trained(source, value + place, (100 - value) / 10),
            )
            for place, student in enumerate(students)
            for seed, value in enumerate(values)
        )
        candidates = {"metrics": {"drawn": 400, "accepted": 120, "acceptance": 0.3, "teacher_calls": 120}}
        kept = {"metrics": {"taken": 96, "kept": 96, "candidates": 120}}
        error = "none" if arm in ("raw", "subsampled") else "auto"
        relabel = "soft" if arm == "relabelled" else "none"
        settings = {**SETTINGS, "subsample": arm != "raw", "error": error, "relabel": relabel}
        arms.append(Arm(arm, own, {}, None, None) if alone else Arm(arm, own, settings, candidates, kept))
    manifests = {"teacher": run.inputs.manifests["teacher"], "prepare": run.inputs.manifests["prepare"]}
    real = open_set(run.inputs.folders["prepare"] / "real.h5")
    return AblationInputs(name, {"source": {"kind": "digits"}}, tuple(arms), left_out or {}, manifests, real)


def table_of(*rows):
    return dict(zip(ARMS, rows, strict=False))


CLEAR = table_of([90, 91, 92], [92, 93, 94.1], [92.1, 92.9, 94], [90.9, 92.1, 93], [95, 96, 97.1])
NOISE = table_of([90, 91, 95], [92, 90, 93], [91, 93, 92], [94, 91, 90], [90, 95, 93])


def test_paired_interval_of_two_rows_is_scipys():
    first, second = [92.1, 92.9, 94.4], [91.0, 92.5, 93.1]
    rows = [summary(first, "a"), summary(second, "b")]
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert compare(rows[0], rows[1], rows).half_width == pytest.approx((high - low) / 2)


def test_paired_interval_of_many_rows_is_that_of_the_linear_model_with_seeds():
    values = np.random.default_rng(0).normal(90, 2, (5, 4))
    rows = [summary(row, f"arm {place}", seeds=(0, 1, 2, 3)) for place, row in enumerate(values)]
    arm, seed = np.divmod(np.arange(20), 4)
    design = np.concatenate([np.eye(5)[arm], np.eye(4)[seed][:, 1:]], axis=1)
    _, residual, _, _ = np.linalg.lstsq(design, values.ravel(), rcond=None)
    freedom = 20 - design.shape[1]
    contrast = np.array([-1.0, 0, 0, 1, 0, 0, 0, 0])
    error = np.sqrt(residual[0] / freedom * contrast @ np.linalg.inv(design.T @ design) @ contrast)
    found = compare(rows[3], rows[0], rows)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert found.difference == pytest.approx(np.mean(values[3] - values[0]))


def test_what_a_seed_adds_to_all_arms_is_no_noise():
    rows = [summary([80, 90, 100], "a"), summary([81, 91.1, 101], "b")]
    assert compare(rows[1], rows[0], rows).verdict == "better"
    other = [rows[0], summary([81, 91.1, 101], "b", seeds=(3, 4, 5))]
    assert compare(other[1], other[0], other).verdict == "noise"
    equal = [summary([80, 90, 100], name) for name in "ab"]
    assert compare(*equal, equal).verdict == "noise"


def test_one_seed_tells_nothing():
    rows = [summary([80], "a", seeds=(0,)), summary([90], "b", seeds=(0,))]
    assert compare(*rows, rows).verdict == "unknown"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            CLEAR,
            "Generated images as they come (+2.03 points) and relabelling (+4.03 points) helped; the teacher's filter "
            "(−1.00 points) hurt; the effect of rejection sampling is within the noise of 3 seeds; all 4 steps "
            "together take the student from an accuracy of 91.00 ± 1.00 % to 96.03 ± 1.05 % "
            "(+5.03 points, beyond that noise).",
        ),
        (NOISE, "No single step helped or hurt beyond the noise of 3 seeds; all 4 steps together take the student "),
        (
            table_of([90, 91, 92], [92, 93, 94], [94, 95, 96], [96, 97, 98.1], [98, 99, 99.9]),
            "Generated images as they come (+2.00 points), rejection sampling (+2.00 points), the teacher's filter "
            "(+2.03 points) and relabelling (+1.93 points) helped; all 4 steps together take the student from "
            "an accuracy of 91.00 ± 1.00 % to 98.97 ± 0.95 % (+7.97 points, beyond the noise of 3 seeds).",
        ),
    ],
)
def test_sentence_says_what_the_numbers_say(digits, table, expected):
    (text,) = ablation_sentences(figure_rows(ablation_of(digits, table)))
    assert text.startswith(expected)
    assert text.endswith(".")
    if table is NOISE:
        assert "within that noise)" in text


def test_less_error_is_better(chairs):
    table = table_of([5, 5.1, 5.2], [4, 4.1, 4.21], [4.5, 4.6, 4.7], [4.5, 4.6, 4.7], [4.5, 4.6, 4.71])
    (figure,) = figure_rows(ablation_of(chairs, table))
    verdicts = [row.against_previous.verdict for row in figure.rows[1:]]
    assert verdicts == ["better", "worse", "noise", "noise"]
    assert [row.summary.best for row in figure.rows] == [False, True, False, False, False]
    (text,) = ablation_sentences([figure])
    assert text.startswith("Generated images as they come (−1.00°) helped; rejection sampling (+0.50°) hurt; the eff")
    assert "a mean absolute error of 5.10 ± 0.10° to 4.60 ± 0.11° (−0.50°, beyond that noise)" in text


def test_files_have_every_row_and_the_same_bytes_again(digits, tmp_path):
    inputs = ablation_of(digits, CLEAR)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        returned = build_ablation(inputs, folder)
    for name in ("ablation.html", "ablation.json", "ablation.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    result = json.loads((tmp_path / "one" / "ablation.json").read_text())
    assert result == returned
    assert [row["arm"] for row in result["arms"]] == list(ARMS)
    for row, values in zip(result["arms"], CLEAR.values(), strict=True):
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["values"] == pytest.approx(values)
    previous = [row["difference_to_previous"] for row in result["arms"][1:]]
    assert previous == pytest.approx(np.diff([np.mean(values) for values in CLEAR.values()]))
    assert [row["acceptance"] for row in result["arms"]] == [None, None, 0.3, 0.3, 0.3]
    assert [row["images"] for row in result["arms"]] == [0, 96, 96, 96, 96]
    assert [row["teacher_calls"] for row in result["arms"]][:3] == [0, 0, 0]
    with Image.open(tmp_path / "one" / "ablation.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert picture.size[0] == 1120
    assert len(np.unique(colours, axis=0)) > 50  # lines and words on the paper


def page_of(inputs, folder):
    build_ablation(inputs, folder)
    return (folder / "ablation.html").read_text(encoding="utf-8")


def test_page_shows_table_plot_and_rows(digits, tmp_path):
    html = page_of(ablation_of(digits, CLEAR), tmp_path)
    assert html.count("<svg") == 1
    text = re.sub(r"<[^>]+>", " ", html.split("</style>")[1])
    for words in (
        "+\N{NO-BREAK SPACE}teacher&#39;s filter",
        "96.03 ± 1.05",
        "+5.03 points",
        "within the noise",
        "30.0 %",
        "80.0 %",
        "of the 120 candidates a random 80.0",
        "those of 400 draws",
        "the 80.0\N{NO-BREAK SPACE}% with the least teacher error (cross entropy), in each class",
        "probabilities of all classes",
        "took the same 50 optimiser steps",
        "Provenance",
    ):
        assert words in text
    assert not re.search(r"<(script|link|iframe|object|base)|@import|url\((?!#)", html)
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == re.findall(r'(?:src|href)="(#[^"]*)"', html)
    identifiers = re.findall(r' id="([^"]*)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert len(re.findall(r'<tr class="student', html)) == 5


def test_hostile_names_stay_text_and_absent_arms_are_explained(digits, hostile, tmp_path):
    table = {arm: values for arm, values in CLEAR.items() if arm != "subsampled"}
    inputs = ablation_of(digits, table, students=(hostile, "second"), name=hostile, left_out={"subsampled": hostile})
    html = page_of(inputs, tmp_path)
    assert hostile not in html
    assert "Rejection sampling was left out: &lt;script&gt;" in html
    assert len(re.findall(r'<tr class="student', html)) == 8
    sentences = re.findall(r'<p class="sentence">(.*)</p>', html)
    assert len(sentences) == 2
    assert sentences[1].startswith("For second, ")


def test_a_class_with_a_value_has_both_figures_in_one_table(models, tmp_path):
    html = page_of(ablation_of(models, CLEAR), tmp_path)
    assert html.count("<svg") == 2
    assert html.count('<table class="results">') == 1
    assert len(re.findall(r'<tr class="student', html)) == 10
    assert html.count('<span class="mark">best</span>') == 2
    for words in (">accuracy [%]<", ">mean absolute error [degree]<", "Every seed: accuracy"):
        assert words in html
    result = json.loads((tmp_path / "ablation.json").read_text())
    assert [(row["arm"], row["metric"]) for row in result["arms"]] == [
        (arm, metric) for metric in ("accuracy", "mae") for arm in ARMS
    ]
    first, second = re.findall(r'<p class="sentence">(.*)</p>', html)
    assert first.startswith("By accuracy, generated images")
    assert second.startswith("By mean absolute error, generated images as they come (−0.203°)")
    assert "its probabilities of all classes and its value" in html


def test_a_vector_has_one_figure(pose, tmp_path):
    page_of(ablation_of(pose, CLEAR), tmp_path)
    rows = json.loads((tmp_path / "ablation.json").read_text())["arms"]
    assert {(row["metric"], row["unit"]) for row in rows} == {("mae", "% of range")}
    assert len(rows) == 5


@pytest.mark.browser
@pytest.mark.parametrize(("name", "scheme"), [("digits", "light"), ("models", "dark")])
def test_page_never_scrolls_sideways(name, scheme, request, tmp_path):
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no Chromium on this system")
    sync_api = pytest.importorskip("playwright.sync_api")
    page_of(ablation_of(request.getfixturevalue(name), CLEAR), tmp_path)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "ablation.html").as_uri())
        for width in (320, 390, 1440):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert all(url.startswith(("file:", "data:")) for url in requests)
