"""Every Prometheus metric, declared once: what it is called, its unit, its labels, its meaning.

What happens is counted here, by calls of the code that does it, and written every second. A state
has two owners: a process sets the gauges of its queue and pool (`Database.set_gauges`), and the
database is asked for its devices, chunks and jobs (`DATABASE`, by `database/gauges.py`).
`exposition.py` shows them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fleetwatt.observability.buffered import Count, Distribution
from fleetwatt.streams import STREAMS, Rows, Stream

# Of so many readings of a stream at most the lag is looked at in one commit.
LAG_SAMPLES = 10
UNKNOWN = "unknown"

REGISTRY = CollectorRegistry()

READINGS = Counter(
    "fleetwatt_readings",
    "Readings that were stored (accepted), had been stored before (duplicate), or came with other "
    "values than the stored ones (conflict)",
    ["stream", "outcome"],
    registry=REGISTRY,
)
REJECTED = Counter(
    "fleetwatt_readings_rejected",
    "Invalid readings by the first field at fault; unknown_field: one that no stream has, "
    "reading: it is none at all. The stream is unknown where both are possible",
    ["stream", "reason"],
    registry=REGISTRY,
)
MESSAGES = Counter(
    "fleetwatt_messages",
    "Messages by the stream that kept them (unkept: none): stored, with a rejected reading, or "
    "lost, as too many of QoS 0 waited",
    ["origin", "outcome"],
    registry=REGISTRY,
)
LAG = Histogram(
    "fleetwatt_reading_lag_seconds",
    f"Seconds between a reading's timestamp and its storing, of up to {LAG_SAMPLES} readings of a "
    "stream a transaction",
    ["stream"],
    buckets=(1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400, 604_800, 2_592_000),
    registry=REGISTRY,
)
BATCH = Histogram(
    "fleetwatt_batch_readings",
    "Readings that shared a transaction",
    buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
    registry=REGISTRY,
)
COMMIT = Histogram(
    "fleetwatt_commit_seconds",
    "Seconds from the start of a transaction of readings to its commit, the wait for a "
    "connection included",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
REQUESTS = Histogram(
    "fleetwatt_http_request_seconds",
    "Seconds from a request's headers to its answer's, by route as it is declared; unmatched: no "
    "route, or none with that method",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
QUEUE = Gauge(
    "fleetwatt_queue_readings",
    "Readings that wait to be written, of all processes",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
QUEUE_LIMIT = Gauge(
    "fleetwatt_queue_limit_readings",
    "Readings that may wait in all processes; past a process's share the answer is 503",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
QUEUE_AGE = Gauge(
    "fleetwatt_queue_oldest_seconds",
    "Seconds that the longest-waiting request with readings has waited for its commit; 0: none",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
POOL = Gauge(
    "fleetwatt_pool_connections",
    "Database connections of all processes that are in use (used) or open and free (idle)",
    ["state"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_LIMIT = Gauge(
    "fleetwatt_pool_limit_connections",
    "Database connections that all processes may open",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)


@dataclass(frozen=True)
class Family:
    """A gauge whose values are found at scrape time."""

    help: str
    labels: tuple[str, ...] = ()


DATABASE = {
    "fleetwatt_database_up": Family("1: the database answered when it was asked last"),
    "fleetwatt_database_bytes": Family("Bytes that the database takes on disk"),
    "fleetwatt_replica_lag_seconds": Family(
        "Seconds since the transaction that the replica replayed last, 0: it is caught up; absent "
        "where no replica is set or it is away"
    ),
    "fleetwatt_devices": Family(
        "Devices with a reading in their last 5 intervals (reporting) or without (silent)",
        ("stream", "state"),
    ),
    "fleetwatt_chunks": Family(
        "Chunks of a history table or an aggregate, compressed to columnstore or not",
        ("table", "state"),
    ),
    "fleetwatt_job_failing": Family(
        "1: the last run of a job of TimescaleDB's scheduler failed", ("proc", "job_id", "table")
    ),
    "fleetwatt_job_failures": Family(
        "Failed runs of a job since it exists; a gauge, since altering a job may reset it",
        ("proc", "job_id", "table"),
    ),
    "fleetwatt_job_next_start_timestamp_seconds": Family(
        "Unix time of a job's next start; absent while it runs or where nothing starts it",
        ("proc", "job_id", "table"),
    ),
    "fleetwatt_job_last_success_timestamp_seconds": Family(
        "Unix time of the end of a job's last run that went well; absent before the first",
        ("proc", "job_id", "table"),
    ),
}


BUILD = {
    "fleetwatt_build_info": Family(
        "1, with the version of the fleetwatt that answers as its label", ("version",)
    ),
}


@dataclass(frozen=True)
class GaugeValue:
    """A value of a gauge of `DATABASE` or `BUILD`."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class _StreamCounts:
    """What is counted of one stream."""

    accepted: Count
    duplicates: Count
    conflicts: Count
    lag: Distribution


_OF_STREAM = {
    stream: _StreamCounts(
        Count(READINGS.labels(stream.name, "accepted")),
        Count(READINGS.labels(stream.name, "duplicate")),
        Count(READINGS.labels(stream.name, "conflict")),
        Distribution(LAG.labels(stream.name)),
    )
    for stream in STREAMS
}
_COMMIT, _BATCH = Distribution(COMMIT), Distribution(BATCH)
_REQUESTS: dict[tuple[str, str, int], Distribution] = {}


class Outcome(NamedTuple):
    """How many of a stream's readings in one transaction were stored now, already, or differ."""

    accepted: int
    duplicates: int
    conflicts: int


def committed(batch: Sequence[Rows], outcomes: Sequence[Outcome], seconds: float) -> None:
    """Count a transaction of readings and what became of each stream's."""
    _COMMIT.observe(seconds)
    _BATCH.observe(sum(map(len, batch)))
    now = datetime.now(UTC)
    for rows, outcome in zip(batch, outcomes, strict=True):
        of_stream = _OF_STREAM[rows.stream]
        of_stream.accepted.inc(outcome.accepted)
        if outcome.duplicates:
            of_stream.duplicates.inc(outcome.duplicates)
        if outcome.conflicts:
            of_stream.conflicts.inc(outcome.conflicts)
        for _, time, *_ in rows.rows[:: -(-len(rows) // LAG_SAMPLES)]:
            of_stream.lag.observe((now - time).total_seconds())


def rejected(fields: Iterable[str | None], streams: Sequence[Stream]) -> None:
    """Count invalid readings by the field at fault, of a request to a route for some streams."""
    for field in fields:
        having = [stream for stream in streams if field in {own.name for own in stream.fields}]
        # A name that a client made up would be a series of its own.
        reason = "reading" if field is None else field if having else "unknown_field"
        possible = having or streams
        REJECTED.labels(possible[0].name if len(possible) == 1 else UNKNOWN, reason).inc()


def message(origin: str, outcome: str) -> None:
    """Count a message of MQTT or NATS and what became of it."""
    MESSAGES.labels(origin, outcome).inc()


def answered(method: str, route: str | None, status: int, seconds: float) -> None:
    """Count a request; `route` is the rule, never the path, of which there is no end."""
    key = (method, route, status) if route else ("any", "unmatched", status)
    distribution = _REQUESTS.get(key)
    if distribution is None:
        # Two threads may come at once: both of their distributions are flushed.
        distribution = _REQUESTS[key] = Distribution(REQUESTS.labels(*key))
    distribution.observe(seconds)
