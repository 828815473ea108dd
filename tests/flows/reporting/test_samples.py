from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from flows.reporting.curves import _curves, _thinned
from flows.reporting.drawing import bin_edges
from flows.reporting.grids import make_grids
from flows.reporting.samples import Samples, funnel, label_rows, picture_pools, teacher_plots


def decoded(source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))))


def test_class_grid_shows_the_first_images_of_each_class(digits):
    samples = Samples(digits.inputs)
    grids = make_grids(picture_pools(samples), samples.space)
    titles = ["Real", "Raw", "Kept", "Rejected by density ratio", "Dropped by the teacher"]
    assert [grid.title for grid in grids] == titles
    dropped = np.setdiff1d(np.arange(120), samples.synthetic.columns["source_row"])
    for grid, opened, rows in ((grids[0], samples.real, np.arange(0, 90, 3)), (grids[4], samples.candidates, dropped)):
        for label, strip in enumerate(grid.strips):
            mine = rows[np.asarray(opened.columns["labels"])[rows] == label][:8]
            if not mine.size:
                assert strip.source == ""
                continue
            pixels = decoded(strip.source)
            assert pixels.shape == (56, 8 * 59 - 3, 4)
            for place in range(8):
                cell = pixels[3::7, 59 * place + 3 : 59 * place + 56 : 7]
                if place < mine.size:
                    assert np.array_equal(cell[..., 0], opened.columns["images"][mine[place], 0])
                    assert (cell[..., 3] == 255).all()
                else:
                    assert (cell[..., 3] == 0).all()


def test_scalar_grid_is_sorted_by_label(chairs):
    samples = Samples(chairs.inputs)
    grid = make_grids(picture_pools(samples), samples.space)[2]
    assert [float(tick) for tick in grid.ticks] == sorted(float(tick) for tick in grid.ticks)
    pixels = decoded(grid.strips[0].source)
    labels, images = samples.synthetic.columns["condition"], samples.synthetic.columns["images"]
    for column, target in enumerate(np.linspace(0, 87, 12)):
        shown = pixels[1:64:2, column * 67 + 1 : column * 67 + 64 : 2, :3].transpose(2, 0, 1)
        found = np.flatnonzero((images == shown).all(axis=(1, 2, 3)))
        assert np.abs(labels[found] - target).min() == pytest.approx(np.abs(labels - target).min(), abs=1e-4)


@pytest.mark.parametrize(("name", "rows"), [("digits", 3), ("chairs", 12)])
def test_label_table_loses_no_image(name, rows, request):
    samples = Samples(request.getfixturevalue(name).inputs)
    table = label_rows(samples)
    assert len(table) == rows
    assert sum(row.candidates for row in table) == 120
    assert sum(row.kept for row in table) == len(samples.synthetic)
    assert sum(row.drawn for row in table) == 10 * len(samples.sampling)
    assert table[0].acceptance == pytest.approx(0.4)
    assert "(40.0 %)" in funnel(table)
    assert funnel([]) == ""
    if name == "digits":
        labels = np.asarray(samples.candidates.columns["condition"])
        kept = np.asarray(samples.synthetic.columns["source_row"])
        assert [row.kept for row in table] == [sum(labels[row] == label for row in kept) for label in range(3)]


def test_every_class_has_its_own_threshold(digits, chairs):
    panels = teacher_plots(Samples(digits.inputs))
    assert [plot.title for plot in panels] == ["Teacher error", *Samples(digits.inputs).space.names]
    # The threshold is the one dashed line of a panel.
    assert all(plot.svg.count("stroke-dasharray") == 1 for plot in panels)
    assert len(teacher_plots(Samples(chairs.inputs))) == 1


def test_thinned_curves_keep_their_mean():
    steps, values = np.arange(4000.0), np.random.default_rng(0).normal(size=4000)
    few_steps, few_values = _thinned(steps, values)
    assert few_steps.size == 400
    assert few_values.mean() == pytest.approx(values.mean())
    assert np.array_equal(few_steps, steps.reshape(400, 10).mean(axis=1))
    assert _curves([{"step": 0, "loss": 1.0, "note": "text", "bad": float("nan")}]).keys() == {"loss"}


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 1.0, 2.0], [1e-6, 1e-3, 1.0, 50.0], [-3.0, 4.0]])
def test_bin_edges_rise_and_hold_the_bulk(values):
    edges, geometric = bin_edges(np.array(values), 10)
    assert edges.size == 11
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= np.median(values) <= edges[-1]
    assert geometric == (values[-1] == 50.0)
