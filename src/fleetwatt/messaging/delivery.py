"""A message as it was brought, and how NATS learns what became of it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from fleetwatt.messaging.store import RECEIVED, Message

if TYPE_CHECKING:
    from nats.aio.msg import Msg

TRIES = 4
TRY_AGAIN = 5.0  # seconds until a message comes again that could not be settled
# What NATS says of an MQTT message: its quality of service.
_QOS = "Nmqtt-Pub"


class Kept:
    """A message of a stream, which keeps it until it is acknowledged.

    Attributes:
        origin: The stream, as metrics name it.
        once: By what another stream knows the message when it comes again.
    """

    def __init__(self, raw: Msg) -> None:
        meta = raw.metadata
        self.raw = raw
        self.origin = meta.stream
        self.once = f"{meta.stream}:{meta.sequence.stream}"
        headers = raw.headers or {}
        received = meta.timestamp.astimezone(UTC)
        with suppress(KeyError, ValueError):
            received = datetime.fromisoformat(headers[RECEIVED]).astimezone(UTC)
        self.message = Message(raw.subject, raw.data, received, headers)
        self._may_come_again = meta.num_delivered < TRIES

    async def done(self) -> None:
        """Acknowledge it; where that is lost, it comes again as a duplicate."""
        with suppress(NatsError):
            await self.raw.ack()

    async def later(self, *, always: bool) -> bool:
        """Let it come again after a while, unless it has come too often; return whether it does."""
        if not always and not self._may_come_again:
            return False
        with suppress(NatsError):
            await self.raw.nak(delay=TRY_AGAIN)
        return True


class Unkept:
    """A message that no stream has: of MQTT's QoS 0, or of a client of NATS without a stream."""

    origin = "unkept"
    once = None

    def __init__(self, raw: Msg) -> None:
        self.message = Message(raw.subject, raw.data, datetime.now(UTC), raw.headers or {})

    async def done(self) -> None:
        """Do nothing: no sender waits."""

    async def later(self, *, always: bool) -> bool:
        """Return that it does not come again."""
        return False


Delivery = Kept | Unkept


def is_kept_too(raw: Msg) -> bool:
    """Whether a message that came outside of a stream is in one, too: MQTT's QoS 1 and 2 are."""
    return (raw.headers or {}).get(_QOS, "0") != "0"
