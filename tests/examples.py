"""Valid readings, for tests to change what they are about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime.now(UTC).replace(microsecond=0)
Reading = dict[str, Any]


def ago(**span: float) -> str:
    """Return the timestamp that lies this far back, as in `ago(hours=2)`."""
    return at(NOW - timedelta(**span))


def at(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def meter(**changes: Any) -> Reading:
    """Return a reading of the meter M-123, changed."""
    return {
        "meterId": "M-123",
        "kwhConsumedAc": 1050.5,
        "voltage": 230,
        "timestamp": ago(minutes=1),
    } | changes


def vehicle(**changes: Any) -> Reading:
    """Return a reading of the vehicle V-999, changed."""
    return {
        "vehicleId": "V-999",
        "soc": 45,
        "kwhDeliveredDc": 850.2,
        "batteryTemp": 32.5,
        "timestamp": ago(minutes=1),
    } | changes
