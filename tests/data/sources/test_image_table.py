"""Images that a CSV names: every kind of label, and every line at fault named."""

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from data.errors import ConfigError, DataError
from data.faults import UnreadableImages
from data.labels import Axis, LabelSpace
from data.sources import notes, skipped
from data.sources.image_table import ImageTable

ROWS = [
    ("img/a.png", "cat", "10", "3", "1.5", "train"),
    ("img/b.png", "dog", "2", "4.25", "-2", "Train"),
    ("c.png", "cat", "1", "1e1", "0", "val"),
    ("ü d.png", "dog", "10", "7", "4", "test"),
]
HEADER = ("file", "kind", "number", "age", "tilt", "part")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def make(root, rows=ROWS, header=HEADER, separator=","):
    for number, row in enumerate(ROWS):
        path = root / row[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 10 * number, 100)).save(path)
    lines = [separator.join(row) for row in (header, *rows)]
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def source(root, **options):
    return ImageTable(str(root), **{"image_size": 8, **options})


@pytest.mark.parametrize(
    ("options", "space", "labels"),
    [
        ({"class_column": "kind"}, LabelSpace("class", ("cat", "dog")), [0, 1, 0, 1]),
        ({"class_column": "number"}, LabelSpace("class", ("1", "2", "10")), [2, 1, 0, 2]),
        ({"class_column": "kind", "classes": ("dog", "cat")}, LabelSpace("class", ("dog", "cat")), [1, 0, 1, 0]),
        (
            {"values": ({"column": "age", "unit": "year"},)},
            LabelSpace("scalar", name="age", unit="year", minimum=3, maximum=10),
            [3, 4.25, 10, 7],
        ),
        (
            {"values": ({"column": "AGE", "name": "years", "minimum": 0, "maximum": 100}, {"column": "tilt"})},
            LabelSpace("vector", axes=(Axis("years", "", 0, 100), Axis("tilt", "", -2, 4))),
            [[3, 1.5], [4.25, -2], [10, 0], [7, 4]],
        ),
        (
            {"class_column": "kind", "values": ({"column": "tilt", "unit": "degree"},)},
            LabelSpace("class+scalar", ("cat", "dog"), "tilt", "degree", -2, 4),
            [[0, 1.5], [1, -2], [0, 0], [1, 4]],
        ),
    ],
)
def test_labels_are_those_of_the_columns(tmp_path, options, space, labels):
    found = source(make(tmp_path), **options)
    assert found.label_space == space
    assert found.labels().dtype == space.dtype
    assert found.labels().tolist() == labels
    images = found.images(np.array([3, 0, 1]))
    assert images[:, :, 0, 0].tolist() == [[3, 30, 100], [0, 0, 100], [1, 10, 100]]
    assert found.pool().tolist() == [0, 0, 0, 0]


def test_a_column_tells_the_split(tmp_path):
    found = source(make(tmp_path), class_column="kind", split_column="part")
    assert found.pool().tolist() == [1, 1, 3, 2]
    root = make(tmp_path / "two", ROWS[:2])
    assert source(root, class_column="kind", split_column="part").pool().tolist() == [0, 0]
    assert [note.split(": ")[1] for note in notes(source(root, class_column="kind", split_column="part"))] == [
        "names no validation rows; these images are taken from train.",
        "names no test rows; these images are taken from train.",
    ]
    with pytest.raises(DataError, match=r"must say train, validation or test, but 4 lines do not: line 2: 'cat'"):
        source(root.parent, class_column="kind", split_column="kind").pool()


def test_guesses_are_told(tmp_path):
    semicolons = source(make(tmp_path, separator=";"), class_column="number")
    assert notes(semicolons) == (
        f"{tmp_path / 'labels.csv'}: is read as a table separated by semicolons.",
        f"{tmp_path / 'labels.csv'}: the class numbers 1, 2, 10 are the teacher's outputs 0 .. 2; "
        "set source.classes if its order is another.",
        f"{tmp_path / 'labels.csv'}: 'part' is not used, the split is made at random; set source.split_column to it if "
        "it is the split.",
    )
    assert notes(source(make(tmp_path), class_column="kind", split_column="part")) == ()


def test_files_that_are_missing_or_damaged_are_named_together(tmp_path):
    rows = [*ROWS, ("gone.png", "cat", "1", "5", "1", "train"), ("cut.png", "dog", "1", "6", "1", "train")]
    root = make(tmp_path, rows)
    (root / "cut.png").write_bytes((root / "c.png").read_bytes()[:45])
    options = {"values": ({"column": "age"},)}
    with pytest.raises(UnreadableImages) as error:
        source(root, **options).images(np.arange(6))
    assert [str(fault) for fault in error.value.faults] == ["gone.png, line 6 (missing)", "cut.png (truncated)"]
    assert "2 of 6 images cannot be read" in str(error.value)
    lenient = source(root, damaged="skip", **options)
    assert skipped(lenient) == error.value.faults
    assert lenient.labels().tolist() == [3, 4.25, 10, 7]
    assert lenient.images(np.arange(4)).shape == (4, 3, 8, 8)
    # A wrong folder, or names without their ends, are told before anything is read.
    bare = [(row[0].removesuffix(".png"), *row[1:]) for row in ROWS]
    with pytest.raises(
        UnreadableImages, match=r"4 of 4 .* line 2 \(missing, but a\.png is there: try source\.file_suf"
    ):
        source(make(tmp_path / "bare", bare), **options).identity()
    ended = source(tmp_path / "bare", file_suffix=".png", **options)
    assert ended.images(np.arange(4)).shape == (4, 3, 8, 8)


def test_names_in_another_form_of_unicode_are_found(tmp_path):
    rows = [*ROWS[:3], (unicodedata.normalize("NFD", ROWS[3][0]), *ROWS[3][1:])]
    assert source(make(tmp_path, rows), class_column="kind").images(np.array([3]))[0, 0, 0, 0] == 3


@pytest.mark.parametrize(
    ("row", "options", "sentence"),
    [
        (("x.png", "", "1", "2", "3", ""), {"class_column": "kind"}, "must name a class, but 1 line does not: line 6"),
        (("x.png", "cat", "1", "", "3", ""), {"values": ({"column": "age"},)}, "must hold numbers.* line 6: nothing"),
        (("x.png", "cat", "1", "old", "3", ""), {"values": ({"column": "age"},)}, "line 6: 'old'"),
        (
            ("x.png", "cat", "1", "200", "3", ""),
            {"values": ({"column": "age", "unit": "year", "minimum": 0, "maximum": 99},)},
            r"age must lie between 0 year and 99 year, but 1 line does not: line 6: 200; .* source\.values",
        ),
        (("img/a.png", "cat", "1", "2", "3", ""), {"class_column": "kind"}, r"line 6: img/a\.png again, after line 2"),
        (("./img//a.png", "cat", "1", "2", "3", ""), {"class_column": "kind"}, r"img/a\.png again, after line 2"),
        (("../a.png", "cat", "1", "2", "3", ""), {"class_column": "kind"}, r"stays in .* line 6: '\.\./a\.png'"),
        (("img/../../a.png", "cat", "1", "2", "3", ""), {"class_column": "kind"}, "stays in"),
        (("/etc/hosts", "cat", "1", "2", "3", ""), {"class_column": "kind"}, "line 6: '/etc/hosts'"),
        (("", "cat", "1", "2", "3", ""), {"class_column": "kind"}, "line 6: nothing; correct or remove"),
        (("x.png", "cat", "1", "2", "3", ""), {"class_column": "sort"}, r"must have 'sort' \(source\.class_column\)"),
        (
            ("x.png", "cat", "1", "2", "3", ""),
            {"class_column": "kind", "table": "t.csv"},
            r"t\.csv: the file cannot be",
        ),
        (("x.png", "cat", "1", "2", "3", ""), {"class_column": "kind", "classes": ("cat", "cow")}, "have no 'cow'"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path, row, options, sentence):
    with pytest.raises(DataError, match=sentence):
        source(make(tmp_path, [*ROWS, row]), **options).labels()


def test_one_class_or_one_value_is_nothing_to_learn(tmp_path):
    root = make(tmp_path, ROWS[:1])
    with pytest.raises(DataError, match=r"at least 2 classes, got 1 \(cat\)"):
        source(root, class_column="kind").labels()
    with pytest.raises(DataError, match="age must have different values, got 3 in all rows"):
        source(root, values=({"column": "age"},)).labels()
    with pytest.raises(DataError, match="must have a line for each image, got none"):
        source(make(tmp_path, []), class_column="kind").labels()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, r"got neither a class nor values; set source\.class_column"),
        ({"class_column": "kind", "values": ({"column": "a"}, {"column": "b"})}, "at most one entry beside a class"),
        ({"values": ({"column": "a"}, {"column": "a"})}, "distinct names, got a, a"),
        ({"values": ({"column": "a", "minimum": 1, "maximum": 1},)}, "minimum of a must be below its maximum"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ImageTable("nowhere", **options)


def test_identity_knows_labels_and_files_but_no_place(tmp_path):
    one, two = make(tmp_path / "one"), make(tmp_path / "two", separator=";")
    options = {"class_column": "kind"}
    identity = source(one, **options).identity()
    assert identity == source(two, **options).identity() == json.loads(json.dumps(identity))
    assert str(tmp_path) not in json.dumps(identity)
    # A column that is not used changes nothing; a label, the order of the rows and the split do.
    make(two, [(*row[:3], "0", *row[4:]) for row in ROWS])
    assert source(two, **options).identity() == identity
    make(two, [ROWS[1], ROWS[0], *ROWS[2:]])
    seen = [identity, source(two, **options).identity()]
    make(two, [(ROWS[0][0], "dog", *ROWS[0][2:]), *ROWS[1:]])
    seen += [source(two, **options).identity(), source(one, split_column="part", **options).identity()]
    assert len({json.dumps(item, sort_keys=True) for item in seen}) == 4


def test_a_file_is_no_two_rows_in_two_forms_of_unicode(tmp_path):
    one, other = (unicodedata.normalize(form, "ü d.png") for form in ("NFC", "NFD"))
    rows = [ROWS[0], (one, *ROWS[3][1:]), (other, *ROWS[3][1:])]
    with pytest.raises(DataError, match=r"1 line does not: line 4: .* again, after line 3"):
        source(make(tmp_path, rows), class_column="kind").labels()


def test_paths_from_the_root_are_refused(tmp_path):
    rows = [ROWS[2], ("/c.png", *ROWS[1][1:])]
    with pytest.raises(DataError, match=r"line 3: '/c\.png'"):
        source(make(tmp_path, rows), class_column="kind").labels()


def test_backslashes_are_told(tmp_path):
    rows = [*ROWS, ("img\\b.png", *ROWS[0][1:])]
    with pytest.raises(UnreadableImages, match=r"missing: write paths with / instead of"):
        source(make(tmp_path, rows), class_column="kind").images(np.arange(5))


@pytest.mark.parametrize(
    ("texts", "ordered", "noted"),
    [
        (("10.0", "2.0", "1.0"), ("1.0", "2.0", "10.0"), True),
        (("1", "0", "-1"), ("-1", "0", "1"), True),
        (("2", "0", "1"), ("0", "1", "2"), False),
        (("--1", "1", "2"), ("--1", "1", "2"), False),
        (("9" * 5000, "1", "2"), ("1", "2", "9" * 5000), False),
    ],
)
def test_classes_that_are_numbers_come_by_value(tmp_path, texts, ordered, noted):
    rows = [(row[0], text, *row[2:]) for row, text in zip(ROWS, texts, strict=False)]
    found = source(make(tmp_path, rows), class_column="kind", split_column="part", file_column="file")
    assert found.label_space.names == ordered
    assert any("class numbers" in note for note in notes(found)) == noted


def test_numbers_beyond_float32_are_refused(tmp_path):
    rows = [(*row[:3], "1e39", *row[4:]) for row in ROWS[:1]] + ROWS[1:]
    with pytest.raises(DataError, match=r"age must be at most 3\.4e38, .*, got 1e\+39"):
        source(make(tmp_path, rows), values=({"column": "age"},)).labels()
