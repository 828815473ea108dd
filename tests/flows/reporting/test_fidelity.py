"""The section on fidelity: the numbers and sentences of the file, for any labels, and nothing where there is none."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from data.labels import Axis, LabelSpace
from flows.reporting.build import build_report
from flows.reporting.fidelity import fidelity_section
from flows.reporting.inputs import ReportInputs
from generators.fidelity.assessment import Observed, assess, assess_held_out, sentences
from generators.fidelity.memorisation import audit_memorisation

HOSTILE = "<script>alert(1)</script>"
SPACES = {
    "class": LabelSpace("class", ("zero", HOSTILE, "$two_{$")),
    "scalar": LabelSpace("scalar", name="yaw angle", unit="degree", minimum=0, maximum=90),
    "vector": LabelSpace("vector", axes=(Axis("yaw", "degree", 0, 90), Axis("size", "", 1, 3))),
    "class+scalar": LabelSpace("class+scalar", ("a", "b"), name="yaw", unit="degree", minimum=0, maximum=10),
}


class Page(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def observed(space: LabelSpace, count: int, seed: int) -> Observed:
    rng = np.random.default_rng(seed)
    axes = space.dimensions
    values = rng.uniform([axis.minimum for axis in axes], [axis.maximum for axis in axes], (count, len(axes)))
    classes = np.arange(count) % max(1, space.classes)
    labels = space.join(classes if space.has_classes else None, values if axes else None)
    outputs = rng.normal(size=(count, space.outputs)).astype(np.float32)
    logits = outputs[:, : space.classes] if space.has_classes else None
    return Observed(labels, rng.normal(size=(count, 6)).astype(np.float32), outputs, logits)


def write(
    root: Path, space: LabelSpace, *, real: int = 120, generated: int = 200, snapshots: bool = True
) -> ReportInputs:
    held_out, training = observed(space, real, 0), observed(space, 60, 1)
    compared = {}
    for place, name in enumerate(("raw", "accepted")):
        made = observed(space, generated, 2 + place)
        compared[name] = assess(made, held_out, space, partners=np.resize(np.arange(real), generated), windows=3)
        compared[name]["memorisation"] = audit_memorisation(made.features, held_out.features, training.features)
    document = {
        "format": 1,
        "extractor": {"name": "own", "features": "f" * 64, "dimensions": 6},
        "compared": compared,
        "real": {
            "held_out": assess_held_out(held_out, space, windows=3),
            "training": assess(training, held_out, space, windows=3),
        },
        "notes": sentences(compared),
    }
    folders = {name: root / name for name in ("fidelity", "generator")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    (folders["fidelity"] / "fidelity.json").write_text(json.dumps(document, allow_nan=False))
    if snapshots:
        rows = [{"step": 100 * k, "distance": 1 / k, "diversity": 0.1 * k} for k in range(1, 5)]
        (folders["generator"] / "snapshots.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        warning = {"kind": "collapse", "step": 300, "sentence": f"images are alike {HOSTILE}", "number": 0.2}
        (folders["generator"] / "warnings.json").write_text(json.dumps([warning, warning]))
    manifests = {
        name: {
            "stage": name,
            "fingerprint": name * 8,
            "recipe_version": 1,
            "config": {},
            "inputs": {},
            "seed": 0,
            "packages": {},
            "device": "cpu",
            "seconds": 1.0,
            "metrics": {"chosen_step": 300},
            "files": {},
        }
        for name in folders
    }
    return ReportInputs("run", {}, folders, manifests)


@pytest.mark.parametrize("kind", SPACES)
def test_page_has_the_figures_of_the_file(kind, tmp_path):
    inputs = write(tmp_path / "store", SPACES[kind])
    build_report(inputs, tmp_path / "report")
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    document = json.loads((tmp_path / "store" / "fidelity" / "fidelity.json").read_text())
    raw = document["compared"]["raw"]
    assert f"{raw['fid']['value']:.3f}"[:5] in page.text or f"{raw['fid']['value']:.2f}" in page.text
    assert raw["memorisation"]["verdict"] in page.text
    assert "200 raw and 200 accepted images are compared with 120 validation images" in page.text
    section = fidelity_section(inputs)
    assert section.columns == ("Raw", "Accepted", "Real, held out", "Real, training")
    rows = {row.name: row.cells for row in section.rows}
    assert all(len(cells) == 4 for cells in rows.values())
    assert rows["Nearer to a training image than 95 % of real ones"][0] == f"{100 * raw['memorisation']['value']:.1f} %"
    scores = [name for name in rows if name.startswith("Label score")]
    assert len(scores) == len(SPACES[kind].dimensions)
    assert ("Right class, as the teacher sees it [%]" in rows) == SPACES[kind].has_classes
    titles = [plot.title for plot in section.plots]
    assert sum("by class" in title for title in titles) == SPACES[kind].has_classes
    assert sum("within ±" in title for title in titles) == len(SPACES[kind].dimensions)
    assert "script" not in page.tags


def test_best_snapshot_and_warnings_are_shown_once(tmp_path):
    section = fidelity_section(write(tmp_path, SPACES["class"]))
    assert section.warnings == (f"images are alike {HOSTILE}",)
    snapshots = [plot for plot in section.plots if plot.title.startswith("Snapshots")]
    assert [plot.legend for plot in snapshots] == [(("series-1", "kept: step 300"),)] * 2


def test_what_was_not_computed_is_in_the_notes_and_not_in_the_table(tmp_path):
    inputs = write(tmp_path / "store", SPACES["scalar"], real=9, snapshots=False)
    section = fidelity_section(inputs)
    names = [row.name for row in section.rows]
    assert "Fréchet distance (FID)" not in names
    assert any("9 real" in note and "prepare.validation_images" in note for note in section.notes)
    build_report(inputs, tmp_path / "report")
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert all(note in page.text for note in section.notes)


def test_runs_without_the_stage_have_snapshots_alone_or_no_section(tmp_path):
    inputs = write(tmp_path, SPACES["class"])
    generator = {"generator": inputs.folders["generator"]}
    section = fidelity_section(ReportInputs("run", {}, generator, {}))
    assert section.rows == section.intro == ()
    assert len(section.plots) == 2
    assert section.plots[0].legend == ()
    assert fidelity_section(ReportInputs("run", {}, {}, {})) is None


def test_many_classes_show_the_worst(tmp_path):
    space = LabelSpace("class", tuple(f"class number {k:03d}" for k in range(25)))
    section = fidelity_section(write(tmp_path, space, real=500, generated=500))
    (plot,) = (plot for plot in section.plots if "by class" in plot.title)
    assert "the 24 worst of 25" in plot.title


def test_weights_of_inception_that_are_not_published_are_said_to_be(tmp_path):
    inputs = write(tmp_path, SPACES["class"])
    path = inputs.folders["fidelity"] / "fidelity.json"
    document = json.loads(path.read_text())
    for published in (True, False):
        document["extractor"] = {"name": "inception", "dimensions": 2048, "published_weights": published}
        path.write_text(json.dumps(document))
        intro = " ".join(fidelity_section(inputs).intro)
        assert "Inception-v3 (2048 numbers an image)" in intro
        assert ("not with its published weights" in intro) != published


@pytest.mark.browser
def test_section_never_scrolls_sideways(tmp_path):
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no Chromium on this system")
    sync_api = pytest.importorskip("playwright.sync_api")
    build_report(write(tmp_path / "store", SPACES["class+scalar"]), tmp_path / "report")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for width in (320, 390, 1440):
            page.set_viewport_size({"width": width, "height": 844})
            page.goto((tmp_path / "report" / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
