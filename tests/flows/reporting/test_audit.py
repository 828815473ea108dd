"""The section on the audit: the numbers and pictures of the file, for any labels, and nothing where there is none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from data.compute import Compute
from data.reading import open_set
from data.workspace import Workspace
from filters.audit.bound import error_bound
from filters.audit.noise import label_noise, teacher_against
from flows.auditing.copies import audit_copies
from flows.auditing.words import advice, copy_verdicts
from flows.reporting.audit import audit_section
from flows.reporting.build import build_report
from flows.reporting.rendering import render
from flows.stages.audit import _balance
from flows.stages.common import RealSet

GAP = {"value": 0.3, "error": 0.04, "null_mean": 0.0, "null_high": 0.1, "validation": 30, "synthetic": 90}


class Page(HTMLParser):
    """The text of a page, its tags, and the sources of its pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img" and "nearest" in dict(attrs)["alt"]:
            self.pictures.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.text += data


def audited(run, root, gap=None):
    """The run's inputs with an audit of its sets, by the stage's own functions."""
    import torch

    gap = gap or GAP | {"dimensions": 8}
    folder = root / "audit"
    folder.mkdir()
    real = RealSet(open_set(run.inputs.folders["prepare"] / "real.h5"))
    made = open_set(run.inputs.folders["synthetic"] / "synthetic.h5")
    options = SimpleNamespace(audit=SimpleNamespace(images=200, listed=4))
    context = SimpleNamespace(config=options, seed=0, workspace=Workspace(folder))
    copies = audit_copies(context, real, made, Compute(torch.device("cpu")))
    outputs, labels, space = made.columns["teacher_outputs"], np.asarray(made.columns["labels"]), real.label_space
    against = teacher_against(outputs, labels, space)
    noise = {"before": against, "after": against, "validation": against, "soft": False}
    noise["estimate"] = label_noise(against, against, soft=False)
    bound = error_bound(30, copies["distinct"], 0.5, gap=gap["value"], noise=noise["estimate"]["total"])
    found = {
        "real_fraction": 0.5,
        "rows": {"synthetic": len(made), "training": 30, "validation": 30},
        "copies": copies,
        "balance": _balance(labels, real.train.labels, space),
        "noise": noise,
        "gap": gap,
        "bound": bound.to_dict(),
        "verdicts": copy_verdicts(copies),
        "advice": advice(bound, noise["estimate"], gap),
    }
    (folder / "audit.json").write_text(json.dumps(found, allow_nan=False, sort_keys=True))
    manifests = {**run.inputs.manifests, "audit": {**run.inputs.manifests["prepare"], "stage": "audit"}}
    return replace(run.inputs, folders={**run.inputs.folders, "audit": folder}, manifests=manifests), found


@pytest.mark.parametrize("kind", ["digits", "chairs", "pose", "models"])
def test_page_has_the_figures_and_pictures_of_the_file(kind, request, tmp_path):
    inputs, found = audited(request.getfixturevalue(kind), tmp_path)
    section = audit_section(inputs)
    page = Page(render("audit.html.j2", audit=section))
    assert "script" not in page.tags
    assert section.advice in page.text
    assert all(sentence in page.text for sentence in (*section.copies, *section.measured, section.balance))
    assert [part.name for part in section.parts] == ["training", "validation", "test"]
    assert all(len(part.pairs) == 4 for part in section.parts)
    assert len(page.pictures) == 12
    assert all(source.startswith("data:image/png;base64,") for source in page.pictures)
    first = found["copies"]["parts"]["training"]
    assert section.parts[0].cells[4] == f"{first['compared']['median_distance']:.1f}"
    pair = first["pairs"][0]
    assert (
        f"row {pair['synthetic_row']} of synthetic.h5, row {pair['real_row']} of real.h5"
        in section.parts[0].pairs[0].rows
    )
    names = [name for name, _ in section.noise]
    assert ("Mean of 1 − p(label) of the teacher" in names) == (kind in ("digits", "models"))
    assert sum("mean difference" in name for name in names) == len(found["noise"]["after"]["values"])
    assert bool(section.classes) == (kind in ("digits", "models"))
    assert all(len(cells) == 6 for _, cells in section.classes)


def test_bars_say_the_three_terms(digits, tmp_path):
    inputs, found = audited(digits, tmp_path)
    svg = audit_section(inputs).terms.svg
    for key in ("images", "gap", "labels"):
        assert f"{100 * found['bound'][key]:.1f} %" in svg
    assert f"student alone {100 * found['bound']['alone']:.1f} %" in svg


def test_a_gap_that_was_not_measured_is_said_to_be(digits, tmp_path):
    unknown = dict.fromkeys(("value", "error", "null_mean", "null_high")) | {"reason": "The gap was not measured: few."}
    inputs, _ = audited(digits, tmp_path, unknown | {"validation": 3, "synthetic": 9})
    section = audit_section(inputs)
    assert "not measured" in section.terms.svg
    assert any("the gap was not measured: few." in sentence for sentence in section.measured)


def test_what_is_alarming_comes_first_and_missing_labels_are_named(digits, tmp_path):
    inputs, found = audited(digits, tmp_path)
    path = inputs.folders["audit"] / "audit.json"
    found["verdicts"][2] |= {"warn": True, "sentence": "Test images were copied."}
    found["balance"] |= {"missing": [f"label {k}" for k in range(11)], "ratio": None}
    found["rows"]["synthetic"] += 5
    path.write_text(json.dumps(found))
    section = audit_section(inputs)
    assert section.copies == ("Test images were copied.",)
    assert section.balance.endswith(
        "lacks: label 0, label 1, label 2, label 3, label 4, label 5, label 6, label 7 and 3 more."
    )
    assert section.near.endswith("synthetic images repeat another one.")


def test_many_groups_show_those_that_differ_most(digits, tmp_path):
    inputs, found = audited(digits, tmp_path)
    groups = [{"label": f"class number {k:040d}", "synthetic": 1 + (k == 77), "training": 1} for k in range(100)]
    found["balance"]["groups"] = groups
    found["balance"]["ratio"] = 2.0
    (inputs.folders["audit"] / "audit.json").write_text(json.dumps(found))
    (plot,) = audit_section(inputs).balance_plots
    assert plot.title.endswith("the 24 of 100 that differ most")


def test_runs_without_the_stage_have_no_section(digits):
    assert audit_section(digits.inputs) is None


def test_report_has_the_section(digits, tmp_path):
    inputs, _ = audited(digits, tmp_path)
    build_report(inputs, tmp_path / "report")
    assert audit_section(inputs).advice in Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8")).text


@pytest.mark.browser
def test_section_never_scrolls_sideways(models, tmp_path):
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no Chromium on this system")
    sync_api = pytest.importorskip("playwright.sync_api")
    inputs, _ = audited(models, tmp_path)
    build_report(inputs, tmp_path / "report")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for width in (320, 390, 1440):
            page.set_viewport_size({"width": width, "height": 844})
            page.goto((tmp_path / "report" / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
