"""Dead letters: messages with readings that were rejected, and what is wrong with them.

A dead letter has the message's own payload, so that it can be published again as it was. Its
header `Fleetwatt-Letter` says the rest as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from nats.js.errors import NotFoundError

from fleetwatt.faults import Fault, Faults
from fleetwatt.messaging.names import DEAD, DEAD_PREFIX, READINGS
from fleetwatt.messaging.store import MAX_BYTES, RECEIVED
from fleetwatt.messaging.subjects import MQTT_PREFIX, NATS_ROOT, RETRIED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js import JetStreamContext

    from fleetwatt.messaging.store import Message

LETTER = "Fleetwatt-Letter"
# NATS takes no second message with the same one.
_ONCE = "Nats-Msg-Id"
# Bytes of a payload that is too large to be kept whole.
_KEPT = 64_000
# Bytes of what is wrong: further faults are counted alone.
_MOST_FAULTS = 30_000


class Letter(msgspec.Struct, rename="camel", omit_defaults=True):
    """What the header of a dead letter says.

    Attributes:
        subject: Under which the message came.
        received: When NATS took it, in RFC 3339.
        errors: The faults that are listed.
        errors_omitted: How many more there are.
        truncated: Whether the payload was too large, and is only a part.
    """

    subject: str
    received: str
    errors: list[Fault]
    errors_omitted: int = 0
    truncated: bool = False


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter as it is kept, with its number there."""

    number: int
    letter: Letter
    payload: bytes


async def publish(
    jetstream: JetStreamContext, message: Message, faults: Faults, once: str | None
) -> None:
    """Publish a dead letter, and return when the stream has it.

    Args:
        jetstream: Where to.
        message: The message whose readings were rejected.
        faults: What is wrong with them.
        once: By what the stream knows the message when it comes again; None: it does not.
    """
    letter = Letter(
        message.subject, message.received.isoformat(), list(faults.listed), faults.omitted
    )
    while len(header := msgspec.json.encode(letter)) > _MOST_FAULTS and len(letter.errors) > 1:
        half = len(letter.errors) // 2
        letter.errors_omitted += len(letter.errors) - half
        letter.errors = letter.errors[:half]
    payload = message.payload
    if len(payload) > MAX_BYTES:
        letter.truncated, payload = True, payload[:_KEPT]
        header = msgspec.json.encode(letter)
    headers = {LETTER: header.decode("ascii", "backslashreplace")}
    if once:
        headers[_ONCE] = once
    # Of the subject only its beginning: what follows may be anything that a client made up.
    kind = "mqtt" if message.subject.startswith(MQTT_PREFIX) else "nats"
    await jetstream.publish(f"{DEAD_PREFIX}.{kind}", payload, stream=DEAD, headers=headers)


async def read(jetstream: JetStreamContext, first: int = 1) -> AsyncIterator[DeadLetter]:
    """Yield the dead letters from a number on, oldest first."""
    while True:
        try:
            raw = await jetstream.get_msg(DEAD, first, f"{DEAD_PREFIX}.>", next=True)
        except NotFoundError:
            return
        assert raw.seq is not None  # noqa: S101 - a message of a stream has one
        header = (raw.headers or {}).get(LETTER, "{}")
        yield DeadLetter(
            raw.seq, msgspec.json.decode(header, type=Letter, strict=False), raw.data or b""
        )
        first = raw.seq + 1


async def find(jetstream: JetStreamContext, number: int) -> DeadLetter | None:
    """Return a dead letter by its number, or None where there is none."""
    async for letter in read(jetstream, number):
        return letter if letter.number == number else None
    return None


async def drop(jetstream: JetStreamContext, number: int) -> None:
    """Remove a dead letter."""
    await jetstream.delete_msg(DEAD, number)


async def retry(jetstream: JetStreamContext, dead: DeadLetter) -> None:
    """Publish a dead letter's message again, and remove it once the stream has the message.

    It means the same as before; where it is rejected again, it is a new dead letter.
    """
    subject = retry_subject(dead.letter.subject)
    headers = {RECEIVED: dead.letter.received}
    await jetstream.publish(subject, dead.payload, stream=READINGS, headers=headers)
    await drop(jetstream, dead.number)


def retry_subject(subject: str) -> str:
    """Return the subject of the stream `READINGS` that means the same as a message's own."""
    of_client = subject.removeprefix(MQTT_PREFIX)
    if of_client.startswith(f"{'.'.join(NATS_ROOT)}."):
        return of_client
    return f"{RETRIED}{of_client}"
