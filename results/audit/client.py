"""Requests to an endpoint that is slow, busy, broken or hostile.

    with Client(Address.of("https://vendor.example/classify", key), Patience(), stop, note_failure) as client:
        reply = client.post(body)       # from any thread

Tried again: no connection, time-outs, statuses 408, 425, 429 and 5xx, and bodies that are no JSON. Waits
grow exponentially with full jitter (Brooker 2015, "Exponential Backoff And Jitter", AWS Architecture Blog),
and are never shorter than `Retry-After` says, which holds all threads back. Everything else ends the audit.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from harness.errors import DataError, UsageError
from results.audit.address import Address, bare
from results.audit.answers import shown
from results.audit.json_file import parse_json
from results.audit.pace import Pace, retry_after_s
from results.audit.text import decode

MAX_WAIT_S = 300.0
"""The longest wait that a server may ask for: a longer one ends the audit, until it is called again."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
_BUSY = {408, 425, 429}
_KEEPS_METHOD = {307, 308}
_MAX_REDIRECTS = 3
_PIECE = 2**16


@dataclass(frozen=True)
class Patience:
    """How long and how often a request is tried."""

    timeout_s: float
    """For connecting, and again for the whole answer."""

    retries: int
    rate_per_s: float | None
    """Requests per second, retries included; None: as fast as they are answered."""


@dataclass(frozen=True)
class Reply:
    """A reply that is JSON."""

    content: Any
    latency_s: float
    """From sending the request to the last byte of its answer; waiting and failed tries are not in it."""


class Stopped(Exception):  # noqa: N818  # not an error: another thread met one
    """The audit ends: this request is given up between two tries."""


class _Failure(Exception):  # noqa: N818  # one failed try, seen by nobody but `Client.post`
    def __init__(self, reason: str, words: str, wait_s: float | None = None) -> None:
        super().__init__(words)
        self.reason = reason
        self.wait_s = wait_s


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: requests reads and resolves a redirect without bounds even where it is not to follow it."""


class Client:
    """Posts to one endpoint from several threads."""

    def __init__(
        self,
        address: Address,
        patience: Patience,
        stop: threading.Event,
        on_failure: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            address: where to.
            patience: how long and how often.
            stop: set by anyone to give up between two tries.
            on_failure: is told the reason of every failed try.
        """
        self._address, self._patience, self._stop, self._on_failure = address, patience, stop, on_failure
        self._pace = Pace(patience.rate_per_s, stop)
        self._of_thread = threading.local()
        self._sessions: list[requests.Session] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for session in self._sessions:
            session.close()

    def post(self, body: bytes, max_reply_bytes: int) -> Reply:
        """Send `body` until it is answered with at most `max_reply_bytes`.

        Raises:
            Stopped: `stop` was set.
            UsageError: the server refuses the request.
            DataError: no try was answered, or an answer is too large.
        """
        for number in range(self._patience.retries + 1):
            if not self._pace.wait():
                raise Stopped
            try:
                return self._try(body, max_reply_bytes)
            except _Failure as failure:
                self._on_failure(failure.reason)
                last = failure
            if last.wait_s is not None:
                self._pace.hold(last.wait_s)
            if number < self._patience.retries:
                longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**number)
                self._stop.wait(random.uniform(0, longest))
        raise DataError(
            f"{self._address.shown}: no usable answer in {self._patience.retries + 1} tries; "
            f"the last one: {last}"
        )

    def _try(self, body: bytes, max_reply_bytes: int) -> Reply:
        began = time.monotonic()
        url = self._address.url
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                with self._send(url, body) as response:
                    if not response.is_redirect and response.status_code not in _KEEPS_METHOD:
                        text = self._read(response, began + self._patience.timeout_s, max_reply_bytes)
                        latency_s = time.monotonic() - began
                        return Reply(self._json(response, text), latency_s)
                    url = self._redirected(response, url)
        except requests.exceptions.SSLError as error:
            raise UsageError(f"{self._address.shown}: no secure connection: {self._shown(error)}") from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            raise self._too_slow() from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _Failure("no connection", f"the connection failed: {self._shown(error)}") from None
        raise UsageError(f"{self._address.shown}: redirects more than {_MAX_REDIRECTS} times")

    def _send(self, url: str, body: bytes) -> requests.Response:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        timeout_s = self._patience.timeout_s
        return self._session().post(
            url, data=body, headers=headers, timeout=timeout_s, stream=True, allow_redirects=False
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = _Session()
            # A proxy would be given the key and the images, and no request to this machine needs one.
            session.trust_env = not self._address.is_local
            session.auth = self._authorize  # even without a key: otherwise requests looks into ~/.netrc
            self._sessions.append(session)
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._address.key is not None:
            request.headers["Authorization"] = f"Bearer {self._address.key}"
        return request

    def _redirected(self, response: requests.Response, url: str) -> str:
        """Where a redirect leads, if the request and its key may go there."""
        location = response.headers.get("Location", "")
        try:
            target = urljoin(url, location)
            stays = _origin(target) == _origin(url)
        except ValueError:
            raise UsageError(
                f"{self._address.shown}: redirects to {self._shown(bare(location))}, which is no address"
            ) from None
        if response.status_code not in _KEEPS_METHOD:
            raise UsageError(
                f"{self._address.shown}: redirects with status {response.status_code}, which drops the "
                f"images: name the right address, perhaps {self._shown(bare(target))}"
            )
        if not stays:
            raise UsageError(
                f"{self._address.shown}: redirects to another server, which gets neither images nor key: "
                f"if {self._shown(bare(target))} is right, name it"
            )
        return target

    def _read(self, response: requests.Response, deadline: float, max_bytes: int) -> bytes:
        """The body, as long as it is small and in time."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DataError(f"{self._address.shown}: answers compressed, though asked not to")
        pieces, left = [], max_bytes
        # Returns what is there, so that a server that drips cannot stay below every time-out.
        while piece := response.raw.read1(_PIECE):
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise DataError(f"{self._address.shown}: answers more than {max_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise self._too_slow()
        return b"".join(pieces)

    def _json(self, response: requests.Response, body: bytes) -> Any:
        status = response.status_code
        says = f"status {status}: {self._shown(body.decode('utf-8', 'replace'))}"
        if status in _BUSY or status >= 500:
            wait_s = retry_after_s(response.headers.get("Retry-After"))
            if wait_s is not None and wait_s > MAX_WAIT_S:
                raise DataError(
                    f"{self._address.shown}: asks to wait {wait_s:,.0f} s ({says}): "
                    "call the same command again then"
                )
            raise _Failure(f"status {status}", says, wait_s)
        if status != 200:
            hint = ": check the key that --key-env names" if status in (401, 403) else ""
            raise UsageError(f"{self._address.shown}: refuses the request with {says}{hint}")
        try:
            text = self._address.hide_key(decode(body, self._address.shown))
            return parse_json(text, self._address.shown)
        except DataError:
            raise _Failure("no JSON", f"no JSON, but {says}") from None

    def _shown(self, text: object) -> str:
        """Text of others in quotes; secrets go first, as a shortened one would not be found any more."""
        return shown(self._address.hide_secrets(str(text)))

    def _too_slow(self) -> _Failure:
        return _Failure("time-out", f"no whole answer within {self._patience.timeout_s:g} s (--timeout)")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
