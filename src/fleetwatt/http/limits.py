"""How many requests a key or an address may send (why not Flask-Limiter's hook: decision 0018)."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Any

from limits import parse
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from fleetwatt.http.problems import RateLimited

if TYPE_CHECKING:
    from limits import RateLimitItem

    from fleetwatt.config import Config

log = logging.getLogger(__name__)

SWEPT_FROM = 10_000  # counts; fewer are not swept of those that have ended
RETRY_STORAGE = 10.0  # seconds for which a storage that failed is left alone
STORAGE_TIMEOUT = 0.5  # seconds


class ProcessMemory(Storage):
    """The counts of one process.

    limits has such a storage, but it starts a thread up to a hundred times a second, which looks at
    every count. A fleet has ten thousand keys. `_lock` guards both attributes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[float, int]] = {}
        self._sweep_at = SWEPT_FROM

    @property
    def base_exceptions(self) -> type[Exception]:
        """Nothing can go wrong with a dictionary."""
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, from 0 where a window has ended, and return the count."""
        now = time.time()
        with self._lock:
            end, count = self._counts.get(key, (0.0, 0))
            if end <= now:
                end, count = now + expiry, 0
                self._sweep(now)
            self._counts[key] = end, count + amount
        return count + amount

    def _sweep(self, now: float) -> None:
        if len(self._counts) >= self._sweep_at:
            self._counts = {key: window for key, window in self._counts.items() if window[0] > now}
            self._sweep_at = max(SWEPT_FROM, 2 * len(self._counts))

    def get(self, key: str) -> int:
        """Return the count of a window that has not ended, or 0."""
        end, count = self._counts.get(key, (0.0, 0))
        return count if end > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """Return when the window ends."""
        return self._counts.get(key, (time.time(), 0))[0]

    def check(self) -> bool:
        """Say that it works."""
        return True

    def reset(self) -> int:
        """Forget all counts."""
        with self._lock:
            forgotten, self._counts = len(self._counts), {}
        return forgotten

    def clear(self, key: str) -> None:
        """Forget one count."""
        with self._lock:
            self._counts.pop(key, None)


class Limits:
    """The limits of an app, counted in Redis if there is one, and in the process while it is away.

    Without Redis each process counts for itself, and takes in as much as a limit says.
    """

    def __init__(self, config: Config) -> None:
        rates = {
            "key": config.key_limit,
            "address": config.address_limit,
            "failure": config.failure_limit,
            "guess": config.failure_limit,
        }
        self._limits = {name: parse(rate) for name, rate in rates.items() if rate}
        self._own = FixedWindowRateLimiter(ProcessMemory())
        self._shared = _shared(config.limits_storage)
        # Written and read without a lock: the worst that a race costs is one more try.
        self._retry_at = 0.0

    def count(self, name: str, who: str) -> None:
        """Count a request against a limit.

        Raises:
            RateLimited: It is one too many.
        """
        limit = self._limits.get(name)
        if limit and not self._ask("hit", limit, name, who):
            raise self._refusal(limit, name, who)

    def check(self, name: str, who: str) -> None:
        """Make sure that one more request would not be too many, and count nothing.

        Raises:
            RateLimited: It would.
        """
        limit = self._limits.get(name)
        if limit and not self._ask("test", limit, name, who):
            raise self._refusal(limit, name, who)

    def _refusal(self, limit: RateLimitItem, name: str, who: str) -> RateLimited:
        end, _ = self._ask("get_window_stats", limit, name, who)
        return RateLimited(
            f"{who} is past the {name} limit of {limit.amount} requests a {limit.GRANULARITY.name}",
            max(1, math.ceil(end - time.time())),
        )

    def _ask(self, method: str, limit: RateLimitItem, name: str, who: str) -> Any:
        if self._shared and time.monotonic() >= self._retry_at:
            try:
                return getattr(self._shared, method)(limit, name, who)
            except StorageError as error:
                self._retry_at = time.monotonic() + RETRY_STORAGE
                log.warning("limits are counted by process, their storage is away: %s", error)
        return getattr(self._own, method)(limit, name, who)


def _shared(url: str) -> FixedWindowRateLimiter | None:
    if not url:
        return None
    patience = {"socket_timeout": STORAGE_TIMEOUT, "socket_connect_timeout": STORAGE_TIMEOUT}
    storage = storage_from_string(url, wrap_exceptions=True, **patience)
    return FixedWindowRateLimiter(storage)
