"""The store: atomic commit, reuse, damage, locks, resume."""

import errno
import json
import os
import subprocess
import sys

import pytest

from data.errors import DataError, StageError
from data.store import Request, Store, fingerprint_of


def request(**changes):
    fields = {"stage": "teacher", "version": 1, "config": {"steps": 3}, "inputs": {"real": "a" * 64}, "label": "x"}
    return Request(**{**fields, **changes})


def make_hello(workspace):
    workspace.path("cut-off.h5.tmp").write_text("of a killed run")
    workspace.path("hello.txt").write_text("hello")
    (workspace.folder / "deep").mkdir(exist_ok=True)
    workspace.path("deep/inner.txt").write_text("inner")
    (workspace.state_folder / "checkpoint").write_text("gone after the commit")
    return {"value": 7}


def test_fingerprint_depends_on_every_part_and_not_on_key_order():
    base = fingerprint_of("teacher", 1, {"a": 1, "b": 2}, {"real": "x"})
    assert base == fingerprint_of("teacher", 1, {"b": 2, "a": 1}, {"real": "x"})
    others = [
        fingerprint_of("generator", 1, {"a": 1, "b": 2}, {"real": "x"}),
        fingerprint_of("teacher", 2, {"a": 1, "b": 2}, {"real": "x"}),
        fingerprint_of("teacher", 1, {"a": 1, "b": 3}, {"real": "x"}),
        fingerprint_of("teacher", 1, {"a": 1, "b": 2}, {"real": "y"}),
    ]
    assert len({base, *others}) == 5


def test_build_commits_once_and_then_reuses(tmp_path):
    store = Store(tmp_path)
    artifact, state = store.build(request(), make_hello)
    assert state == "ran"
    assert artifact.path("hello.txt").read_text() == "hello"
    assert set(artifact.manifest["files"]) == {"hello.txt", "deep/inner.txt"}
    assert artifact.metrics == {"value": 7}
    assert not (artifact.folder / ".state").exists()
    again, state = store.build(request(), lambda workspace: pytest.fail("must not run"))
    assert state == "cached"
    assert again.fingerprint == artifact.fingerprint == request().fingerprint
    assert [path.name for path in (tmp_path / "teacher").iterdir()] == [artifact.fingerprint]


def test_failed_stage_leaves_its_work_and_resumes(tmp_path):
    store = Store(tmp_path)

    def fails(workspace):
        workspace.path("half.txt").write_text("half")
        raise StageError("stopped")

    with pytest.raises(StageError, match="stopped"):
        store.build(request(), fails)
    assert store.find("teacher", request().fingerprint) is None
    seen = []

    def finishes(workspace):
        seen.append((workspace.resumed, workspace.path("half.txt").read_text()))
        return {}

    artifact, state = store.build(request(), finishes)
    assert state == "resumed"
    assert seen == [(True, "half")]
    assert set(artifact.manifest["files"]) == {"half.txt"}


def test_kill_between_manifest_and_rename_needs_no_second_run(tmp_path):
    store = Store(tmp_path)
    artifact, _ = store.build(request(), make_hello)
    os.rename(artifact.folder, artifact.folder.with_name(artifact.fingerprint + ".work"))
    again, state = store.build(request(), lambda workspace: pytest.fail("must not run"))
    assert state == "resumed"
    assert again.path("hello.txt").read_text() == "hello"


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda folder: (folder / "hello.txt").unlink(), "hello.txt is missing"),
        (lambda folder: (folder / "hello.txt").write_text("hell"), "hello.txt has 4 bytes instead of 5"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    ],
)
def test_damaged_artifact_is_named_and_made_again(tmp_path, harm, sentence):
    warnings = []
    store = Store(tmp_path, warnings.append)
    artifact, _ = store.build(request(), make_hello)
    harm(artifact.folder)
    assert store.find("teacher", artifact.fingerprint) is None
    again, state = store.build(request(), make_hello)
    assert state == "ran"
    assert again.path("hello.txt").read_text() == "hello"
    assert len(warnings) == 1
    assert sentence in warnings[0]


def test_flipped_bit_is_found_by_the_deep_check_only(tmp_path):
    store = Store(tmp_path)
    artifact, _ = store.build(request(), make_hello)
    artifact.path("hello.txt").write_text("hellp")
    assert store.damage("teacher", artifact.fingerprint) is None
    assert store.damage("teacher", artifact.fingerprint, deep=True) == "hello.txt does not have its recorded SHA-256"


def test_foreign_manifest_is_not_believed(tmp_path):
    store = Store(tmp_path)
    artifact, _ = store.build(request(), make_hello)
    other = request(config={"steps": 4})
    os.rename(artifact.folder, store.folder("teacher", other.fingerprint))
    assert store.find("teacher", other.fingerprint) is None
    assert store.damage("teacher", other.fingerprint) == "manifest.json belongs to another artifact"


def test_force_makes_again_and_replaces(tmp_path):
    store = Store(tmp_path)
    store.build(request(), make_hello)
    artifact, state = store.build(
        request(), lambda workspace: workspace.path("hello.txt").write_text("anew") and {}, force=True
    )
    assert state == "ran"
    assert artifact.path("hello.txt").read_text() == "anew"
    assert [path.name for path in (tmp_path / "teacher").iterdir()] == [artifact.fingerprint]


SLOW_BUILD = """
import sys, time
from pathlib import Path
from data.store import Request, Store

def make(workspace):
    print("made")
    time.sleep(0.5)
    workspace.path("hello.txt").write_text("hello")
    return {}

print(Store(Path(sys.argv[1])).build(Request("teacher", 1, {}, {}), make)[1])
"""


def test_two_processes_make_it_once(tmp_path):
    command = [sys.executable, "-c", SLOW_BUILD, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    words = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sorted(words) == [["cached"], ["made", "ran"]]


def test_resolve_by_prefix_folder_and_stage(tmp_path):
    store = Store(tmp_path)
    artifact, _ = store.build(request(), make_hello)
    assert store.resolve(artifact.fingerprint[:8]).fingerprint == artifact.fingerprint
    assert store.resolve(str(artifact.folder), "teacher").fingerprint == artifact.fingerprint
    with pytest.raises(DataError, match="must be a generator artifact, got a teacher"):
        store.resolve(str(artifact.folder), "generator")
    with pytest.raises(DataError, match="got 0 that fit"):
        store.resolve("ffff")
    with pytest.raises(DataError, match="got 0 that fit"):
        store.resolve("")


def test_unwritable_store_is_one_sentence(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataError, match="cannot be used"):
        Store(file).build(request(), make_hello)


def test_an_error_of_a_stage_is_not_blamed_on_the_store(tmp_path):
    def failing(number, name):
        def make(workspace):
            raise OSError(number, os.strerror(number), name)

        return make

    store = Store(tmp_path / "store")
    for number in (errno.ENOENT, errno.EACCES):
        with pytest.raises(StageError, match=r"^teacher failed \(.*/nope.pem'\)\.$"):
            store.build(request(), failing(number, "/nope.pem"))
    with pytest.raises(DataError, match=r"the store .* cannot be used .*No space left"):
        store.build(request(), failing(errno.ENOSPC, None))
    inside = str(store.folder("teacher", request().fingerprint).with_suffix(".work") / "x")
    with pytest.raises(DataError, match="must be writable"):
        store.build(request(), failing(errno.EACCES, inside))


def test_manifest_records_what_was_asked(tmp_path):
    artifact, _ = Store(tmp_path).build(request(seed=5), make_hello, device="cuda:1")
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    assert manifest["config"] == {"steps": 3}
    assert manifest["inputs"] == {"real": "a" * 64}
    assert (manifest["seed"], manifest["device"], manifest["recipe_version"]) == (5, "cuda:1", 1)
    assert "torch" in manifest["packages"]


def test_what_a_killed_writer_left_in_the_work_folder_goes_before_the_stage_runs(tmp_path):
    store = Store(tmp_path)
    request = Request("prepare", 1, {}, {})
    work = store.folder("prepare", request.fingerprint).with_name(f"{request.fingerprint}.work")
    (work / ".state").mkdir(parents=True)
    (work / "real.h5.0123456789ab.tmp").write_bytes(b"half")
    (work / ".state" / "images-0.h5.tmp").write_bytes(b"half")
    seen = []
    store.build(request, lambda workspace: seen.extend(workspace.folder.rglob("*.tmp")) or {})
    assert not seen
