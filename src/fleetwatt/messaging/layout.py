"""The streams and consumers that JetStream keeps for fleetwatt, and how they are made.

| stream | holds | until |
|---|---|---|
| `$MQTT_msgs` | what MQTT devices published with QoS 1 or 2 | its commit |
| `FLEETWATT_READINGS` | what clients of NATS and `accept=queued` published | its commit |
| `FLEETWATT_DEAD` | messages with a reading that was rejected | they are retried or dropped |

NATS makes `$MQTT_msgs` when the first MQTT client connects, and keeps nothing in it that no
consumer waits for. Made here first, with a consumer, it has a bound and keeps what comes. A full
stream takes no further message, which is then not acknowledged; of dead letters the oldest go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from fleetwatt.messaging.names import (
    DEAD,
    DEAD_PREFIX,
    DURABLE,
    MQTT,
    READINGS,
    READINGS_FILTER,
)
from fleetwatt.messaging.subjects import MQTT_PREFIX

if TYPE_CHECKING:
    from nats.js import JetStreamContext

# Of what MQTT clients publish, what fleetwatt reads.
MQTT_FILTERS = ("fleetwatt.>", "tele.*.SENSOR")
# The same as it comes to all who listen: no stream keeps what has QoS 0.
UNKEPT_FILTERS = (
    "fleetwatt.v1",
    "fleetwatt.v1.>",
    "fleetwatt.tasmota.>",
    "fleetwatt.shelly.>",
    "fleetwatt.ocpp.>",
    "tele.*.SENSOR",
)
# Seconds after which a message that was not acknowledged comes again, to any consumer.
ACK_WAIT = 30.0
# Messages that may wait for their acknowledgement: those that all consumers hold together.
MAX_UNACKNOWLEDGED = 20_000
# Seconds for which a stream remembers what it took, so that a repeated publication counts once.
REMEMBERED = 600.0
DEAD_KEPT = 30 * 86_400.0  # seconds


async def ensure(jetstream: JetStreamContext, replicas: int, most_bytes: int) -> None:
    """Make the streams and consumers that are missing, and set the others to what they should be.

    Args:
        jetstream: Of the account that devices publish in.
        replicas: On how many servers each stream lies.
        most_bytes: The bound of each stream.
    """
    bounded = StreamConfig(storage=StorageType.FILE, num_replicas=replicas, max_bytes=most_bytes)
    kept_until_stored = bounded.evolve(discard=DiscardPolicy.NEW)
    for stream in (
        kept_until_stored.evolve(
            name=MQTT, subjects=[f"{MQTT_PREFIX}>"], retention=RetentionPolicy.INTEREST
        ),
        kept_until_stored.evolve(
            name=READINGS,
            subjects=[READINGS_FILTER],
            retention=RetentionPolicy.WORK_QUEUE,
            duplicate_window=REMEMBERED,
        ),
        bounded.evolve(
            name=DEAD,
            subjects=[f"{DEAD_PREFIX}.>"],
            discard=DiscardPolicy.OLD,
            max_age=DEAD_KEPT,
            duplicate_window=REMEMBERED,
        ),
    ):
        await _ensure_stream(jetstream, stream)
    of_mqtt = [MQTT_PREFIX + subject for subject in MQTT_FILTERS]
    await jetstream.add_consumer(MQTT, _consumer(of_mqtt))
    await jetstream.add_consumer(READINGS, _consumer([READINGS_FILTER]))


async def _ensure_stream(jetstream: JetStreamContext, wanted: StreamConfig) -> None:
    assert wanted.name  # noqa: S101 - each has one above
    try:
        found = (await jetstream.stream_info(wanted.name)).config
    except NotFoundError:
        await jetstream.add_stream(wanted)
        return
    ours = ("discard", "max_bytes", "num_replicas")
    if any(getattr(found, name) != getattr(wanted, name) for name in ours):
        await jetstream.update_stream(
            found.evolve(**{name: getattr(wanted, name) for name in ours})
        )


def _consumer(filters: list[str]) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=DURABLE,
        filter_subject=filters[0] if len(filters) == 1 else None,
        filter_subjects=filters if len(filters) > 1 else None,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        max_ack_pending=MAX_UNACKNOWLEDGED,
        max_deliver=-1,
    )
