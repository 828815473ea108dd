"""Tables of text: separators, marks, quotes; and every line at fault named at once."""

import csv
import os

import pytest

from data.errors import DataError
from data.tables import read_table


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path)


@pytest.mark.parametrize(("separator", "words"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_those_of_pythons_writer(tmp_path, separator, words, end):
    rows = [["name", "Größe", "x y"], ["a,b;c\td", "1", 'say "so"'], ["two\nlines", "-2.5e1", ""], ["ü", "3", "z"]]
    with (tmp_path / "t.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=separator, lineterminator=end).writerows([rows[0], [], *rows[1:]])
    found = read_table(tmp_path / "t.csv")
    assert found.separated_by == words
    assert list(found.columns) == rows[0]
    assert [list(row) for row in zip(*found.columns.values(), strict=True)] == rows[1:]
    assert found.lines == [3, 5, 6]
    assert found.numbers("größe", "here").tolist() == [1.0, -25.0, 3.0]


def test_numbers_are_named_by_line_where_they_are_none(tmp_path):
    texts = ["1", "", "n/a", "nan", "inf", "1_0", "2"]
    found = table(tmp_path, "age,x\n" + "".join(f"{text},\n" for text in texts))
    with pytest.raises(DataError) as error:
        found.numbers("age", "source.values")
    assert str(error.value) == (
        f"{found.path}: column age must hold numbers, but 5 lines do not: line 3: nothing, line 4: 'n/a', "
        "line 5: 'nan', line 6: 'inf', line 7: '1_0'; correct them, or remove their lines."
    )
    comma = table(tmp_path, "age;x\n3,5;1\n")
    with pytest.raises(DataError, match=r"1 line does not: line 2: '3,5'; write numbers with a point, such as 3.5"):
        comma.numbers("age", "source.values")
    many = table(tmp_path, "age,x\n" + ",1\n" * 30)
    with pytest.raises(DataError, match="line 9: nothing and 22 more; correct"):
        many.numbers("age", "source.values")


def test_columns_are_found_by_their_name_in_any_case(tmp_path):
    found = table(tmp_path, "File,Age,age,Kind\na,1,2,x\n")
    assert found.column("file", "here") == ["a"]
    assert found.column("age", "here") == ["2"]
    for name, sentence in (
        ("AGE", r"must have 'AGE' \(here\), got File, Age, age, Kind"),
        ("kinds", "did you mean 'Kind'"),
        ("zzz", "set here to one of them"),
    ):
        with pytest.raises(DataError, match=sentence):
            found.column(name, "here")


@pytest.mark.parametrize(
    ("text", "encoding", "sentence"),
    [
        (
            "a,b\n1\n1,2\n1,2,3\n",
            "utf-8",
            "line 2 must have 2 fields, got 1, line 4 must have 2 fields, got 3; put quotes",
        ),
        ("a,a\n1,2\n", "utf-8", "distinct names, got a, a"),
        ('a,b\n1,"2\n', "utf-8", "must be a CSV in UTF-8"),
        ("a,b\n1,ü\n", "latin-1", "must be a CSV in UTF-8 .* at byte 6.*; save it as 'CSV UTF-8'"),
        ("a,b\n1,2\n", "utf-16", "must be a CSV in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, encoding, sentence):
    with pytest.raises(DataError, match=sentence):
        table(tmp_path, text, encoding)


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match="regular file"):
        read_table(tmp_path / "t.csv")


def test_empty_lines_before_the_names_are_passed_over(tmp_path):
    (tmp_path / "a.csv").write_text("\n\nname;age\na;1\n")
    table = read_table(tmp_path / "a.csv")
    assert table.columns == {"name": ["a"], "age": ["1"]}
    assert table.lines == [4]
