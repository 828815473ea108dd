"""The ledger: nothing is paid twice, nothing is lost, the budget holds, and damage is said."""

import sqlite3
import threading
import time

import numpy as np
import pytest

from data.errors import DataError, StageError
from students.ledger import Ledger, RefusedError, calls_by_stage, image_digests, ledger_path
from students.ledger_requests import request_key

IDENTITY = {"kind": "http", "url": "http://x", "version": "1"}


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 3, 4), np.uint8)


def truth(pictures):
    return np.stack([[float(picture.sum()), float(picture[0, 0, 0])] for picture in pictures]).astype(np.float32)


class Asked:
    """A teacher that remembers every request, and fails where it is told to."""

    def __init__(self, failing=()):
        self.requests = []
        self.failing = dict(failing)

    def __call__(self, pictures, key, encoding):
        self.requests.append((key, [picture.tobytes() for picture in pictures]))
        fault = self.failing.get(len(self.requests) - 1)
        if fault is not None:
            raise fault
        return truth(pictures)

    @property
    def images(self):
        return [picture for _, request in self.requests for picture in request]


def ledger_in(folder, **settings):
    return Ledger(folder, IDENTITY, **{"stage": "answers", "artifact": "a", "request_images": 4, **settings})


def test_answers_are_asked_for_once_and_kept(tmp_path):
    teacher, pictures = Asked(), images(10)
    with ledger_in(tmp_path) as ledger:
        np.testing.assert_array_equal(ledger.ask(pictures, teacher), truth(pictures))
        assert [len(request) for _, request in teacher.requests] == [4, 4, 2]
        np.testing.assert_array_equal(ledger.ask(pictures[::-1], teacher), truth(pictures[::-1]))
    with ledger_in(tmp_path, stage="candidates", artifact="b") as again:
        more = np.concatenate([pictures[3:5], images(3, 1)])
        np.testing.assert_array_equal(again.ask(more, teacher), truth(more))
        assert again.paid() == 3
        assert again.spent() == (13, 0)
        assert again.known(np.concatenate([more, images(1, 2)])).tolist() == [True] * 5 + [False]
    assert len(teacher.images) == len(set(teacher.images)) == 13
    assert calls_by_stage(ledger_path(tmp_path, IDENTITY)) == {"answers": 10, "candidates": 3}


def test_equal_images_of_one_call_are_one_question(tmp_path):
    teacher, pictures = Asked(), images(3)[[0, 1, 0, 2, 1, 0]]
    with ledger_in(tmp_path, max_calls=3) as ledger:
        np.testing.assert_array_equal(ledger.ask(pictures, teacher), truth(pictures))
    assert len(teacher.images) == 3


def test_equal_bytes_of_another_shape_are_another_image():
    picture = images(1)
    assert image_digests(picture) != image_digests(picture.reshape(1, 1, 4, 3))
    assert image_digests(picture) == image_digests(np.asfortranarray(picture))


def test_a_key_is_that_of_teacher_and_images_in_order():
    digests = image_digests(images(3))
    keys = {request_key("a", digests), request_key("b", digests), request_key("a", digests[::-1])}
    assert len(keys) == 3
    assert request_key("a", digests) in keys


def test_other_teachers_have_other_files(tmp_path):
    other = {**IDENTITY, "version": "2"}
    assert ledger_path(tmp_path, IDENTITY) != ledger_path(tmp_path, other)
    teacher = Asked()
    for identity in (IDENTITY, other):
        with Ledger(tmp_path, identity, stage="answers") as ledger:
            ledger.ask(images(2), teacher)
    assert len(teacher.images) == 4


def test_the_budget_is_met_exactly_and_never_exceeded(tmp_path):
    teacher = Asked()
    with ledger_in(tmp_path, max_calls=10) as ledger:
        ledger.ask(images(6), teacher)
        with pytest.raises(StageError, match="must allow 5 more images, but of 10 6 are spent and 4 are left"):
            ledger.ask(images(11), teacher)
        # Nothing of the call that would exceed it was asked for.
        assert len(teacher.images) == 6
        ledger.ask(images(10), teacher)
        assert ledger.spent() == (10, 0)
        np.testing.assert_array_equal(ledger.ask(images(10), teacher), truth(images(10)))
        with pytest.raises(
            StageError, match=r"0 are left; none of these 1 was asked for. Raise teacher.max_calls to at least 11"
        ):
            ledger.ask(images(11), teacher)
    with ledger_in(tmp_path, max_calls=11) as raised:
        raised.ask(images(11), teacher)
    assert len(teacher.images) == 11


def test_a_budget_of_nothing_asks_nothing(tmp_path):
    with ledger_in(tmp_path, max_calls=0) as ledger, pytest.raises(StageError, match="of 0 0 are spent"):
        ledger.ask(images(1), Asked())


def test_a_failed_request_is_sent_again_exactly_as_it_was(tmp_path):
    teacher, pictures = Asked({1: StageError("down")}), images(10)
    with ledger_in(tmp_path) as ledger:
        with pytest.raises(StageError, match="down"):
            ledger.ask(pictures, teacher)
        assert ledger.spent() == (4, 4)
    # Another order, other images and another size of requests: what was reserved is finished first.
    with ledger_in(tmp_path, stage="candidates", artifact="b", request_images=3, max_calls=10) as again:
        np.testing.assert_array_equal(again.ask(pictures[::-1], teacher), truth(pictures[::-1]))
        assert again.spent() == (10, 0)
        assert again.paid() == 2
    assert teacher.requests[2] == teacher.requests[1]
    answered = [request for number, (_, request) in enumerate(teacher.requests) if number != 1]
    flat = [picture for request in answered for picture in request]
    assert len(flat) == len(set(flat)) == 10
    assert calls_by_stage(ledger_path(tmp_path, IDENTITY)) == {"answers": 8, "candidates": 2}


def test_a_reservation_counts_against_the_budget_until_it_is_finished(tmp_path):
    teacher = Asked({0: StageError("down"), 1: StageError("down")})
    with ledger_in(tmp_path, max_calls=4) as ledger:
        with pytest.raises(StageError, match="down"):
            ledger.ask(images(4), teacher)
        with pytest.raises(StageError, match="4 are spent and 0 are left"):
            ledger.ask(images(1, 9), teacher)
        ledger.ask(images(4), teacher)


def test_a_refused_request_is_not_reserved(tmp_path):
    teacher = Asked({0: RefusedError("too many at once")})
    with ledger_in(tmp_path, request_images=8) as ledger:
        with pytest.raises(RefusedError):
            ledger.ask(images(8), teacher)
        assert ledger.spent() == (0, 0)
    with ledger_in(tmp_path, request_images=2, max_calls=8) as smaller:
        smaller.ask(images(8), teacher)
    assert [len(request) for _, request in teacher.requests] == [8, 2, 2, 2, 2]


def test_a_refusal_of_what_may_have_been_paid_for_keeps_its_key(tmp_path):
    teacher = Asked({0: StageError("cut off"), 1: RefusedError("token expired")})
    with ledger_in(tmp_path) as ledger:
        for words in ("cut off", "token expired"):
            with pytest.raises(StageError, match=words):
                ledger.ask(images(4), teacher)
            assert ledger.spent() == (0, 4)
    with ledger_in(tmp_path, request_images=1) as again:
        again.ask(images(4)[::-1], teacher)
    assert teacher.requests[0] == teacher.requests[1] == teacher.requests[2]
    assert len(teacher.requests) == 3


@pytest.mark.parametrize("lie", [np.zeros((4, 2)) * np.nan, np.zeros((3, 2)), np.zeros(4)])
def test_what_is_no_answer_is_not_recorded(tmp_path, lie):
    with ledger_in(tmp_path) as ledger:
        with pytest.raises(ValueError, match="outputs must be finite, one row for each of 4 images"):
            ledger.ask(images(4), lambda pictures, key, encoding: lie)
        assert ledger.spent() == (0, 4)
        assert not ledger.known(images(4)).any()
        # The same ledger goes on with a good answer.
        np.testing.assert_array_equal(ledger.ask(images(4), Asked()), truth(images(4)))


def test_another_number_of_outputs_is_refused(tmp_path):
    with ledger_in(tmp_path) as ledger:
        ledger.ask(images(2), Asked())
        with pytest.raises(StageError, match="must give 2 outputs an image, as in all its earlier answers, got 3"):
            ledger.ask(images(2, 5), lambda pictures, key, encoding: np.zeros((2, 3), np.float32))
        assert not ledger.known(images(2, 5)).any()


def test_two_at_once_never_ask_for_the_same_image(tmp_path):
    lock, seen, results = threading.Lock(), [], {}

    def teacher(pictures, key, encoding):
        with lock:
            seen.extend(picture.tobytes() for picture in pictures)
        time.sleep(0.005)
        return truth(pictures)

    pictures = images(60)
    orders = {name: np.random.default_rng(name).permutation(60) for name in range(4)}

    def work(name):
        with ledger_in(tmp_path, max_calls=60) as ledger:
            results[name] = ledger.ask(pictures[orders[name]], teacher)

    workers = [threading.Thread(target=work, args=(name,)) for name in orders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(seen) == len(set(seen)) == 60
    for name, order in orders.items():
        np.testing.assert_array_equal(results[name], truth(pictures[order]))


def test_one_waits_for_another_who_lives_and_takes_over_when_it_ends(tmp_path):
    begun, free = threading.Event(), threading.Event()

    def slow(pictures, key, encoding):
        begun.set()
        free.wait(5)
        raise KeyboardInterrupt

    def first():
        with ledger_in(tmp_path) as ledger, pytest.raises(KeyboardInterrupt):
            ledger.ask(images(3), slow)

    other = threading.Thread(target=first)
    other.start()
    begun.wait(5)
    teacher, done = Asked(), []

    def second():
        with ledger_in(tmp_path) as ledger:
            done.append(ledger.ask(images(3), teacher))

    waiting = threading.Thread(target=second)
    waiting.start()
    time.sleep(0.2)
    assert not teacher.requests
    free.set()
    other.join()
    waiting.join()
    np.testing.assert_array_equal(done[0], truth(images(3)))
    assert len(teacher.requests) == 1


def test_nobody_to_ask_about_is_no_question(tmp_path):
    with ledger_in(tmp_path) as ledger:
        assert ledger.ask(images(0), Asked()).shape == (0, 0)


def test_it_is_durable_at_every_commit(tmp_path):
    with ledger_in(tmp_path) as ledger, ledger._connection() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = ledger_path(tmp_path, IDENTITY)
    path.write_bytes(b"this is no database, and it is long enough to be read as one" * 20)
    with pytest.raises(DataError, match=r"is damaged \(file is not a database\); put a copy"):
        ledger_in(tmp_path)


def test_a_flipped_bit_of_an_answer_is_noticed(tmp_path):
    with ledger_in(tmp_path) as ledger:
        ledger.ask(images(4), Asked())
        connection = sqlite3.connect(ledger.path)
        connection.execute("UPDATE answers SET outputs = ?", (np.zeros(2, np.float32).tobytes(),))
        connection.commit()
        connection.close()
        with pytest.raises(DataError, match="does not have its checksum"):
            ledger.ask(images(4), Asked())


def test_the_file_of_another_teacher_is_refused(tmp_path):
    ledger_in(tmp_path).close()
    other = {**IDENTITY, "version": "2"}
    ledger_path(tmp_path, IDENTITY).rename(ledger_path(tmp_path, other))
    with pytest.raises(DataError, match="must be of version 2 and of this teacher"):
        Ledger(tmp_path, other, stage="answers")


def test_a_locked_file_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("students.ledger_file.LOCK_SECONDS", 0.1)
    with ledger_in(tmp_path) as ledger:
        other = sqlite3.connect(ledger.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            with pytest.raises(StageError, match=r"is locked by another program for more than 0.1 s"):
                ledger.ask(images(1), Asked())
        finally:
            other.close()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"folder of ledgers .* cannot be made"):
        ledger_in(tmp_path / "file" / "ledger")


def test_no_file_has_no_calls(tmp_path):
    assert calls_by_stage(tmp_path / "none.sqlite") == {}


def test_closing_leaves_no_lock_file(tmp_path):
    with ledger_in(tmp_path) as ledger:
        ledger.ask(images(2), Asked())
        assert len(list(tmp_path.glob("*.alive"))) == 1
    assert not list(tmp_path.glob("*.alive"))
