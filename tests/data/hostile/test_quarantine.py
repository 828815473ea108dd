"""The child that parses files may do anything once a file has taken it over: each case ends in one sentence."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from data import quarantine as module
from data.confinement import landlock_version
from data.errors import DataError, StageError
from data.quarantine import Quarantine, one_line
from data.schema import KINDS
from data.untrusted import check_arrays, list_arrays, open_untrusted, unpack_arrays
from data.writing import write_set


@pytest.fixture
def path(tmp_path, class_space, make_columns):
    settings = {"label_space": class_space, "provenance": {}, "license": "MIT"}
    write_set(tmp_path / "s.h5", make_columns(class_space, 6, *KINDS["real"]), kind="real", **settings)
    return tmp_path / "s.h5"


@pytest.fixture
def taken_over(monkeypatch):
    """A child in which every request runs the given code in the place of the check."""

    def make(body, *, cpu_seconds=20):
        code = "".join(f"    {line}\n" for line in body.splitlines())
        start = (
            "import json, os, resource, signal, socket, sys, time\n"
            "sys.path[:] = json.loads(sys.argv[1])\n"
            "import data.untrusted_child as child\n"
            f"def act(name, request, targets):\n{code}"
            "child.REQUESTS = dict.fromkeys(child.REQUESTS, act)\n"
            "child.main()\n"
        )
        monkeypatch.setattr(module, "_START", start)
        return Quarantine(cpu_seconds)

    return make


ENDLESS = """
for place in range(3, 9):
    try:
        while True:
            os.write(place, bytes(1 << 20))
    except OSError:
        pass
"""
WRITE_TO_ALL = """
for place in range(3, 9):
    try:
        os.write(place, b"x")
    except OSError:
        pass
return 1
"""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its check ended by SIGSEGV, without an answer"),
        ("os.abort()", "its check ended by SIGABRT"),
        ("os._exit(3)", "its check ended by status 3"),
        ("raise RecursionError('deep\\nin a file')", r"cannot be read as HDF5 \(deep\)"),
        ("return bytearray(70 << 20)", r"cannot be read as HDF5 \(MemoryError\)"),
        ("return None", "no answer that makes sense"),
        (ENDLESS, "answers more than 64 MiB"),
        ("os.kill(os.getppid(), signal.SIGKILL)\nos._exit(0)", "its check broke off|Operation not permitted"),
        (WRITE_TO_ALL, "makes sense"),
    ],
)
def test_crashes_and_nonsense_are_one_sentence_each_and_the_next_request_is_served(path, taken_over, body, sentence):
    with taken_over(body) as process:
        for _ in range(2):
            with pytest.raises(DataError, match=sentence) as caught:
                open_untrusted(path, process)
            assert "\n" not in str(caught.value)
            assert str(caught.value).startswith(f"{path}: ")


def test_what_computes_for_ever_is_ended(path, taken_over):
    with taken_over("while True: pass", cpu_seconds=1) as process, pytest.raises(DataError, match="limit of its time"):
        open_untrusted(path, process)


def test_what_waits_for_ever_is_ended(path, taken_over, monkeypatch):
    # Even if it has stopped its own clock.
    with taken_over("signal.alarm(0)\ntime.sleep(1000)", cpu_seconds=1) as process:
        began = time.monotonic()
        with pytest.raises(DataError, match="took too long"):
            open_untrusted(path, process)
        assert time.monotonic() - began < 100
        assert process._process is None


def test_limits_hold_in_the_child(path, taken_over):
    body = (
        "names = ('RLIMIT_CPU', 'RLIMIT_FSIZE', 'RLIMIT_CORE', 'RLIMIT_NPROC')\n"
        "found = {name: resource.getrlimit(getattr(resource, name))[1] for name in names}\n"
        "found['session'] = os.getsid(0) == os.getppid()\n"
        "found['environment'] = sorted(os.environ)\n"
        "found['modules'] = sorted({'torch', 'hdf5plugin', 'PIL', 'prefect'} & set(sys.modules))\n"
        "return found"
    )
    with taken_over(body) as process, path.open("rb") as file:
        found = process.ask("list", str(path), file.fileno())
    limits = {"RLIMIT_CPU": 21, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NPROC": 0}
    assert {name: found[name] for name in limits} == limits
    assert found["session"] is True
    assert found["modules"] == []
    assert "HDF5_PLUGIN_PRELOAD" in found["environment"]
    assert not {"HOME", "PATH", "PYTHONPATH"} & set(found["environment"])


def test_the_child_reaches_no_other_file_where_the_kernel_has_landlock(path, taken_over, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    body = (
        "found = {'source': open(name, 'rb').read(8).hex()}\n"
        f"for name, mode in (('{secret}', 'rb'), ('{tmp_path}/new', 'wb'), ('/etc/passwd', 'rb')):\n"
        "    try:\n"
        "        open(name, mode).close()\n"
        "        found[name] = 'opened'\n"
        "    except OSError as error:\n"
        "        found[name] = error.errno\n"
        "return found"
    )
    with taken_over(body) as process, path.open("rb") as file:
        found = process.ask("list", str(path), file.fileno())
    assert bytes.fromhex(found.pop("source")) == b"\x89HDF\r\n\x1a\n"
    if found["/etc/passwd"] == "opened":
        pytest.skip("the kernel has no Landlock")
    assert set(found.values()) == {13}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        "[{}, {}]",
        "['a', 'b']",
        "[[1], [2]]",
        "[request, request]",
        "[dict.fromkeys(ATTRIBUTES, 1), {}]",
        "[{**TRUE, 'extra': 1}, {}]",
        "[{**TRUE, 'complete': True}, {}]",
        "[{**TRUE, 'complete': '1'}, {}]",
        "[TRUE, {'images': 1}]",
        "[TRUE, {'../images': ['|u1', [6, 1, 3, 4], 4096]}]",
        "[TRUE, {'images': ['|O', [6, 1, 3, 4], 4096]}]",
        "[TRUE, {'images': ['|u1', [6, 1, 3, -4], 4096]}]",
        "[TRUE, {'images': ['|u1', [6, 1, 3, 4.0], 4096]}]",
        "[TRUE, {'images': ['|u1', [6, 1, 3, True], 4096]}]",
        "[{**TRUE, 'license': chr(0xd800)}, {'images': ['|u1', [6, 1, 3, 4], 4096]}]",
        "[TRUE, {'images': ['|u1', [], 4096]}]",
        "[TRUE, {'images': ['|u1', [6, 1, 3, 4], -8]}]",
        "[TRUE, {'images': ['|u1', [6, 1, 3, 4], None]}]",
        "[TRUE, {'images': ['|u1', [6, 1, 3, 4], 1 << 70]}]",
    ],
)
def test_answers_that_no_check_gives_are_refused(path, taken_over, answer):
    body = (
        "from data.schema import ATTRIBUTES\n"
        "TRUE = {name: kind() for name, kind in ATTRIBUTES.items()}\n"
        f"return {answer}"
    )
    # Imported before the process is confined.
    with taken_over(body) as process, pytest.raises(DataError, match="no answer that makes sense"):
        open_untrusted(path, process)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("extents['images'][2] = 1 << 40", "images ends at byte .*, past the end of the file"),
        ("extents['images'][2] = size // 8 * 8 - 8", "past the end of the file"),
        ("extents['images'][2] += 4", "must lie at a multiple of 8"),
        ("extents['labels'][2] = extents['images'][2]", "must not share bytes"),
        ("extents['images'][1][0] = 1 << 40", "same number of rows"),
        (
            "[e[1].__setitem__(0, 0) for e in extents.values()]; extents['images'][1] = [0, 1, 1 << 40, 1 << 40]",
            "images must have sides whose product fits a memory",
        ),
        ("extents['labels'][0] = '<f4'", r"labels must be int64 \(N,\), got float32"),
        ("del extents['digests/images']", "digests must have one data set for each column"),
        ("attributes['license'] = 'GPL'", "attribute license does not have its recorded digest"),
        ("attributes['schema_version'] = 2", "attribute schema_version must be 1, got 2"),
        ("attributes['kind'] = 'groups'", "does not have its recorded digest"),
    ],
)
def test_this_process_judges_what_the_child_says(path, taken_over, change, sentence):
    body = (
        "import data.checking as checking\n"
        "attributes, found = checking.read_structure(name, request['where'])\n"
        "extents = {key: [e.dtype.str, list(e.shape), e.offset] for key, e in found.items()}\n"
        f"size = {path.stat().st_size}\n{change}\n"
        "return [attributes, extents]"
    )
    with taken_over(body) as process, pytest.raises(DataError, match=sentence):
        open_untrusted(path, process)


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        "{'images': 1}",
        "{'images': {'dtype': '|O', 'shape': [1], 'offset': 8}}",
        "{'images': {'dtype': '|u1', 'shape': [1], 'offset': -8}}",
        "{'images': {'dtype': '|u1', 'shape': ['1'], 'offset': 8}}",
        "{'images': {'dtype': '|u1', 'shape': [1], 'offset': 8, 'more': 1}}",
        "{'images': {'dtype': '|u1', 'shape': [2] * 40, 'offset': None}}",
    ],
)
def test_answers_about_other_layouts_are_judged_too(path, taken_over, answer):
    with taken_over(f"return {answer}") as process:
        with pytest.raises(DataError, match="no answer that makes sense"):
            list_arrays(path, process)
        with pytest.raises(DataError, match="no answer that makes sense"):
            unpack_arrays(path, ["images"], process)


def test_places_past_the_end_and_other_names_are_refused(path, taken_over):
    inside = "{'dtype': '|u1', 'shape': [100], 'offset': 1 << 40}"
    with taken_over(f"return {{'images': {inside}}}") as process:
        with pytest.raises(DataError, match="images ends past the end of the file"):
            unpack_arrays(path, ["images"], process)
        with pytest.raises(DataError, match="answers about other data sets"):
            unpack_arrays(path, ["labels"], process)


def test_a_copy_larger_than_the_disk_is_refused_before_it_is_made(path, taken_over):
    body = "return {'images': {'dtype': '|u1', 'shape': [1 << 60], 'offset': None}}"
    sentence = "unpacks to 1,152,921,504,606,846,976 bytes, more than are free"
    with taken_over(body) as process, pytest.raises(DataError, match=sentence):
        unpack_arrays(path, ["images"], process)


def test_sentences_of_a_file_steer_no_terminal_and_fill_no_log():
    told = one_line("x.h5: '\x1b[2J\n\u202e' is odd" + "y" * 5000, "x.h5")
    assert told.startswith("x.h5: '?[2J??' is odd")
    assert len(told) < 1100


def test_a_child_that_does_not_start_is_no_fault_of_the_file(path, monkeypatch):
    monkeypatch.setattr(module, "_START", "raise SystemExit(1)")
    with pytest.raises(StageError, match="does not start"):
        open_untrusted(path)


def test_nothing_stays_behind(path):
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Quarantine() as process:
            open_untrusted(path, process)
            child = process._process
        assert child.returncode is not None
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_the_memory_of_a_request_is_measured(path, taken_over):
    with taken_over("held = bytearray(40 << 20)\nreturn len(held)") as process, path.open("rb") as file:
        assert process.ask("list", str(path), file.fileno()) == 40 << 20
        assert 39 << 20 < process.grown < 64 << 20
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_large_values_reach_the_map_as_they_are(tmp_path, class_space, make_columns):
    columns = make_columns(class_space, 9000, *KINDS["real"])
    write_set(tmp_path / "l.h5", columns, kind="real", label_space=class_space, provenance={}, license="MIT")
    found = open_untrusted(tmp_path / "l.h5", verify=True)
    assert all(np.array_equal(found.columns[name], values) for name, values in columns.items())


@pytest.mark.parametrize(("count", "length"), [(60, 3000), (900, 300), (900, 3000)])
def test_long_names_of_data_sets_are_no_fault(tmp_path, count, length):
    names = [f"{number:0{length}d}" for number in range(count)]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name in names:
            file[name] = np.arange(3)
    found = check_arrays(tmp_path / "x.h5", names)
    assert list(found) == names


def test_a_child_that_was_ended_between_two_requests_is_started_again(path):
    with Quarantine() as process:
        open_untrusted(path, process)
        first = process._process
        first.kill()
        first.wait()
        assert len(open_untrusted(path, process)) == 6
        assert process._process is not first


def test_a_fork_has_a_child_of_its_own_and_leaves_that_of_its_parent_alone(path):
    with Quarantine() as process:
        open_untrusted(path, process)
        first = process._process
        forked = os.fork()
        if not forked:
            status = 1
            try:
                status = 0 if len(open_untrusted(path, process)) == 6 else 2
                process.close()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
        assert first.poll() is None
        assert len(open_untrusted(path, process)) == 6
        assert process._process is first


def test_nothing_needs_a_folder_for_temporary_files(path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    assert len(open_untrusted(path)) == 6


def test_an_interrupted_request_leaves_no_answer_to_the_next_one(
    path, tmp_path, class_space, make_columns, monkeypatch
):
    settings = {"kind": "real", "label_space": class_space, "provenance": {}, "license": "MIT"}
    write_set(tmp_path / "other.h5", make_columns(class_space, 7, *KINDS["real"]), **settings)
    real = Quarantine._read

    def interrupted(self, *arguments):
        real(self, *arguments)
        raise KeyboardInterrupt

    def at_once(self, *arguments):
        raise KeyboardInterrupt

    for broken in (interrupted, at_once):
        with Quarantine() as process:
            monkeypatch.setattr(Quarantine, "_read", broken)
            with pytest.raises(KeyboardInterrupt):
                open_untrusted(path, process)
            monkeypatch.setattr(Quarantine, "_read", real)
            assert len(open_untrusted(tmp_path / "other.h5", process)) == 7


def test_signals_that_the_caller_ignores_or_blocks_do_not_reach_the_child(path):
    script = (
        "import signal, sys\n"
        "from data.untrusted import open_untrusted\n"
        "for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGXCPU):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "print(len(open_untrusted(sys.argv[1])))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "6\n"


def test_a_process_that_holds_the_pipe_open_keeps_nobody_waiting(path, monkeypatch):
    real, forked = os.pipe, []

    def pipe():
        ends = real()
        # As another thread might, between the pipe and its closing.
        child = os.fork()
        if not child:
            time.sleep(1000)
            os._exit(0)
        forked.append(child)
        return ends

    with Quarantine(cpu_seconds=2) as process:
        open_untrusted(path, process)
        monkeypatch.setattr(module.os, "pipe", pipe)
        try:
            assert len(open_untrusted(path, process)) == 6
        finally:
            for child in forked:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    assert len(forked) == 1


def test_whether_the_kernel_has_landlock_is_told(path):
    with Quarantine() as process:
        assert process.landlock is None
        open_untrusted(path, process)
        assert process.landlock is (landlock_version() > 0)
