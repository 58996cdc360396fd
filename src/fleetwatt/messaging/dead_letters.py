"""Dead letters: messages with readings that were rejected, and what is wrong with them.

A dead letter has the message's own payload, so that it can be published again as it was. Its
header `Fleetwatt-Letter` says the rest as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fleetwatt.faults import Fault, Faults
from fleetwatt.messaging.names import DEAD, DEAD_PREFIX
from fleetwatt.messaging.store import MAX_BYTES
from fleetwatt.messaging.subjects import MQTT_PREFIX

if TYPE_CHECKING:
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
