"""Whether what is derived equals history: the aggregates and the latest readings.

All are sampled: random devices in random hours of those that history still has. An hour that
awaits a refresh is read from raw by every answer about a device; it is counted, not compared.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fleetwatt.streams import STREAMS, Stream
from fleetwatt.times import HOUR

if TYPE_CHECKING:
    from fleetwatt.database.client import Database


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A value that is not what history says.

    Attributes:
        hour: Start of the aggregate's row; None: the latest reading.
        raw, stored: The value by history and the stored one, as text; None where there is none.
    """

    device: str
    hour: datetime | None = None
    column: str
    raw: str | None
    stored: str | None

    def __str__(self) -> str:
        place = self.hour.strftime("%Y-%m-%dT%H:%MZ") if self.hour else "latest"
        raw, stored = self.raw or "nothing", self.stored or "nothing"
        return f"{self.device} {place} {self.column}: {raw} by history, {stored} stored"


@dataclass(frozen=True)
class Findings:
    """What an audit of a stream looked at and found."""

    stream: Stream
    devices: int
    hours: int
    pending: int
    differences: list[Difference]

    def __str__(self) -> str:
        return (
            f"{self.stream.name}: {self.devices} devices, {self.hours} hours "
            f"({self.pending} more read from raw until a refresh), "
            f"differences: {len(self.differences)}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return them as `fleetwatt audit --json` prints them."""
        return {
            "devices": self.devices,
            "hours": self.hours,
            "pending": self.pending,
            "differences": [asdict(difference) for difference in self.differences],
        }


def audit(database: Database, *, sample: int, hours: int, seed: str) -> list[Findings]:
    """Compare up to `sample` devices of each stream in up to `hours` hours.

    The same seed chooses the same devices and hours while history has no new ones.
    """
    return [_audit(database, stream, sample, hours, seed) for stream in STREAMS]


def _audit(database: Database, stream: Stream, sample: int, hours: int, seed: str) -> Findings:
    sampled = database.query(f"{stream.name}.audit_hours", hours=hours, seed=seed)
    newest = sampled[-1]["hour"] if sampled else None
    found = database.query(f"{stream.name}.audit_devices", sample=sample, seed=seed, hour=newest)
    devices = [row["device"] for row in found]
    fresh = [row["hour"] for row in sampled if not row["pending"]]
    # Hour by hour of the aggregate, so that each plan reads one chunk.
    differing = [
        row
        for hour in fresh
        for row in database.query(f"{stream.name}.audit_aggregate", devices=devices, start=hour)
    ]
    differing += database.query(f"{stream.name}.audit_latest", devices=devices)
    return Findings(
        stream,
        len(devices),
        len(fresh),
        len(sampled) - len(fresh),
        [Difference(**row) for row in differing],
    )


def repair(database: Database, findings: Findings) -> None:
    """Refresh the hours that differ and set the latest readings that differ from history.

    History is what counts: an hour or a device that it has nothing of is removed.
    """
    stream = findings.stream
    for start in sorted({found.hour for found in findings.differences if found.hour}):
        database.refresh(stream.hourly, start, start + HOUR)
    devices = sorted({found.device for found in findings.differences if not found.hour})
    if devices:
        database.execute_once(f"{stream.name}.repair_latest", devices=devices)
