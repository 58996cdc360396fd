"""What a message's subject says of its payload.

NATS writes an MQTT topic `fleetwatt/v1/meter/M.1` as the subject `fleetwatt.v1.meter.M//1`. An id
may be percent-encoded in a topic; it has to be where MQTT gives a character a meaning (`+`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from fleetwatt.streams import STREAMS, Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

# Before the subject of each message that NATS keeps for MQTT's QoS 1 and 2.
MQTT_PREFIX = "$MQTT.msgs."
# What MQTT devices publish under, and what clients of NATS do.
MQTT_ROOT = ("fleetwatt", "v1")
NATS_ROOT = ("fleetwatt", "readings")
# After a root, of clients that send readings of any stream.
ANY = "any"
_STREAMS = {stream.name: stream for stream in STREAMS}


@dataclass(frozen=True)
class Source:
    """What a message may hold.

    Attributes:
        streams: The streams that its readings may be of.
        device: The id that each of its readings must have; None: any.
    """

    streams: Sequence[Stream]
    device: str | None = None


def source_of(subject: str) -> Source | None:
    """Return what a subject says, or None where no readings are expected under it.

    Args:
        subject: As the message carries it, with or without `MQTT_PREFIX`.
    """
    tokens = tuple(subject.removeprefix(MQTT_PREFIX).split("."))
    if tokens[:2] not in {MQTT_ROOT, NATS_ROOT}:
        return None
    match tokens[2:]:
        case () | ("any",):
            return Source(STREAMS)
        case (name,) if name in _STREAMS:
            return Source((_STREAMS[name],))
        case (name, token) if name in _STREAMS:
            return Source((_STREAMS[name],), id_of(token))
    return None


def id_of(token: str) -> str:
    """Return the id that a token of a subject stands for; what is no UTF-8 gets a �."""
    return unquote(token.replace("//", "."))


def tokens_of(device: str) -> tuple[str, ...]:
    """Return the tokens by which topics may name a device: percent-encoded, and as it is."""
    encoded = quote(device, safe=":|@").replace(".", "//")
    dotless = quote(device, safe=":|@").replace(".", "%2E")
    plain = device.replace(".", "//")
    may_be_plain = not set(device) & {"+", "*"}
    return tuple(dict.fromkeys((encoded, dotless, *([plain] if may_be_plain else []))))


def topic_of(stream: Stream, device: str) -> str:
    """Return the MQTT topic of a device."""
    return "/".join((*MQTT_ROOT, stream.name, quote(device, safe=":|@")))


def readings_subject(streams: Sequence[Stream]) -> str:
    """Return the subject for a client of NATS that sends readings of some streams."""
    return ".".join((*NATS_ROOT, streams[0].name if len(streams) == 1 else ANY))
