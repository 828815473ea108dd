from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flows.reporting.curves import _curves, _thinned
from flows.reporting.drawing import bin_edges
from flows.reporting.grids import make_grids
from flows.reporting.samples import Samples, funnel, label_rows, label_tables, picture_pools, teacher_plots


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


def cells(strip, columns: int) -> list[np.ndarray | None]:
    """The 8x8 images of a strip of a crossed grid, None where a cell is empty."""
    if not strip.source:
        return [None] * columns
    pixels = decoded(strip.source)
    assert pixels.shape == (56, columns * 59 - 3, 4)
    return [
        pixels[3::7, 59 * place + 3 : 59 * place + 56 : 7, 0] if pixels[0, 59 * place, 3] else None
        for place in range(columns)
    ]


def nearest_in_cell(targets: list[np.ndarray], place: tuple[int, int], labels: np.ndarray, spans: np.ndarray) -> int:
    """By a plain loop: the first row nearest to the middle of a cell, of those nearer to it than to other cells."""
    best, found = np.inf, -1
    for row, label in enumerate(labels):
        inside = all(
            abs(label[axis] - values[index]) <= min(abs(label[axis] - value) for value in values) + 1e-9
            for axis, (values, index) in enumerate(zip(targets, place, strict=True))
        )
        middle = [values[index] for values, index in zip(targets, place, strict=True)] + [1.0] * (len(label) - 2)
        distance = sum(((label - middle) / spans) ** 2)
        if inside and distance < best - 1e-12:
            best, found = distance, row
    return found


def test_vector_grid_is_sorted_by_its_first_two_axes(pose):
    samples = Samples(pose.inputs)
    grids = make_grids(picture_pools(samples), samples.space)
    assert len(grids) == 5
    kept = grids[2]
    # 30 distinct values are thinned to 8 columns, and 7 to 6 rows, evenly.
    across, down = np.linspace(0, 90, 8), np.linspace(-10, 50, 6)
    assert kept.ticks == tuple(f"{value:.3g}" for value in across)
    assert [strip.label for strip in kept.strips] == [f"{value:.3g}°".replace("-", "\N{MINUS SIGN}") for value in down]
    labels = np.asarray(samples.synthetic.columns["condition"], np.float64)
    images = samples.synthetic.columns["images"]
    shown = 0
    for row, strip in enumerate(kept.strips):
        for column, cell in enumerate(cells(strip, 8)):
            wanted = nearest_in_cell([across, down], (column, row), labels, np.array([90.0, 60.0, 1.0]))
            assert (cell is None) == (wanted < 0)
            if cell is not None:
                shown += 1
                assert np.array_equal(cell, images[wanted, 0])
    assert shown >= 20


def test_few_values_of_an_axis_are_rows_of_their_own(pose):
    samples = Samples(pose.inputs)
    pools = picture_pools(samples)
    few = [
        replace(pool, labels=pool.labels * [0.0, 0.0, 1.0] + (pool.labels[:, :1] > 40) * [5.0, -7.5, 0])
        for pool in pools
    ]
    for grid in make_grids(few, samples.space):
        assert grid.ticks == ("0", "5")
        assert [strip.label for strip in grid.strips] == ["\N{MINUS SIGN}7.5°", "0°"]


def test_class_and_scalar_grid_has_a_row_a_class(models):
    samples = Samples(models.inputs)
    grid = make_grids(picture_pools(samples), samples.space)[0]
    targets = np.linspace(0, 87, 8)
    assert grid.ticks == tuple(f"{value:.3g}" for value in targets)
    assert [strip.label for strip in grid.strips] == list(samples.space.names)
    train = np.flatnonzero(np.asarray(samples.real.columns["split"]) == 0)
    labels = np.asarray(samples.real.columns["labels"])
    shown = 0
    for label, strip in enumerate(grid.strips):
        rows = train[labels[train, 0] == label]
        for target, cell in zip(targets, cells(strip, 8), strict=True):
            distances = {row: abs(labels[row, 1] - target) for row in rows}
            inside = {row: distance for row, distance in distances.items() if distance <= (targets[1] - targets[0]) / 2}
            assert (cell is None) == (not inside)
            if inside:
                shown += 1
                assert np.array_equal(cell, samples.real.columns["images"][min(inside, key=inside.get), 0])
    assert shown >= 8


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("digits", ["By label"]),
        ("chairs", ["By label"]),
        ("pose", ["By yaw", "By <script>alert(1)</script>", "By size"]),
        ("models", ["By class", "By yaw angle"]),
    ],
)
def test_every_part_of_a_label_has_a_table_that_loses_no_image(name, titles, request):
    samples = Samples(request.getfixturevalue(name).inputs)
    tables = label_tables(samples)
    assert [title for title, _ in tables] == titles
    assert tables[0][1] == label_rows(samples)
    for _, table in tables:
        assert sum(row.candidates for row in table) == 120
        assert sum(row.kept for row in table) == len(samples.synthetic)
        assert sum(row.drawn for row in table) == 10 * len(samples.sampling)
        assert funnel(table) == funnel(tables[0][1])


def test_kept_shares_of_classes_and_axes_equal_loops(models, pose):
    samples = Samples(models.inputs)
    labels = np.asarray(samples.candidates.columns["condition"])
    kept = np.asarray(samples.synthetic.columns["source_row"])
    for label, row in enumerate(label_tables(samples)[0][1]):
        of = sum(one[0] == label for one in labels)
        assert (row.label, row.candidates) == (samples.space.names[label], of)
        assert row.kept_share == sum(labels[place, 0] == label for place in kept) / of
    samples = Samples(pose.inputs)
    labels = np.asarray(samples.candidates.columns["condition"])
    kept = np.asarray(samples.synthetic.columns["source_row"])
    rows = label_tables(samples)[2][1]
    assert [row.label for row in rows] == ["0.5", "1.5"]
    assert [row.kept for row in rows] == [sum(labels[place, 2] == size for place in kept) for size in (0.5, 1.5)]


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


def test_every_class_has_its_own_threshold(digits, chairs, pose, models):
    panels = teacher_plots(Samples(digits.inputs))
    assert [plot.title for plot in panels] == ["Teacher error", *Samples(digits.inputs).space.names]
    # The threshold is the one dashed line of a panel.
    assert all(plot.svg.count("stroke-dasharray") == 1 for plot in panels)
    assert len(teacher_plots(Samples(chairs.inputs))) == 1
    assert len(teacher_plots(Samples(pose.inputs))) == 1
    panels = teacher_plots(Samples(models.inputs))
    assert [plot.title for plot in panels] == ["Teacher error", *Samples(models.inputs).space.names]
    assert all(plot.svg.count("stroke-dasharray") == 1 for plot in panels)


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
