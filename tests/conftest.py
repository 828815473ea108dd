"""Settings of every test: one thread, since the networks of tests are too small to share; and a teacher's server."""

import base64
import gzip
import hashlib
import io
import json
import os
import threading
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

# Before torch is imported anywhere. On a busy machine, two threads that wait for each other are slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


class TeacherServer:
    """A real server that charges an image once a request key, and misbehaves in the order of ``faults``.

    A fault is a status ("503"), "429 2" with a Retry-After, "drop" (closes after it has charged), "refuse" (closes
    before), "stall", "drip", "slow headers", "packed" (gzip), "nan", "rows", "columns", "flat", "text", "pickle",
    "integers", "huge", "bomb", "tell" (the token in the error) or "redirect".
    """

    def __init__(self, outputs, token=None):
        self.outputs = outputs
        self.token = token
        self.faults = deque()
        self.delay = 0.0
        self.forgets_keys = False
        self.most_images = None
        self.requests = []
        self.forms = []
        self.charged = Counter()
        self.keys = {}
        self.repeats = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                server.handle(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/answer"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def expected(self, images):
        return np.stack([self.row(image.tobytes()) for image in images])

    def row(self, data):
        seed = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
        return np.random.default_rng(seed).normal(size=self.outputs).astype(np.float32)

    @property
    def twice(self):
        """Images that were charged more than once."""
        return {digest: count for digest, count in self.charged.items() if count > 1}

    def handle(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        key, json_form = request.headers.get("Idempotency-Key"), "json" in request.headers["Content-Type"]
        with self._lock:
            fault = self.faults.popleft() if self.faults else ""
            self.requests.append((time.monotonic(), key))
            self.forms.append("json" if json_form else "npz")
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.reply(request, 401, b"who are you?")
        if fault == "refuse":
            return self.hang_up(request)
        if fault == "tell":
            return self.reply(request, 400, f"bad token {self.token}\nmore".encode())
        if fault == "redirect":
            return self.reply(request, 307, b"", {"Location": "http://127.0.0.1:9/else"})
        if fault[:3].isdigit():
            status, _, wait = fault.partition(" ")
            return self.reply(request, int(status), b"not\x07 now\nsecond line", {"Retry-After": wait} if wait else {})
        if json_form:
            document = json.loads(body)
            data = base64.b64decode(document["images"])
            images = np.frombuffer(data, document["dtype"]).reshape(document["shape"])
        else:
            images = np.load(io.BytesIO(body))["images"]
        assert images.dtype == np.uint8
        assert images.ndim == 4
        if self.most_images is not None and len(images) > self.most_images:
            return self.reply(request, 503, b"too many images")
        with self._lock:
            if key in self.keys and not self.forgets_keys:
                self.repeats += 1
                assert self.keys[key] == images.tobytes(), "one key, two requests"
            else:
                self.keys[key] = images.tobytes()
                self.charged.update(hashlib.sha256(image.tobytes()).hexdigest() for image in images)
        self.stopping.wait(self.delay)
        if fault == "drop":
            return self.hang_up(request)
        if fault == "stall":
            self.stopping.wait(30)
            return self.hang_up(request)
        outputs = self.lie(self.expected(images), fault)
        reply = self.encoded(outputs, json_form, fault)
        if fault == "slow headers":
            return self.slow_headers(request)
        if fault == "packed":
            return self.reply(request, 200, gzip.compress(reply), {"Content-Encoding": "gzip"})
        if fault == "drip":
            return self.drip(request, reply)
        return self.reply(request, 200, reply)

    def lie(self, outputs, fault):
        if fault == "nan":
            outputs[0, 0] = np.nan
        changes = {
            "rows": lambda: outputs[:-1],
            "columns": lambda: outputs[:, :-1],
            "flat": lambda: outputs.reshape(-1),
            "integers": lambda: outputs.astype(np.int64),
        }
        return changes[fault]() if fault in changes else outputs

    def encoded(self, outputs, json_form, fault):
        if fault == "text":
            return b"<html>all is well</html>"
        if fault == "huge":
            return b"x" * (1 << 26)
        if json_form:
            return json.dumps({"outputs": outputs.tolist()}).encode()
        file = io.BytesIO()
        if fault == "pickle":
            np.savez(file, outputs=np.array([{"a": 1}], object))
        elif fault == "bomb":
            np.savez_compressed(file, outputs=np.zeros((len(outputs), 1 << 22), np.float32))
        else:
            np.savez(file, outputs=outputs)
        return file.getvalue()

    def reply(self, request, status, body, headers=None):
        try:
            request.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)
        except OSError:  # the client is gone, as in tests that kill it
            request.close_connection = True

    def drip(self, request, body):
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        try:
            for place in range(len(body)):
                request.wfile.write(body[place : place + 1])
                if self.stopping.wait(0.02):
                    break
        except OSError:
            pass
        request.close_connection = True

    def slow_headers(self, request):
        request.close_connection = True
        try:
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(200):
                request.wfile.write(b"X-%d: 1\r\n" % number)
                if self.stopping.wait(0.05):
                    break
        except OSError:
            pass

    def hang_up(self, request):
        request.close_connection = True
        request.connection.close()


@pytest.fixture
def teacher_server(monkeypatch):
    """Starts servers: ``teacher_server(outputs, token=None)``."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = []

    def start(outputs=10, token=None):
        running.append(TeacherServer(outputs, token))
        return running[-1]

    yield start
    for server in running:
        server.stop()
