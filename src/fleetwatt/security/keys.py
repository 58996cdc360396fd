"""API keys: how one is made, what is kept of it, and whether a given one is valid.

A key reads `fw_` and 12 hexadecimal digits, the prefix, by which it is found and spoken of; then
`_` and the secret, 256 random bits. The database has the SHA-256 of the whole, nothing more.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

INGEST, READ, ADMIN = SCOPES = ("ingest", "read", "admin")
KEPT = 5.0  # seconds for which a process doesn't ask whether a key has changed
_FORMAT = re.compile(r"(fw_[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True)
class ApiKey:
    """What is known of an API key.

    Attributes:
        scopes: What it may do; admin implies the others.
        devices: The only ones that it may write for; None: all.
    """

    prefix: str
    hash: bytes
    name: str
    scopes: frozenset[str]
    devices: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def from_row(cls, row: Row) -> ApiKey:
        """Build it from a row of api_keys."""
        scopes, devices = row["scopes"], row["devices"]
        return cls(
            **row
            | {
                "hash": bytes(row["hash"]),
                "scopes": frozenset(SCOPES if ADMIN in scopes else scopes),
                "devices": None if devices is None else frozenset(devices),
            }
        )

    def refusal(self, now: datetime) -> str | None:
        """Return why it isn't valid any more, or None."""
        if self.revoked_at and self.revoked_at <= now:
            return "was revoked"
        if self.expires_at and self.expires_at <= now:
            return "has expired"
        return None


def generate() -> tuple[str, str, bytes]:
    """Make a key: its prefix, the whole that its owner gets, and the hash that is kept."""
    prefix = f"fw_{secrets.token_hex(6)}"
    whole = f"{prefix}_{secrets.token_urlsafe(32)}"
    return prefix, whole, digest(whole)


def digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def prefix_of(key: str) -> str | None:
    """Return a key's prefix, or None for what can't be a key."""
    match = _FORMAT.fullmatch(key)
    return match[1] if match else None


class Keyring:
    """The keys of a database, remembered by a process.

    Every `KEPT` seconds the keyring asks the database whether any key has changed, and if so
    forgets all of them. So every process heeds a revocation within that time. Where the database
    does not answer, the caller gets its error.

    Threads share `_known` and `_asked` without a lock: a race costs one more look at worst. A row
    that was read before a change can't outlive it, since it goes into the dictionary that was
    current before the reading.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, ApiKey] = {}
        self._version: int | None = None
        self._asked = -KEPT

    def known(self, key: str, prefix: str) -> ApiKey | None:
        """Return a key that this process has seen before, or None."""
        self._forget_if_changed()
        return self.remembered(key, prefix)

    def remembered(self, key: str, prefix: str) -> ApiKey | None:
        """Return a key that was valid when this process saw it, without asking the database."""
        found = self._known.get(prefix)
        return found if found and _fits(found, key) else None

    def looked_up(self, key: str, prefix: str) -> ApiKey | None:
        """Return a key from the database, valid or not, or None if there is none."""
        known = self._known
        row = self._database.query_one("key", prefix=prefix)
        if row is None:
            return None
        found = ApiKey.from_row(row)
        if not _fits(found, key):
            return None
        known[prefix] = found
        return found

    def _forget_if_changed(self) -> None:
        now = monotonic()
        if now - self._asked < KEPT:
            return
        row = self._database.query_one("keys_version")
        version = row["version"] if row else None
        if version != self._version:
            self._known, self._version = {}, version
        self._asked = now


def _fits(found: ApiKey, key: str) -> bool:
    return hmac.compare_digest(found.hash, digest(key))
