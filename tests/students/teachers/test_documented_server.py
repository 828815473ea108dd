"""The server in docs/teachers.md answers, and charges a repeated request once."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from students.ledger import Ledger
from students.teachers.http import Endpoint, HttpClient

DOCUMENT = Path(__file__).parents[3] / "docs" / "teachers.md"


@pytest.fixture
def server(tmp_path, monkeypatch, request):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    slow = getattr(request, "param", 0.0)
    if slow:
        begins = f"def model(images):\n    open('charged', 'a').write('x')\n    __import__('time').sleep({slow})\n"
        code = code.replace("def model(images):\n", begins)
    (tmp_path / "server.py").write_text(code)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "server.py"), str(port)], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/"
    process.kill()
    process.wait()


def test_the_documented_server_answers(server, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (7, 1, 4, 4), np.uint8)
    pixels = images.reshape(7, -1).astype(np.float32) / 255
    expected = pixels @ np.random.default_rng(0).normal(size=(16, 10)).astype(np.float32)
    client = HttpClient(Endpoint(server, backoff_seconds=0.01))
    with Ledger(tmp_path, {"url": server}, stage="answers", request_images=3) as ledger:
        np.testing.assert_allclose(ledger.ask(images, client), expected, rtol=1e-5, atol=1e-6)
    client.close()


@pytest.mark.parametrize("server", [0.6], indirect=True)
def test_the_documented_server_charges_once_while_it_still_works(server, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2, 1, 4, 4), np.uint8)
    client = HttpClient(Endpoint(server, timeout_seconds=0.2, attempts=20, backoff_seconds=0.1))
    assert client(images, "key").shape == (2, 10)
    client.close()
    assert (tmp_path / "charged").read_text() == "x"


def test_the_examples_are_configurations_of_every_kind(monkeypatch):
    import yaml

    from flows.loading import check_config

    found = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)]
    configs = [check_config(document, "docs/teachers.md") for document in found]
    kinds = [config.teacher.kind for config, document in zip(configs, found, strict=True) if "teacher" in document]
    assert sorted(kinds) == ["checkpoint", "ensemble", "factory", "http", "onnx", "pretrained", "trained"]
    assert configs[-1].answers.views == 4
