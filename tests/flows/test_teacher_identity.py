"""Who a teacher is and what it can serve, by kind; and that nothing of how it is asked reaches a fingerprint."""

import subprocess
import sys

import pytest

from data.errors import ConfigError
from flows.loading import check_config
from flows.plan import make_plan
from flows.preflight import check_labels
from flows.teacher_identity import is_paid, judges, teacher_gives, teacher_identity
from students.methods import LIVE_NEEDS, make_method, methods

TRAINED = {"kind": "trained", "network": "convnet", "options": {"channels": 2}}
HTTP = {"kind": "http", "url": "http://x/y"}


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "weights.pt").write_bytes(b"some")
    (tmp_path / "teacher.onnx").write_bytes(b"other")
    (tmp_path / "made_here.py").write_text("def make():\n    pass\n")
    monkeypatch.chdir(tmp_path)
    # Looking for a factory adds the working directory; another test's must not come first.
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


CHECKPOINT = {"kind": "checkpoint", "network": "convnet", "path": "weights.pt"}
ONNX = {"kind": "onnx", "path": "teacher.onnx"}
FACTORY = {"kind": "factory", "factory": "made_here:make"}
PRETRAINED = {"kind": "pretrained", "model": "resnet18"}


def config(section, **more):
    return check_config({"teacher": section, **more}, "test")


def fingerprints(section, **more):
    return {node.key: node.request.fingerprint for node in make_plan(config(section, **more))}


EVERY = LIVE_NEEDS
NONE = frozenset()
SOME = frozenset({"live_teacher", "input_gradients"})


@pytest.mark.parametrize(
    ("section", "given", "paid"),
    [
        (TRAINED, EVERY, False),
        (CHECKPOINT, EVERY, False),
        (PRETRAINED, EVERY, False),
        (FACTORY, EVERY, False),
        (ONNX, NONE, False),
        (HTTP, NONE, True),
        ({**TRAINED, "ledger": True}, NONE, False),
        ({**TRAINED, "max_calls": 5}, NONE, True),
        ({"kind": "ensemble", "members": [TRAINED, CHECKPOINT]}, SOME, False),
        ({"kind": "ensemble", "members": [TRAINED, ONNX]}, NONE, False),
        ({"kind": "ensemble", "members": [TRAINED, HTTP]}, NONE, True),
        ({"kind": "ensemble", "members": [TRAINED, {**CHECKPOINT, "max_calls": 1}]}, NONE, True),
        ({"kind": "ensemble", "members": [TRAINED, CHECKPOINT], "ledger": True}, NONE, False),
    ],
)
def test_what_a_kind_can_serve_and_whether_it_costs(files, section, given, paid):
    teacher = config(section).teacher
    assert teacher_gives(teacher) == given
    assert is_paid(teacher) == paid
    assert judges(teacher) == (not paid)
    assert judges(config({**section, "judges": paid}).teacher) == paid


@pytest.mark.parametrize("section", [TRAINED, CHECKPOINT, ONNX, FACTORY, PRETRAINED, HTTP])
def test_ledger_budget_and_judging_do_not_change_a_teacher(files, section):
    plain = fingerprints(section)["teacher"]
    for change in ({"ledger": True}, {"max_calls": 3}, {"judges": True}):
        assert fingerprints({**section, **change})["teacher"] == plain
        both = {"kind": "ensemble", "members": [TRAINED, section]}
        changed = {"kind": "ensemble", "members": [TRAINED, {**section, **change}], **change}
        assert fingerprints(both)["teacher"] == fingerprints(changed)["teacher"]


def test_whether_it_judges_changes_what_is_judged_alone():
    asked, silent = fingerprints(TRAINED), fingerprints({**TRAINED, "judges": False})
    assert {key for key in asked if asked[key] != silent[key]} >= {"fidelity", "audit"}
    assert asked["candidates"] == silent["candidates"]
    # A budget silences the judges, and so it changes them too.
    assert fingerprints({**TRAINED, "max_calls": 9})["fidelity"] == silent["fidelity"]


@pytest.mark.parametrize(
    ("section", "file", "content"),
    [
        (CHECKPOINT, "weights.pt", b"new"),
        (ONNX, "teacher.onnx", b"new"),
        (ONNX, "teacher.onnx.data", b"beside"),
        (FACTORY, "made_here.py", b"def make():\n    return 1\n"),
    ],
)
def test_a_file_counts_by_its_content(files, section, file, content):
    before = fingerprints(section)
    (files / file).write_bytes(content)
    after = fingerprints(section)
    assert before["teacher"] != after["teacher"]
    assert before["prepare"] == after["prepare"]
    if "path" in section:
        (files / section["path"]).rename(files / "moved")
        if (files / "teacher.onnx.data").exists():
            (files / "teacher.onnx.data").rename(files / "moved.data")
        assert fingerprints({**section, "path": "moved"})["teacher"] == after["teacher"]


def test_a_seed_counts_where_it_decides(files):
    for section, counts in ((TRAINED, True), (FACTORY, True), (CHECKPOINT, False), (ONNX, False), (HTTP, False)):
        assert (fingerprints(section)["teacher"] != fingerprints(section, seed=5)["teacher"]) == counts


def test_the_identity_tells_no_path_and_no_variable(files):
    told = str(teacher_identity(config({**HTTP, "token_variable": "SECRET_NAME"}).teacher))
    assert "SECRET_NAME" not in told
    assert "http://x/y" in told
    assert "weights.pt" not in str(teacher_identity(config(CHECKPOINT).teacher))


def test_views_are_part_of_answers_alone_and_only_where_there_are_any():
    plain = fingerprints(TRAINED)
    assert fingerprints(TRAINED, answers={"shift_pixels": 2, "flip": True})["answers"] == plain["answers"]
    views = fingerprints(TRAINED, answers={"views": 2, "shift_pixels": 2})
    assert views["answers"] != plain["answers"]
    assert (views["teacher"], views["candidates"]) == (plain["teacher"], plain["candidates"])


def test_every_method_is_checked_against_the_teacher():
    refused = 0
    for name in methods.names():
        made = make_method(name)
        if "class" not in made.tasks:
            continue
        section = {"methods": [{"name": name}]}
        check_labels(config(TRAINED, distill=section))
        if made.needs & LIVE_NEEDS:
            refused += 1
            with pytest.raises(ConfigError, match=f"'{name}' needs .* cannot give, as teacher.kind 'http' is no torch"):
                check_labels(config(HTTP, distill=section))
        else:
            check_labels(config(HTTP, distill=section))
    assert refused >= 3


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({**TRAINED, "max_calls": 10}, "teacher.ledger or teacher.max_calls is set"),
        ({"kind": "ensemble", "members": [TRAINED, TRAINED]}, "'ensemble' has no weights and features of its own"),
    ],
)
def test_the_reason_is_told(section, words):
    with pytest.raises(ConfigError, match=words):
        check_labels(config(section, distill={"methods": [{"name": "hint"}]}))
    with pytest.raises(ConfigError, match=r"ratio.features 'teacher' needs a teacher with features"):
        check_labels(config(section, ratio={"features": "teacher"}))


def test_checks_and_identities_need_no_torch(files):
    code = (
        "import sys; from flows.loading import check_config; from flows.plan import make_plan\n"
        "from flows.preflight import check_labels; from flows import teachers\n"
        f"for section in {[TRAINED, CHECKPOINT, ONNX, FACTORY, PRETRAINED, HTTP]!r}:\n"
        "    config = check_config({'teacher': section}, 'x'); make_plan(config); check_labels(config)\n"
        "    teachers.teacher_gives(config.teacher)\n"
        "sys.exit(str({'torch', 'httpx', 'onnx', 'onnxruntime'} & set(sys.modules)) if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
