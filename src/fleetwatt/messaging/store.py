"""From messages to commits: the same decoder and the same write as of HTTP's requests."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from fleetwatt.database.errors import Busy, DatabaseError, StatementFailed, Unavailable
from fleetwatt.faults import Fault, Faults
from fleetwatt.ingestion import outcome
from fleetwatt.ingestion.decode import Bounds, Parsed, parse_json
from fleetwatt.ingestion.split import NoReading, NotJson, TooManyReadings
from fleetwatt.messaging.adapters import Unreadable
from fleetwatt.messaging.subjects import Ignored, Source, source_of
from fleetwatt.observability import metrics
from fleetwatt.streams import MAX_AHEAD, STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetwatt.database.client import Database
    from fleetwatt.database.shared_transaction import WriteResult
    from fleetwatt.streams import Stream

log = logging.getLogger(__name__)

# Bytes of a message's payload. What NATS may carry is a bit more: headers go with a dead letter.
MAX_BYTES = 8_000_000
# A client's word that fields which a stream does not have are to be ignored.
UNKNOWN_FIELDS = "Fleetwatt-Unknown-Fields"
# When a message was received first that is published again, in RFC 3339.
RECEIVED = "Fleetwatt-Received"
NOT_EXPECTED = "No readings are expected under this subject."
OTHER_DEVICE = "Not the id that the topic names."
OUR_FAULT = "fleetwatt failed at this message; the consumer's log says why."
TOO_LARGE = f"A message holds up to {MAX_BYTES:,} bytes."


@dataclass(frozen=True)
class Message:
    """A message, in whatever way it came.

    Attributes:
        received: When NATS took it.
    """

    subject: str
    payload: bytes
    received: datetime
    headers: Mapping[str, str] = field(default_factory=dict)


class Store:
    """Stores the readings of messages."""

    def __init__(self, database: Database, *, ignore_unknown: bool = False) -> None:
        """Describe a store.

        Args:
            database: Where to.
            ignore_unknown: Whether fields that a stream does not have are ignored by default.
        """
        self._database = database
        self._ignore_unknown = ignore_unknown

    def store(self, messages: Sequence[Message]) -> list[Faults | DatabaseError]:
        """Store the valid readings of messages, and return after the commit.

        Returns:
            Of each message what is wrong with its readings, nothing where all are stored; or the
            error for which nothing of it may be stored yet: a StatementFailed, which is about this
            message alone, or one that says that the database is away or busy.
        """
        try:
            oldest = {stream: self._database.oldest_accepted(stream) for stream in STREAMS}
        except DatabaseError as error:
            return [error] * len(messages)
        parsed = [self._parsed(message, oldest) for message in messages]
        valid = [found for found in parsed if isinstance(found, Parsed) and found.valid]
        written = iter(self._database.write_each([found.rows for found in valid]))
        return [
            _outcome(found, next(written))
            if isinstance(found, Parsed) and found.valid
            else found.faults
            if isinstance(found, Parsed)
            else found
            for found in parsed
        ]

    def _parsed(self, message: Message, oldest: Mapping[Stream, datetime]) -> Parsed | Faults:
        source = source_of(message.subject)
        if isinstance(source, Ignored):
            return Faults()
        if source is None or len(message.payload) > MAX_BYTES:
            return _all_of_it(TOO_LARGE if source else NOT_EXPECTED)
        try:
            bounds = self._bounds(source, message, oldest)
            payload = _adapted(source, message)
            parsed = parse_json(payload, source.streams, bounds) if payload else None
        except (Unreadable, NotJson, NoReading, TooManyReadings) as error:
            metrics.rejected([None], source.streams)
            return _all_of_it(str(error) or str(type(error).__doc__))
        except Exception:
            # Whatever a message holds, it must not keep others from being stored.
            log.exception("a message under %s could not be read", message.subject)
            return _all_of_it(OUR_FAULT)
        if parsed is None:
            return Faults()
        if parsed.rejected:
            metrics.rejected(parsed.fields_at_fault, source.streams)
        return parsed

    def _bounds(
        self, source: Source, message: Message, oldest: Mapping[Stream, datetime]
    ) -> Bounds:
        device = source.device
        only = None if device is None else dict.fromkeys(source.streams, frozenset({device}))
        asked = message.headers.get(UNKNOWN_FIELDS)
        return Bounds(
            datetime.now(UTC) + MAX_AHEAD,
            oldest,
            only,
            why_not=OTHER_DEVICE,
            ignore_unknown=self._ignore_unknown if asked is None else asked == "ignore",
        )


def _adapted(source: Source, message: Message) -> bytes | None:
    """Return a payload of readings, or None where a device's message has none."""
    if source.adapter is None or source.device is None:
        return message.payload or b" "
    readings = source.adapter(message.payload, source.device, message.received)
    return msgspec.json.encode(readings) if readings else None


def _all_of_it(message: str) -> Faults:
    return Faults(listed=[Fault(None, None, message)])


def _outcome(parsed: Parsed, written: WriteResult | BaseException) -> Faults | DatabaseError:
    """Return what is wrong with a message's readings after their write."""
    if isinstance(written, Unavailable | Busy):
        return written
    if isinstance(written, BaseException):
        return StatementFailed(str(written))
    for fault in outcome.faults(parsed, written, show_stored=False):
        parsed.faults.add(fault)
    return parsed.faults
