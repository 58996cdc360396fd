"""What streams and subjects are called. It loads nothing of NATS."""

from __future__ import annotations

MQTT = "$MQTT_msgs"
READINGS = "FLEETWATT_READINGS"
DEAD = "FLEETWATT_DEAD"
STREAMS = (MQTT, READINGS, DEAD)
# The consumer of each stream that is read: all processes that consume share it.
DURABLE = "fleetwatt"
# Consumers share messages that no stream keeps, too: each goes to one of this group.
GROUP = "fleetwatt"
READINGS_FILTER = "fleetwatt.readings.>"
DEAD_PREFIX = "fleetwatt.dead"
# A question under this gets an answer of each consumer.
PING = "_fleetwatt.consumers"


def servers_of(url: str) -> list[str]:
    """Return the servers that a setting names, separated by commas."""
    return [server.strip() for server in url.split(",")]
