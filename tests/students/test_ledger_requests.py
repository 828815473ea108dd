"""Requests that were left unanswered: they hold up nobody else, can be given up, and are sent again as they were."""

import shutil
import sqlite3
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

import students.ledger
from data.errors import StageError
from students.ledger import Ledger, RefusedError, image_digests, ledger_path

IDENTITY = {"kind": "http", "url": "http://x", "version": "1"}


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 3, 4), np.uint8)


def truth(pictures):
    return np.stack([[float(picture.sum()), float(picture[0, 0, 0])] for picture in pictures]).astype(np.float32)


class Asked:
    """A teacher that remembers every request, and answers up to ``most`` images of one."""

    def __init__(self, most=100, refused=None):
        self.requests = []
        self.most = most
        self.refused = refused or StageError("503: too many images.")

    def __call__(self, pictures, key, encoding):
        self.requests.append((key, encoding, pictures.tobytes()))
        if len(pictures) > self.most:
            raise self.refused
        return truth(pictures)


def ledger_in(folder, **settings):
    return Ledger(
        folder,
        IDENTITY,
        **{"stage": "answers", "artifact": "a", "request_images": 4, "encoding": "npz", **settings},
    )


@pytest.fixture
def left_behind(tmp_path):
    """A request for images 0 to 7 that no server answers as it is."""
    with ledger_in(tmp_path, request_images=8) as ledger, pytest.raises(StageError, match="503"):
        ledger.ask(images(12), Asked(4))
    return tmp_path


def test_a_request_that_fails_again_lets_the_other_images_through(left_behind):
    teacher = Asked(4)
    with ledger_in(left_behind) as ledger:
        with pytest.raises(
            StageError,
            match=r"a request for 8 images that was left unanswered before still fails: 503.*"
            r"teacher.give_up_unanswered: true .* at most 4 a request",
        ):
            ledger.ask(images(12), teacher)
        assert ledger.known(images(12)).tolist() == [False] * 8 + [True] * 4
        assert ledger.spent() == (4, 8)
    assert len(teacher.requests) == 2


def test_who_does_not_need_it_is_told_once_and_goes_on(left_behind):
    teacher, told = Asked(4), []
    with ledger_in(left_behind, warn=told.append) as ledger:
        for seed in (1, 2):
            np.testing.assert_array_equal(ledger.ask(images(3, seed), teacher), truth(images(3, seed)))
    assert len(told) == 1
    assert "a request for 8 images" in told[0]
    assert len(teacher.requests) == 3


def test_giving_up_counts_its_images_and_asks_anew_under_other_keys(left_behind):
    teacher, told = Asked(4), []
    with ledger_in(left_behind, request_images=8) as ledger, pytest.raises(StageError):
        ledger.ask(images(8), teacher)
    old = teacher.requests.pop()[0]
    with ledger_in(left_behind, give_up_unanswered=True, max_calls=16, warn=told.append) as ledger:
        np.testing.assert_array_equal(ledger.ask(images(8), teacher), truth(images(8)))
        assert ledger.spent() == (16, 0)
    assert len(teacher.requests) == 2
    assert "a request for 8 images that was left unanswered before is given up" in told[0]
    # The very same images in one request have another key than the one that was given up.
    shutil.rmtree(left_behind)
    with ledger_in(left_behind, request_images=8) as ledger, pytest.raises(StageError):
        ledger.ask(images(8), Asked(4))
    able = Asked()
    with ledger_in(left_behind, request_images=8, give_up_unanswered=True) as ledger:
        ledger.ask(images(8), able)
    assert len(able.requests) == 1
    assert able.requests[0][0] != old


def test_what_is_given_up_is_paid_for_out_of_the_budget(left_behind):
    teacher = Asked(4)
    with ledger_in(left_behind, give_up_unanswered=True, max_calls=15) as ledger:
        assert len(ledger.unspent(image_digests(images(8)))) == 8
        with pytest.raises(StageError, match="must allow 8 more images, but of 15 8 are spent and 7 are left"):
            ledger.ask(images(8), teacher)
    assert not teacher.requests


def test_what_somebody_is_asking_for_is_not_given_up(left_behind, tmp_path):
    with ledger_in(tmp_path / "other") as busy:
        connection = sqlite3.connect(busy.path, isolation_level=None)
        digests = image_digests(images(4, seed=1))
        request = students.ledger.Request("k", "answers", "a", "npz", digests, images(4, seed=1))
        request.keep(connection, busy._owner.name)
        connection.close()
        with ledger_in(tmp_path / "other", give_up_unanswered=True, max_calls=4) as waiting:
            assert waiting.unspent(digests) == []
    with ledger_in(tmp_path / "other", give_up_unanswered=True, max_calls=4) as later:
        assert later.unspent(digests) == digests


def test_a_request_that_is_refused_for_good_is_given_up(left_behind):
    teacher, told = Asked(4, RefusedError("422: no such key.", final=True)), []
    with ledger_in(left_behind, warn=told.append) as ledger:
        np.testing.assert_array_equal(ledger.ask(images(12), teacher), truth(images(12)))
        assert ledger.spent() == (20, 0)
    assert [len(data) // 12 for _, _, data in teacher.requests] == [8, 4, 4, 4]
    assert "422: no such key" in told[0]


def test_a_refused_token_gives_nothing_up(left_behind):
    teacher = Asked(4, RefusedError("401: who are you?"))
    with ledger_in(left_behind) as ledger:
        with pytest.raises(StageError, match="401"):
            ledger.ask(images(8), teacher)
        assert ledger.spent() == (0, 8)


def test_a_request_is_sent_again_in_its_own_encoding(left_behind):
    teacher = Asked()
    with ledger_in(left_behind, encoding="json") as ledger:
        ledger.ask(images(12), teacher)
    assert [encoding for _, encoding, _ in teacher.requests] == ["npz", "json"]


def test_images_are_known_before_anything_is_made_of_them(tmp_path):
    """What a resize gives differs in the last bit between machines; that must not be paid for."""
    teacher = Asked()
    with ledger_in(tmp_path) as ledger:
        first = ledger.ask(images(4), teacher, variant="1x3x4", prepare=lambda pictures: pictures // 2)
        again = ledger.ask(images(4), teacher, variant="1x3x4", prepare=lambda pictures: pictures // 2 + 1)
        assert len(teacher.requests) == 1
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, truth(images(4) // 2))
        assert ledger.known(images(4), "1x3x4").all()
        assert not ledger.known(images(4)).any()
        ledger.ask(images(4), teacher)
    assert len({key for key, _, _ in teacher.requests}) == 2


def test_what_was_made_of_images_is_sent_again_as_it_was(tmp_path):
    teacher = Asked(0)
    with ledger_in(tmp_path) as ledger, pytest.raises(StageError):
        ledger.ask(images(4), teacher, variant="half", prepare=lambda pictures: pictures // 2)
    teacher.most = 4
    with ledger_in(tmp_path) as ledger:
        ledger.ask(images(4), teacher, variant="half", prepare=lambda pictures: pictures // 2 + 1)
    assert teacher.requests[0] == teacher.requests[1]


def test_a_request_that_could_not_be_handed_back_is_taken_back(tmp_path, monkeypatch):
    real, full = students.ledger.transaction, threading.Event()

    @contextmanager
    def transaction(connection):
        if full.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        with real(connection):
            yield

    def fills(pictures, key, encoding):
        full.set()
        return truth(pictures)

    monkeypatch.setattr(students.ledger, "transaction", transaction)
    teacher, done = Asked(), []
    with ledger_in(tmp_path) as ledger:
        with pytest.raises(StageError, match="the disk is full"):
            ledger.ask(images(4), fills)
        full.clear()
        again = threading.Thread(target=lambda: done.append(ledger.ask(images(4), teacher)), daemon=True)
        again.start()
        again.join(5)
        assert done, "it waits for itself"
    np.testing.assert_array_equal(done[0], truth(images(4)))


def test_two_users_of_one_budget_are_told_what_was_not_asked_for(tmp_path):
    said, barrier = [], threading.Barrier(2)

    def slow(pictures, key, encoding):
        time.sleep(0.01)
        return truth(pictures)

    def work(seed):
        with ledger_in(tmp_path, max_calls=30) as ledger:
            barrier.wait(5)
            try:
                ledger.ask(images(28, seed), slow)
            except StageError as error:
                said.append((str(error), int((~ledger.known(images(28, seed))).sum())))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert said
    for words, unknown in said:
        assert f"none of these {unknown} was asked for" in words
        assert "nothing was asked for" not in words


def test_a_closed_ledger_is_one_whole_file(tmp_path):
    with ledger_in(tmp_path) as ledger:
        path = ledger.path
        # Another user, whose open connection keeps SQLite from doing it by itself.
        other = sqlite3.connect(path)
        assert other.execute("SELECT COUNT(*) FROM answers").fetchone() == (0,)
        ledger.ask(images(4), Asked())
    shutil.copy(path, tmp_path / "copy.sqlite")
    copy = sqlite3.connect(tmp_path / "copy.sqlite")
    assert copy.execute("SELECT COUNT(*) FROM answers").fetchone() == (4,)
    copy.close()
    other.close()
    assert path == ledger_path(tmp_path, IDENTITY)
