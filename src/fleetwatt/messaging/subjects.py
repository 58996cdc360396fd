"""What a message's subject says of its payload.

NATS writes an MQTT topic `fleetwatt/v1/meter/M.1` as the subject `fleetwatt.v1.meter.M//1`. An id
may be percent-encoded in a topic; it has to be where MQTT gives a character a meaning (`+`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from fleetwatt.messaging import adapters
from fleetwatt.streams import METER, STREAMS, Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetwatt.messaging.adapters import Adapter

# Before the subject of each message that NATS keeps for MQTT's QoS 1 and 2.
MQTT_PREFIX = "$MQTT.msgs."
# What MQTT devices publish under, and what clients of NATS do.
MQTT_ROOT = ("fleetwatt", "v1")
NATS_ROOT = ("fleetwatt", "readings")
# What has a register, of a Shelly.
SHELLY_COMPONENTS = ("switch", "pm1", "emdata", "em1data")
# After a root, of clients that send readings of any stream.
ANY = "any"
# Before the subject of a dead letter's message that is published again.
RETRIED = "fleetwatt.readings.retried."
_STREAMS = {stream.name: stream for stream in STREAMS}


@dataclass(frozen=True)
class Source:
    """What a message may hold.

    Attributes:
        streams: The streams that its readings may be of.
        device: The id that each of its readings must have; None: any.
        adapter: What makes readings of its payload; None: it has readings.
    """

    streams: Sequence[Stream]
    device: str | None = None
    adapter: Adapter | None = None


class Ignored:
    """What a device publishes beside its readings."""


def source_of(subject: str) -> Source | Ignored | None:
    """Return what a subject says, or None where nothing is expected under it.

    Args:
        subject: As the message carries it, with or without `MQTT_PREFIX`.
    """
    tokens = tuple(subject.removeprefix(MQTT_PREFIX).removeprefix(RETRIED).split("."))
    if adapted := _adapted(tokens):
        return adapted
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


def _adapted(tokens: tuple[str, ...]) -> Source | Ignored | None:
    """Return what the subject of a device says that knows nothing of fleetwatt."""
    match tokens:
        case ("tele", token, "SENSOR") | ("fleetwatt", "tasmota", "tele", token, "SENSOR"):
            return Source((METER,), id_of(token), adapters.tasmota)
        case ("fleetwatt", "shelly", token, "status", component):
            kind, _, number = component.partition(":")
            if kind in SHELLY_COMPONENTS:
                device = id_of(token) + (f":{number}" if number not in {"", "0"} else "")
                return Source((METER,), device, adapters.shelly)
            return Ignored()
        case ("fleetwatt", "ocpp", token):
            return Source((METER,), id_of(token), adapters.ocpp)
        case ("fleetwatt", "tasmota" | "shelly", *_):
            return Ignored()
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
