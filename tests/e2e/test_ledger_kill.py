"""kill -9 of processes that pay for answers: the server charges every image once, and no answer is lost."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from students.ledger import Ledger

CLIENT = """
import sys
from pathlib import Path
import numpy as np
from students.ledger import Ledger
from students.teachers.http import Endpoint, HttpClient
url, folder, order, budget = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
images = np.load(folder / "images.npy")
images = images[np.random.default_rng(order).permutation(len(images))] if order else images
client = HttpClient(Endpoint(url, attempts=8, backoff_seconds=0.01, timeout_seconds=5.0))
identity = {"kind": "http", "url": url, "version": ""}
with Ledger(folder, identity, stage="answers", artifact="a", max_calls=budget, request_images=5) as ledger:
    np.save(folder / f"outputs-{order}.npy", ledger.ask(images, client))
client.close()
"""
COUNT = 300


@pytest.fixture
def pictures(tmp_path):
    made = np.random.default_rng(0).integers(0, 256, (COUNT, 1, 4, 4), np.uint8)
    # Some stand there twice.
    made[-10:] = made[:10]
    np.save(tmp_path / "images.npy", made)
    return made


def start(server, folder, order=0, budget=COUNT - 10):
    command = [sys.executable, "-c", CLIENT, server.url, str(folder), str(order), str(budget)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def kill_after(process, server, requests, moment):
    """Ends a client some requests from now; whether it was still at work."""
    wanted = len(server.requests) + requests
    deadline = time.monotonic() + 30
    while len(server.requests) < wanted and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(moment)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive


def known(server, folder, pictures):
    with Ledger(folder, {"kind": "http", "url": server.url, "version": ""}, stage="answers") as ledger:
        return ledger.known(pictures), ledger.spent()


@pytest.mark.parametrize("seed", [0])
def test_killed_clients_pay_once_and_lose_nothing(tmp_path, pictures, teacher_server, seed):
    rng = random.Random(seed)
    server = teacher_server(3)
    server.delay = 0.008
    kills = 0
    for _ in range(6):
        server.faults.extend(rng.choices(["", "", "", "500", "drop", "refuse"], k=6))
        kills += kill_after(start(server, tmp_path), server, rng.randint(1, 6), rng.uniform(0, 0.02))
    assert kills == 6
    server.faults.clear()
    before = known(server, tmp_path, pictures)[1]
    assert 0 < before[0] < COUNT - 10
    finish(start(server, tmp_path))
    np.testing.assert_array_equal(np.load(tmp_path / "outputs-0.npy"), server.expected(pictures))
    assert not server.twice
    assert len(server.charged) == COUNT - 10
    there, spent = known(server, tmp_path, pictures)
    assert there.all()
    assert spent == (COUNT - 10, 0)
    # The finished ledger answers without the server.
    requests = len(server.requests)
    finish(start(server, tmp_path))
    assert len(server.requests) == requests
    assert not list(tmp_path.glob("*.alive"))


def test_two_at_once_of_which_one_is_killed_pay_once(tmp_path, pictures, teacher_server):
    server = teacher_server(3)
    server.delay = 0.01
    first, second = start(server, tmp_path, 1), start(server, tmp_path, 2)
    assert kill_after(first, server, 12, 0.005)
    third = start(server, tmp_path, 3)
    finish(second)
    finish(third)
    for order in (2, 3):
        shuffled = pictures[np.random.default_rng(order).permutation(COUNT)]
        np.testing.assert_array_equal(np.load(tmp_path / f"outputs-{order}.npy"), server.expected(shuffled))
    assert not server.twice
    assert sum(server.charged.values()) == COUNT - 10


def test_a_server_without_keys_loses_what_was_in_flight_at_most(tmp_path, pictures, teacher_server):
    server = teacher_server(3)
    server.delay = 0.02
    server.forgets_keys = True
    kills = sum(kill_after(start(server, tmp_path), server, 3, 0.01) for _ in range(3))
    finish(start(server, tmp_path))
    assert len(server.charged) == COUNT - 10
    assert len(server.twice) <= 5 * kills
    assert known(server, tmp_path, pictures)[1] == (COUNT - 10, 0)
