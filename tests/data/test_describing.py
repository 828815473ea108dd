from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.describing import SAMPLED_IMAGES, describe_set
from data.labels import LabelSpace
from data.reading import open_set
from data.schema import KINDS
from data.writing import write_set

META: dict[str, Any] = {"provenance": {"source": "random"}, "license": "CC0-1.0"}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(columns: dict[str, Any], kind: str, space: LabelSpace) -> Path:
        write_set(tmp_path / "d.h5", columns, kind=kind, label_space=space, **META)
        return tmp_path / "d.h5"

    return write


def of(values: Any) -> Any:
    """What is told of some numbers, by h5py's and NumPy's plain words."""
    wide = np.asarray(values, np.float64)
    mean = sum(wide.tolist()) / len(wide)
    told = {"minimum": min(wide), "maximum": max(wide), "mean": mean}
    return pytest.approx(told | {"std": (sum((value - mean) ** 2 for value in wide.tolist()) / len(wide)) ** 0.5})


def test_a_stranger_is_told_what_is_there(write: Any, make_columns: Any, class_space: LabelSpace) -> None:
    path = write(make_columns(class_space, 5000, *KINDS["real"]), "real", class_space)
    told = describe_set(str(path))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert describe_set(open_set(path)) == told
    with h5py.File(path) as file:
        labels, parts, images = (file[name][...] for name in ("labels", "split", "images"))
    assert told["columns"]["images"] == {"dtype": "uint8", "shape": [5000, 1, 3, 4], "bytes": 60_000}
    assert told["labels"] == {"labels": {name: int(sum(labels == i)) for i, name in enumerate(("cat", "dog", "bird"))}}
    assert told["split"] == {name: int(sum(parts == i)) for i, name in enumerate(("training", "validation", "test"))}
    assert told["label_space"] == class_space.to_dict()
    assert (told["kind"], told["rows"], told["license"]) == ("real", 5000, "CC0-1.0")
    assert told["bytes"] == 5000 * (12 + 8 + 1 + 8)
    assert told["file_bytes"] == path.stat().st_size > told["bytes"]
    shown = {name: told["images"].pop(name) for name in ("channels", "height", "width", "sampled")}
    assert shown == {"channels": 1, "height": 3, "width": 4, "sampled": SAMPLED_IMAGES}
    assert told["images"]["mean"] == pytest.approx([images.mean()], abs=2)
    assert told["images"]["std"] == pytest.approx([images.std()], abs=2)
    assert (told["images"]["minimum"], told["images"]["maximum"]) == (0, 255)
    assert told["teacher"] is None


def test_what_is_not_there_is_null_or_empty(write: Any, make_columns: Any, class_space: LabelSpace) -> None:
    told = describe_set(write(make_columns(class_space, 3, *KINDS["groups"]), "groups", class_space))
    for name, nothing in (("images", None), ("split", None), ("teacher", None), ("labels", {}), ("numbers", {})):
        assert told[name] == nothing, name
    told = describe_set(write(make_columns(class_space, 0, *KINDS["candidates"]), "candidates", class_space))
    assert told["images"] == {"channels": 1, "height": 3, "width": 4, "sampled": 0}
    assert told["teacher"] == {"outputs": 3, "compared_with": "labels"}
    assert told["numbers"] == {"density_ratio": {}, "teacher_error": {}}
    told = describe_set(write(make_columns(class_space, 4, *KINDS["answers"]), "answers", class_space))
    assert told["teacher"] == {"outputs": 3, "compared_with": None}


def test_the_teacher_of_mixed_images_is_compared_with_neither_label(
    write: Any, make_columns: Any, class_space: LabelSpace
) -> None:
    columns = make_columns(class_space, 6, *KINDS["mixed"], "teacher_outputs")
    told = describe_set(write(columns, "mixed", class_space))
    assert told["teacher"] == {"outputs": 3, "compared_with": None}
    assert told["numbers"] == {"coefficient": of(columns["coefficient"])}


def test_images_are_told_of_by_channel_and_whole_where_they_are_few(
    write: Any, make_columns: Any, class_space: LabelSpace
) -> None:
    columns = make_columns(class_space, 7, *KINDS["samples"])
    images = columns["images"] = np.random.default_rng(1).integers(9, 200, (7, 3, 5, 6), np.uint8)
    told = describe_set(write(columns, "samples", class_space))["images"]
    assert told == {
        "channels": 3,
        "height": 5,
        "width": 6,
        "sampled": 7,
        "minimum": images.min(),
        "maximum": images.max(),
        "mean": pytest.approx([images[:, channel].mean() for channel in range(3)]),
        "std": pytest.approx([images[:, channel].std() for channel in range(3)]),
    }


@pytest.mark.parametrize("rows", [0, 7])
def test_the_range_of_a_scalar_is_told(write: Any, make_columns: Any, rows: int) -> None:
    space = LabelSpace("scalar", name="yaw", unit="degree", minimum=0, maximum=90)
    columns = make_columns(space, rows, *KINDS["draws"])
    told = describe_set(write(columns, "draws", space))
    assert told["labels"] == {"condition": of(columns["condition"]) if rows else {}}
    assert told["numbers"] == {"density_ratio": of(columns["density_ratio"]) if rows else {}}


def test_the_range_of_every_axis_is_told(write: Any, make_columns: Any, spaces: dict[str, LabelSpace]) -> None:
    columns = make_columns(spaces["vector"], 9, *KINDS["draws"])
    told = describe_set(write(columns, "draws", spaces["vector"]))
    assert json.loads(json.dumps(told)) == told
    assert told["columns"]["condition"] == {"dtype": "float32", "shape": [9, 2], "bytes": 72}
    yaws, shifts = columns["condition"].T
    assert told["labels"]["condition"] == {"yaw": of(yaws), "shift": of(shifts)}


def test_the_rows_and_the_range_of_every_class_are_told(
    write: Any, make_columns: Any, spaces: dict[str, LabelSpace]
) -> None:
    columns = make_columns(spaces["class+scalar"], 6, *KINDS["draws"])
    columns["condition"] = np.array([[0, 12], [2, 30], [0, 11], [0, 50], [2, 20], [0, 12]], np.float32)
    told = describe_set(write(columns, "draws", spaces["class+scalar"]))["labels"]["condition"]
    assert [told[name].pop("rows") for name in ("cat", "dog", "bird")] == [4, 0, 2]
    assert told == {"cat": of([12, 11, 50, 12]), "dog": {}, "bird": of([30, 20])}


def test_classes_of_one_name_are_told_apart(write: Any, make_columns: Any) -> None:
    space = LabelSpace("class", ("crane", "crane", "eel"))
    columns = make_columns(space, 3, *KINDS["samples"]) | {"labels": np.array([1, 1, 2])}
    assert describe_set(write(columns, "samples", space))["labels"]["labels"] == {
        "crane [0]": 0,
        "crane [1]": 2,
        "eel": 1,
    }


def test_the_teacher_is_compared_with_the_labels(write: Any, make_columns: Any, label_space: LabelSpace) -> None:
    columns = make_columns(label_space, 5000, *KINDS["candidates"])
    told = describe_set(write(columns, "candidates", label_space))["teacher"]
    assert told["outputs"] == label_space.outputs
    assert told["compared_with"] == "labels"
    outputs, labels = columns["teacher_outputs"].tolist(), np.atleast_2d(columns["labels"].T).T.tolist()
    pairs = list(zip(outputs, labels, strict=True))
    classes, values = label_space.classes, len(label_space.dimensions)
    if label_space.has_classes:
        same = [row[:classes].index(max(row[:classes])) == label[0] for row, label in pairs]
        assert told["same_class"] == sum(same) / 5000
    for number, axis in enumerate(label_space.dimensions):
        gaps = [abs(row[classes + number] - label[len(label) - values + number]) for row, label in pairs]
        assert told["mean_absolute_difference"][axis.name] == pytest.approx(sum(gaps) / 5000)
