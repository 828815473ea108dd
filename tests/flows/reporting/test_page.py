from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from flows.reporting.build import build_report
from flows.reporting.inputs import ReportInputs


class Page(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(folder: Path) -> tuple[str, Page, dict]:
    html = (folder / "report.html").read_text(encoding="utf-8")
    return html, Page(html), json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_numbers_of_page_and_json_are_numpys(digits):
    _, page, report = read(digits.folder)
    for row in report["summary"]:
        values = [
            result["value"]
            for result in report["results"]
            if (result["method"], result["data"]) == (row["method"], row["data"])
        ]
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["std"] == pytest.approx(np.std(values, ddof=1))
        assert f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" in page.text
    assert [row["difference"] for row in report["summary"]] == [None, pytest.approx(2.125), pytest.approx(4.25)]
    assert report["teacher"]["value"] == 97.25
    assert (report["run"], report["metric"], report["unit"]) == ("run", "accuracy", "%")
    assert len(report["stages"]) == 7 + 9
    assert "took the same 50 optimiser steps" in page.text
    assert "one image is 3.33 points" in page.text


@pytest.mark.parametrize("name", ["digits", "chairs", "pose", "models"])
def test_page_is_self_contained_and_described(name, request):
    html, page, _ = read(request.getfixturevalue(name).folder)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "base"}
    links = [attributes.get(key) for _, attributes in page.elements for key in ("src", "href") if key in attributes]
    assert len(links) > 5
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import", html)
    pictures = [attributes for tag, attributes in page.elements if tag in ("img", "svg")]
    assert all(attributes.get("alt") or attributes.get("aria-label") for attributes in pictures)
    for heading in ("Results", "Images", "Filtering", "Training", "Provenance"):
        assert heading in page.text
    identifiers = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))


def test_hostile_text_stays_text(digits, hostile, tmp_path):
    student = replace(digits.inputs.students[0], student=hostile)
    inputs = replace(digits.inputs, name=hostile, students=[student, *digits.inputs.students])
    build_report(inputs, tmp_path)
    html, page, _ = read(tmp_path)
    assert hostile not in html
    assert page.text.count(hostile) >= 6
    assert "script" not in {tag for tag, _ in page.elements}
    assert "$two_{$" in page.text


@pytest.mark.parametrize("name", ["digits", "chairs", "pose", "models"])
def test_same_inputs_give_the_same_bytes(name, request, tmp_path):
    run = request.getfixturevalue(name)
    returned = build_report(run.inputs, tmp_path / "again")
    for file in ("report.html", "report.json"):
        assert (run.folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert returned == json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    assert not list(run.folder.glob("*.tmp"))


def test_a_class_with_a_scalar_has_results_of_both(models):
    html, page, report = read(models.folder)
    assert (report["metric"], report["unit"]) == ("accuracy", "%")
    rows = [(row["metric"], row["unit"], row["method"], row["data"]) for row in report["summary"]]
    ways = [("joint", "real"), ("joint", "real+synthetic"), ("joint_kd", "real+synthetic")]
    assert rows == [(*figure, *way) for figure in (("accuracy", "%"), ("mae", "degree")) for way in ways]
    assert len(report["results"]) == 2 * 9
    for row in report["summary"]:
        values = [80.0 + 2.125 * ways.index((row["method"], row["data"])) + 0.7 * seed**2 for seed in range(3)]
        if row["metric"] == "accuracy":
            assert row["validation"] == pytest.approx(np.mean(values) + 1)
        else:
            values = [value / 40 for value in values]
            assert row["validation"] == pytest.approx(np.mean(values) * 40 / 50)
        assert row["mean"] == pytest.approx(np.mean(values))
        assert f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" in page.text
    # More is better for one of the figures, less for the other.
    assert [row["best"] for row in report["summary"]] == [False, False, True, True, False, False]
    assert {effect["metric"] for effect in report["effects"]} == {"accuracy", "mae"}
    assert [figure["value"] for figure in report["teacher"]["figures"]] == [97.25, pytest.approx(97.25 / 40)]
    assert ["Class: accuracy" in page.text, "Yaw angle: mean absolute error" in page.text] == [True, True]
    assert report["axes"] == []
    first, second = re.findall(r'<p class="sentence">(.*)</p>', html)
    assert first.startswith("By accuracy, ")
    assert second.startswith("By mean absolute error, ")
    assert "the teacher reaches 97.25" in first
    assert "the teacher reaches 2.43°" in second
    assert report["sentence"].replace(" ", "") == (first + second).replace(" ", "").replace("\xa0", "")


def test_a_vector_has_one_result_and_the_errors_of_its_axes(pose, hostile):
    _, page, report = read(pose.folder)
    assert (report["metric"], report["unit"]) == ("mae", "% of range")
    assert len(report["results"]) == 9
    assert {row["unit"] for row in report["summary"]} == {"% of range"}
    assert "Test mean absolute error [% of range]" in page.text
    assert [(row["of"], row["unit"], row["method"]) for row in report["axes"]] == [
        (axis, unit, method)
        for axis, unit in (("yaw", "degree"), (hostile, "degree"), ("size", ""))
        for method in ("mse", "mse", "imitation")
    ]
    table = page.text[page.text.index("Mean absolute error of each axis") :]
    assert ["yaw [degree]" in table, f"{hostile} [degree]" in table] == [True, True]
    for scale, row in zip(np.repeat([10, 100, 1000], 3), report["axes"], strict=True):
        values = np.array([80.0, 80.7, 82.8]) + 2.125 * [
            "mse real",
            "mse real+synthetic",
            "imitation real+synthetic",
        ].index(f"{row['method']} {row['data']}")
        assert row["mean"] == pytest.approx(np.mean(values / scale))
    assert f"{97.25 / 10:.2f}" in table
    assert report["sentence"].count("the teacher reaches 19.45 % of range") == 1


def test_absent_stages_leave_out_their_sections(digits, tmp_path):
    few = {name: digits.inputs.folders[name] for name in ("prepare", "teacher")}
    real = [run for run in digits.inputs.students if run.data == "real"]
    build_report(replace(digits.inputs, folders=few, students=real), tmp_path / "real")
    _, page, _ = read(tmp_path / "real")
    assert "Filtering" not in page.text
    assert "Only the student alone was trained" in page.text
    build_report(ReportInputs("empty", {}, {}, {}), tmp_path / "empty")
    _, page, report = read(tmp_path / "empty")
    assert report["sentence"] == "No student was trained in this run."
    assert report["teacher"] is None
    assert "Images" not in page.text


def test_single_seed(one_seed, tmp_path):
    report = build_report(one_seed, tmp_path)
    assert [row["std"] for row in report["summary"]] == [None] * 3
    assert report["sentence"].startswith("One seed cannot tell a gain from chance")
    assert "noise unknown" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_unequal_steps_are_said(digits, tmp_path):
    *others, last = digits.inputs.students
    longer = replace(last, manifest={**last.manifest, "metrics": {**last.manifest["metrics"], "steps": 70}})
    build_report(ReportInputs("run", {}, {}, {}, [*others, longer]), tmp_path)
    assert "different numbers of optimiser steps (50, 70)" in read(tmp_path)[1].text


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "scheme"),
    [("digits", "light"), ("digits", "dark"), ("pose", "light"), ("models", "light"), ("many", "light")],
)
def test_page_never_scrolls_sideways(name, scheme, request):
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no Chromium on this system")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto((request.getfixturevalue(name).folder / "report.html").as_uri())
        for width in (320, 390, 1440):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert all(url.startswith(("file:", "data:")) for url in requests)
