"""A teacher behind an HTTP address: requests are repeated until they are answered, and answers are checked."""

from __future__ import annotations

import datetime
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, StageError
from students.ledger import RefusedError
from students.teachers.deadline import Deadline
from students.teachers.environment import open_client
from students.teachers.wire import CONTENT_TYPES, AnswerError, decode, encode, largest_answer

if TYPE_CHECKING:
    import httpx

#: Statuses after which the same request is sent again: it came too early, too often, or the server failed.
_AGAIN = frozenset({408, 409, 425, 429})
#: Statuses that are about the address or the sender, not about this request: mended, it may yet be answered.
_ABOUT_THE_SENDER = frozenset({401, 402, 403, 404, 405, 407, 451})
#: Longest wait between two tries, also where the server asks for more.
_LONGEST_WAIT_SECONDS = 300.0
_LONGEST_BACKOFF_SECONDS = 60.0


class _TryAgainError(Exception):
    """A failure that another try may mend.

    Args:
        words: what happened.
        wait_seconds: how long the server asks to wait; None where it does not.
    """

    def __init__(self, words: str, wait_seconds: float | None = None) -> None:
        super().__init__(words)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Endpoint:
    """Where a teacher answers, and how it is asked.

    Args:
        url: takes POST requests.
        encoding: "npz" or "json".
        timeout_seconds: longest wait for a whole answer.
        attempts: tries of a request.
        backoff_seconds: wait after the first failure, which doubles each time.
        requests_per_second: most requests a second; 0 for no limit.
        token_variable: environment variable that holds the bearer token, if it wants one.
    """

    url: str
    encoding: str = "npz"
    timeout_seconds: float = 30.0
    attempts: int = 5
    backoff_seconds: float = 1.0
    requests_per_second: float = 0.0
    token_variable: str | None = None

    def token(self) -> str | None:
        """The bearer token.

        Raises:
            ConfigError: if its variable is not set, or holds what no header can.
        """
        if self.token_variable is None:
            return None
        token = os.environ.get(self.token_variable, "").strip()
        if not token or not token.isascii() or not token.isprintable():
            raise ConfigError(
                f"teacher.token_variable: the environment variable {self.token_variable} must hold the token, got "
                f"{'characters that no header can hold' if token else 'nothing'}; set it before the run."
            )
        return token


class _Pace:
    """When the next request to an address may start; one for all clients of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_start = 0.0

    def keep(self, rate: float) -> None:
        """Waits for the turn of a request; ``rate`` requests a second."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + 1.0 / rate
        time.sleep(start - now)


_PACES: dict[str, _Pace] = {}


class HttpClient:
    """Sends images to an endpoint.

    Redirects are not followed, as the token is for this address alone. Proxies and certificates are those that the
    environment names (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).

    Args:
        endpoint: where, and how.
        rng: for the jitter of waits; they decide no result.

    Raises:
        ConfigError: if the token is not there, or the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, endpoint: Endpoint, rng: Callable[[], float] | None = None) -> None:
        import random

        self.endpoint = endpoint
        self._token = endpoint.token()
        self._random = rng or random.Random().random
        self._pace = _PACES.setdefault(endpoint.url, _Pace())
        self._client = open_client(endpoint.url, endpoint.timeout_seconds)
        self._deadline = Deadline()

    def close(self) -> None:
        """Closes its connection."""
        self._client.close()
        self._deadline.close()

    def __call__(self, images: npt.NDArray[np.uint8], key: str, encoding: str = "") -> npt.NDArray[np.float32]:
        """Outputs for images; the request is repeated as ``Endpoint`` says.

        Args:
            images: uint8 (n, C, H, W).
            key: sent as ``Idempotency-Key``: equal for equal requests.
            encoding: "npz" or "json"; empty: that of the endpoint.

        Returns:
            float32 (n, R), finite.

        Raises:
            RefusedError: if the server turns the request down.
            StageError: if no try was answered, or the answer is none.
        """
        import tenacity

        encoding = encoding or self.endpoint.encoding
        body, tries = encode(images, encoding), self.endpoint.attempts
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(tries),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(_TryAgainError),
            reraise=True,
        )
        try:
            answer: bytes = retrying(self._post, body, key, encoding, len(images))
        except _TryAgainError as error:
            raise StageError(
                f"teacher {self.endpoint.url} did not answer in {tries} {'try' if tries == 1 else 'tries'}, the last "
                f"time {error}; run again when it does, all answers so far are in the ledger."
            ) from None
        except RefusedError as error:
            if retrying.statistics["attempt_number"] == 1:
                raise
            # An earlier try may have been paid for, so its key must not be forgotten.
            raise StageError(f"{error}") from None
        try:
            return decode(answer, encoding, len(images))
        except AnswerError as error:
            raise StageError(
                f"teacher {self.endpoint.url}: {self._clean(str(error))}; mend the server, nothing of this answer was "
                "kept."
            ) from None

    def _post(self, body: bytes, key: str, encoding: str, images: int) -> bytes:
        import httpx

        if self.endpoint.requests_per_second:
            self._pace.keep(self.endpoint.requests_per_second)
        kind = CONTENT_TYPES[encoding]
        # Nothing packed: a few bytes could become any number of them.
        headers = {"Content-Type": kind, "Accept": kind, "Accept-Encoding": "identity", "Idempotency-Key": key}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        late = f"without a whole answer in {self.endpoint.timeout_seconds:g} s (teacher.timeout_seconds)"
        with self._deadline.of(self.endpoint.timeout_seconds) as watch:
            try:
                with self._client.stream(
                    "POST", self.endpoint.url, content=body, headers=headers, extensions={"trace": watch.trace}
                ) as response:
                    return self._read(response, largest_answer(images))
            except httpx.TimeoutException:
                raise _TryAgainError(late) from None
            except httpx.TransportError as error:
                if watch.passed:
                    raise _TryAgainError(late) from None
                raise _TryAgainError(f"failing with {type(error).__name__}: {self._clean(str(error))}") from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise StageError(f"teacher {self.endpoint.url} cannot be read ({type(error).__name__}).") from None

    def _read(self, response: httpx.Response, most: int) -> bytes:
        """The body of a good answer; what came of a bad one is said in its first line."""
        status = response.status_code
        good = 200 <= status < 300
        packing = response.headers.get("Content-Encoding", "identity").strip().lower()
        if good and packing != "identity":
            raise StageError(
                f"teacher {self.endpoint.url}: an answer must have no Content-Encoding, as Accept-Encoding says, got "
                f"{self._clean(packing)}; mend the server, nothing of this answer was kept."
            )
        body = bytearray()
        for block in response.iter_raw():
            body += block
            if not good and len(body) > 4096:
                break
            if len(body) > most:
                raise StageError(
                    f"teacher {self.endpoint.url}: an answer must have at most {most} bytes, got more; mend the "
                    "server, nothing of this answer was kept."
                )
        if good:
            return bytes(body)
        said = f"status {status} ({self._first_line(body)})"
        if status in _AGAIN or status >= 500:
            raise _TryAgainError(f"answering with {said}", _retry_after(response.headers.get("Retry-After")))
        if 300 <= status < 400:
            target = self._clean(response.headers.get("Location", "nowhere"))
            raise RefusedError(
                f"teacher {self.endpoint.url} redirects to {target}; redirects are not followed, as the token is for "
                "one address: if you trust it, make it teacher.url."
            )
        raise RefusedError(
            f"teacher {self.endpoint.url} refuses the request with {said}; mend what it names and run again.",
            final=status not in _ABOUT_THE_SENDER,
        )

    def _wait(self, state: Any) -> float:
        """Seconds before the next try: what the server asked for, or doubling ones, of which a random half is left."""
        error = state.outcome.exception()
        doubled = min(self.endpoint.backoff_seconds * 2.0 ** (state.attempt_number - 1), _LONGEST_BACKOFF_SECONDS)
        wait = doubled * (0.5 + 0.5 * self._random())
        if isinstance(error, _TryAgainError) and error.wait_seconds is not None:
            # A little more than was asked for, so that many clients do not come back at one moment.
            wait = min(error.wait_seconds + 0.1 * wait, _LONGEST_WAIT_SECONDS)
        return float(wait)

    def _first_line(self, body: bytes | bytearray) -> str:
        lines = bytes(body[:4096]).decode("utf-8", "replace").strip().splitlines()
        return self._clean(lines[0]) if lines else "no words"

    def _clean(self, text: str) -> str:
        """What a server said, without control characters, at most 200 characters, and never with the token."""
        if self._token is not None:
            text = text.replace(self._token, "[token]")
        return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header)) if header.strip().isdecimal() else _until(parsedate_to_datetime(header))
    except (ValueError, TypeError, OverflowError):
        return None


def _until(moment: datetime.datetime) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
