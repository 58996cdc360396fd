"""Posting until there is an answer: what a well-behaved gateway does."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable

TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
FIRST_PAUSE = 0.5  # seconds; doubled with each try
LONGEST_PAUSE = 15.0
TIMEOUT = urllib3.Timeout(connect=5, read=60)
# What an answer's Retry-After, in seconds or as a date, is read with.
_RETRY = urllib3.Retry()


_NAME_IT = "where the API listens elsewhere, name it as in --url http://127.0.0.1:8001"


class SendingFailed(Exception):
    """The API can't be reached, or takes nothing from this client."""


class NotAllowed(SendingFailed):
    """The key may not do this; it may do other things."""


@dataclass(frozen=True)
class Reply:
    """What the API answered, and after how many requests that it did not answer."""

    status: int
    body: Any
    retries: int


class Client:
    """Posts JSON, from any thread, each with a connection of its own that is kept open."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        connections: int = 1,
        patience: float,
        say: Callable[[str], None],
    ) -> None:
        """Prepare to post; nothing is sent.

        Args:
            url: The API's address, without a path.
            api_key: Sent as a bearer token, if there is one.
            connections: How many threads may post at once.
            patience: Seconds for which a request is tried.
            say: Called with a message when requests begin to fail.
        """
        self.url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", "User-Agent": "fleetwatt-simulate"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._pool = urllib3.PoolManager(maxsize=connections)
        self._patience = patience
        self._say = say
        # Written without a lock: the worst that a race costs is a line said twice.
        self._failing = False
        self._stopped = threading.Event()

    def post(self, path: str, content: Any) -> Reply:
        """Post, and again when there is no answer, until there is one.

        Raises:
            SendingFailed: There was none for too long, or the answer is that this client may not.
        """
        return self._answered("POST", path, msgspec.json.encode(content))

    def get(self, path: str) -> Reply:
        """Ask as `post` does."""
        return self._answered("GET", path, None)

    def _answered(self, method: str, path: str, body: bytes | None) -> Reply:
        deadline = time.monotonic() + self._patience
        retries = 0
        while True:
            trouble, answer, pause = self._try(method, path, body, retries)
            if answer:
                self._failing = False
                return answer
            # Chance keeps clients that failed together from coming back together.
            pause *= random.uniform(1, 1.25)  # noqa: S311 - no secret
            if time.monotonic() + pause > deadline:
                raise SendingFailed(f"{trouble}; gave up after {self._patience:g} s")
            if not self._failing:
                self._failing = True
                self._say(f"{trouble}; trying again for up to {self._patience:g} s …")
            if self._stopped.wait(pause):
                raise SendingFailed(f"{trouble}; not retried, since this stops")
            retries += 1

    def stop(self) -> None:
        """Let requests that are being retried fail now."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _try(
        self, method: str, path: str, body: bytes | None, retries: int
    ) -> tuple[str, Reply | None, float]:
        """Ask once; return the trouble or the answer, and how long to wait for another try."""
        pause = min(FIRST_PAUSE * 2**retries, LONGEST_PAUSE)
        try:
            response = self._pool.request(
                method,
                self.url + path,
                body=body,
                headers=self._headers,
                timeout=TIMEOUT,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return f"{self.url} does not answer ({error}; {_NAME_IT})", None, pause
        said = f"{self.url}{path} answers {response.status}"
        if response.status in TRY_AGAIN:
            return f"{said} ({_detail(response)})", None, _RETRY.get_retry_after(response) or pause
        if response.status in {200, 201, 207, 409, 422}:
            try:
                return "", Reply(response.status, msgspec.json.decode(response.data), retries), 0
            except msgspec.DecodeError:
                raise SendingFailed(
                    f"{said} with something that isn't JSON, as fleetwatt never does: {_NAME_IT}"
                ) from None
        refused = NotAllowed if response.status == 403 else SendingFailed
        foreign = "" if _is_problem(response) else f"; that is no answer of fleetwatt's: {_NAME_IT}"
        raise refused(f"{said}: {_detail(response)}{foreign}")


def _is_problem(response: urllib3.BaseHTTPResponse) -> bool:
    return response.headers.get("Content-Type", "").startswith("application/problem+json")


def _detail(response: urllib3.BaseHTTPResponse) -> str:
    """Return what a problem says, or how what isn't one begins."""
    try:
        problem = msgspec.json.decode(response.data)
        return str(problem.get("detail") or problem["title"])
    except (msgspec.DecodeError, KeyError, AttributeError):
        return response.data[:100].decode(errors="replace") or str(response.reason)
