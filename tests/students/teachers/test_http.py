"""The client of an endpoint against a real server that fails, stalls, lies and repeats itself."""

import email.utils
import time

import numpy as np
import pytest

from data.errors import ConfigError, StageError
from students.ledger import RefusedError
from students.teachers.http import Endpoint, HttpClient, _retry_after
from students.teachers.wire import AnswerError, decode, encode

TOKEN = "s3cret-token-0123456789"


def images(count=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 4, 4), np.uint8)


@pytest.fixture
def client(request):
    made = []

    def make(server, **settings):
        defaults = {"timeout_seconds": 5.0, "attempts": 3, "backoff_seconds": 0.01}
        made.append(HttpClient(Endpoint(server.url, **{**defaults, **settings})))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("encoding", ["npz", "json"])
def test_outputs_come_back_exactly(teacher_server, client, encoding):
    server = teacher_server(7)
    asked = client(server, encoding=encoding)
    outputs = asked(images(), "key")
    np.testing.assert_array_equal(outputs, server.expected(images()))
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(asked(images(3, 1), "other"), server.expected(images(3, 1)))


@pytest.mark.parametrize("fault", ["500", "503", "429", "408", "409", "drop", "refuse"])
def test_a_failure_is_asked_again_under_the_same_key(teacher_server, client, fault):
    server = teacher_server()
    server.faults.extend([fault, fault])
    outputs = client(server)(images(), "the-key")
    np.testing.assert_array_equal(outputs, server.expected(images()))
    assert [key for _, key in server.requests] == ["the-key"] * 3
    assert not server.twice


def test_waits_double_and_are_spread(teacher_server, client):
    server = teacher_server()
    server.faults.extend(["500"] * 3)
    client(server, attempts=4, backoff_seconds=0.1)(images(), "key")
    times = [moment for moment, _ in server.requests]
    for number, wait in enumerate(np.diff(times)):
        assert 0.05 * 2**number <= wait <= 0.1 * 2**number + 0.15


def test_retry_after_is_honoured_in_seconds_and_as_a_date(teacher_server, client):
    server = teacher_server()
    later = email.utils.formatdate(time.time() + 2, usegmt=True)
    server.faults.extend(["429 1", f"503 {later}"])
    client(server)(images(), "key")
    first, second = np.diff([moment for moment, _ in server.requests])
    assert 1.0 <= first < 1.5
    # A date has whole seconds, and the first second of the two has passed.
    assert second < 1.5


def test_tries_end_in_one_sentence(teacher_server, client):
    server = teacher_server()
    server.faults.extend(["500"] * 5)
    with pytest.raises(
        StageError, match=r"did not answer in 3 tries, the last time answering with status 500 \(not  now\)"
    ):
        client(server)(images(), "key")
    assert len(server.requests) == 3


def test_nobody_there_is_one_sentence(client, teacher_server):
    server = teacher_server()
    asked = client(server, attempts=2)
    server.stop()
    server.stop = lambda: None
    with pytest.raises(StageError, match="in 2 tries, the last time failing with ConnectError"):
        asked(images(), "key")


@pytest.mark.parametrize("fault", ["stall", "drip", "slow headers"])
def test_silence_and_slowness_end(teacher_server, client, fault):
    server = teacher_server()
    server.faults.extend([fault, fault])
    started = time.monotonic()
    asked = client(server, timeout_seconds=0.3, attempts=2)
    with pytest.raises(StageError, match=r"in 2 tries, the last time without a whole answer in 0.3 s"):
        asked(images(), "key")
    assert time.monotonic() - started < 1.5
    # A connection that was cut is not used again.
    np.testing.assert_array_equal(asked(images(), "key"), server.expected(images()))


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "413", "422"])
def test_a_refusal_is_not_asked_again(teacher_server, client, status):
    server = teacher_server()
    server.faults.append(status)
    with pytest.raises(RefusedError, match=rf"refuses the request with status {status} \(not  now\); mend"):
        client(server)(images(), "key")
    assert len(server.requests) == 1


def test_a_refusal_after_a_try_that_may_have_been_paid_for_is_no_proof(teacher_server, client):
    server = teacher_server()
    server.faults.extend(["drop", "401"])
    with pytest.raises(StageError, match="status 401") as raised:
        client(server)(images(), "key")
    assert not isinstance(raised.value, RefusedError)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "finite numbers, got others for 1 of 5 images"),
        ("rows", r"shape \(5, K\), one row for each image sent, got \(4, 10\)"),
        ("flat", r"shape \(5, K\)"),
        ("text", "must be an npz file, got something else"),
        ("pickle", "floating point numbers, got object"),
        ("integers", "floating point numbers, got int64"),
        ("huge", "at most 3670016 bytes, got more"),
        ("bomb", "at most 3670016 bytes, got more"),
    ],
)
def test_lies_are_named(teacher_server, client, fault, words):
    server = teacher_server()
    server.faults.append(fault)
    with pytest.raises(StageError, match=words) as raised:
        client(server)(images(), "key")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 4
    assert not isinstance(raised.value, RefusedError)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[1, 2]", "must be {"),
        (b"{}", "must be {"),
        (b'{"outputs": [[1, 2], [3]]}', "rows of one length"),
        (b'{"outputs": [[1, 2], [3, NaN]]}', "finite"),
        (b'{"outputs": [[1, 2], [3, 1e39]]}', "finite"),
        (b'{"outputs": [[1, 2], [3, "4"]]}', "must be numbers"),
        (b'{"outputs": [[1, 2], [3, true]]}', "must be numbers"),
        (b'{"outputs": [[1], [2], [3]]}', "one row for each image"),
        (b'{"outputs": [[], []]}', "one row for each image"),
        (b'{"outputs": [[1], [' + b"9" * 400 + b"]]}", "finite"),
        (b"[" * 200_000, "must be JSON"),
        (b"\xff", "must be JSON"),
    ],
)
def test_json_lies_are_named(body, words):
    with pytest.raises(AnswerError, match=words):
        decode(body, "json", 2)


def test_a_header_that_promises_much_allocates_nothing():
    good = encode(images(2), "npz")
    with pytest.raises(AnswerError, match=r"must hold 'outputs', got images.npy"):
        decode(good, "npz", 2)
    import io
    import zipfile

    file = io.BytesIO()
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1099511627776), }\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("outputs.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(AnswerError, match="and the bytes of it"):
        decode(file.getvalue(), "npz", 2)


def test_fortran_order_and_half_precision_are_read():
    import io

    wanted = np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3))
    file = io.BytesIO()
    np.savez_compressed(file, outputs=wanted)
    np.testing.assert_array_equal(decode(file.getvalue(), "npz", 2), wanted.astype(np.float32))


@pytest.mark.parametrize("method", ["bzip2", "lzma", "deflated"])
def test_a_packed_answer_is_unpacked_up_to_the_limit(method):
    import io
    import struct
    import tracemalloc
    import zipfile

    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", getattr(zipfile, f"ZIP_{method.upper()}")) as archive,
        archive.open("outputs.npy", "w") as member,
    ):
        for _ in range(64):
            member.write(bytes(1 << 20))
    honest, body = file.getvalue(), bytearray(file.getvalue())
    place = body.rfind(b"PK\x01\x02") + 24
    body[place : place + 4] = struct.pack("<I", 1000)  # the size that it states
    for each in (honest, bytes(body)):
        assert len(each) < 1 << 18
        tracemalloc.start()
        with pytest.raises(AnswerError):
            decode(each, "npz", 2)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 << 20


def test_a_table_of_very_many_arrays_is_not_read():
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(AnswerError, match="at most 64 arrays"):
        decode(file.getvalue(), "npz", 2)


def test_a_packed_body_is_refused_unread(teacher_server, client):
    server = teacher_server()
    server.faults.append("packed")
    with pytest.raises(StageError, match="must have no Content-Encoding, as Accept-Encoding says, got gzip"):
        client(server)(images(), "key")


def test_one_that_is_sent_again_keeps_its_form(teacher_server, client):
    server = teacher_server()
    asked = client(server, encoding="npz")
    np.testing.assert_array_equal(asked(images(), "key", "json"), server.expected(images()))
    assert server.forms == ["json"]


@pytest.mark.parametrize(("status", "final"), [("400", True), ("413", True), ("401", False), ("404", False)])
def test_a_refusal_of_the_sender_is_not_final(teacher_server, client, status, final):
    server = teacher_server()
    server.faults.append(status)
    with pytest.raises(RefusedError) as raised:
        client(server)(images(), "key")
    assert raised.value.final is final


@pytest.mark.parametrize("wait", ["9" * 400, "9" * 5000, "Mon, 99999999999999999999 Jan 2000 00:00:00 GMT", "soon"])
def test_waits_beyond_all_measure_are_the_longest_or_none(wait):
    seconds = _retry_after(wait)
    assert seconds is None or seconds > 1e300


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("HTTP_PROXY", "gopher://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://h:99999"),
        ("SSL_CERT_FILE", "/nope.pem"),
    ],
)
def test_an_environment_that_cannot_be_used_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=rf"the environment variable .*{variable}.* must ") as raised:
        HttpClient(Endpoint("https://teacher.example.com/"))
    assert value not in str(raised.value)


def test_the_token_is_sent_and_never_told(teacher_server, client, monkeypatch):
    server = teacher_server(token=TOKEN)
    monkeypatch.setenv("TEACHER_TOKEN", TOKEN)
    asked = client(server, token_variable="TEACHER_TOKEN")
    asked(images(), "key")
    server.faults.append("tell")
    with pytest.raises(StageError, match=r"bad token \[token\]") as raised:
        asked(images(), "key")
    assert TOKEN not in str(raised.value)
    assert TOKEN not in repr(asked.endpoint)
    monkeypatch.setenv("TEACHER_TOKEN", "wrong")
    with pytest.raises(RefusedError, match="status 401"):
        client(server, token_variable="TEACHER_TOKEN")(images(), "key")


@pytest.mark.parametrize("token", ["", "  ", "schlüssel", "a\tb"])
def test_a_token_that_cannot_be_sent_is_refused(teacher_server, client, monkeypatch, token):
    monkeypatch.setenv("TEACHER_TOKEN", token)
    with pytest.raises(ConfigError, match=r"environment variable TEACHER_TOKEN must hold the token") as raised:
        client(teacher_server(), token_variable="TEACHER_TOKEN")
    assert not token.strip() or token not in str(raised.value)


def test_redirects_are_not_followed(teacher_server, client):
    server = teacher_server()
    server.faults.append("redirect")
    with pytest.raises(RefusedError, match=r"redirects to http://127.0.0.1:9/else"):
        client(server)(images(), "key")


def test_the_rate_is_kept(teacher_server, client):
    server = teacher_server()
    asked = client(server, requests_per_second=20.0)
    for number in range(5):
        asked(images(1, number), str(number))
    times = [moment for moment, _ in server.requests]
    # The first request also waits for its connection.
    assert times[-1] - times[0] >= 4 / 20 - 0.1
    assert times[-1] - times[1] >= 3 / 20 - 0.03


def test_clients_of_one_address_share_the_rate(teacher_server, client):
    server = teacher_server()
    first, second = client(server, requests_per_second=10.0), client(server, requests_per_second=10.0)
    started = time.monotonic()
    for number in range(2):
        first(images(1, number), f"a{number}")
        second(images(1, number), f"b{number}")
    assert time.monotonic() - started >= 3 / 10 - 0.03


def test_a_client_can_be_asked_again_after_the_server_closed_the_connection(teacher_server, client):
    server = teacher_server()
    asked = client(server)
    asked(images(), "a")
    server.faults.append("drop")
    asked(images(4, 1), "b")
    assert server.repeats == 1
    assert not server.twice
