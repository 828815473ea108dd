"""What ``stillhouse list methods`` says of a method, and ``report`` of a run that is not there."""

import json
import os

import pytest

from data.errors import ConfigError
from flows.inspection import list_command, report_command
from students.methods import methods


def test_methods_are_listed_with_their_labels_and_needs(tmp_path, capsys):
    list_command("methods", tmp_path, as_json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(methods.names())
    assert all(list(row) == ["name", "about", "tasks", "needs"] for row in rows.values())
    assert rows["kd"]["tasks"] == ["class"]
    assert rows["kd"]["needs"] == ["labels", "teacher_outputs"]
    assert "live_teacher" in rows["augmented_kd"]["needs"]
    list_command("methods", tmp_path, as_json=False)
    text = capsys.readouterr().out
    assert "for class labels; needs labels, teacher_outputs" in text


def test_what_has_no_needs_is_listed_as_before(tmp_path, capsys):
    list_command("networks", tmp_path, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert all(list(row) == ["name", "about"] for row in rows)


def test_a_run_that_is_not_there_gets_the_latest_of_its_name(tmp_path, capsys):
    runs = tmp_path / "runs"
    runs.mkdir()

    def told(name):
        with pytest.raises(ConfigError) as caught:
            report_command(name, tmp_path, as_json=False)
        return str(caught.value)

    assert told("r3") == f"RUN must be a run of {tmp_path}, got 'r3'; it has none yet."
    for age, name in enumerate(("other-1", "r3-bb", "r3-aa", "r4-cc")):
        (runs / f"{name}.json").write_text("{}")
        os.utime(runs / f"{name}.json", (1000 - age, 1000 - age))
    assert told("r3").endswith("got 'r3'; try the latest, r3-bb.")
    assert told("r4").endswith("got 'r4'; try r4-cc.")
    assert told("othre-1").endswith("did you mean other-1?")
    assert told("xyzzy").endswith("the latest is other-1, and 'stillhouse list runs' shows all 4.")
