"""Charging sessions, computed from the register curve and never stored.

A step of the curve charges when it rises with at least 0.1 kW on average. A session is a run of
charging steps of one vehicle on one mapping, between which pauses are no longer than allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fleetwatt.analytics import energy
from fleetwatt.analytics.summary import summary
from fleetwatt.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

PEAK = timedelta(minutes=5)  # the shortest time over which a peak is a mean
_FIRST_LOOK = timedelta(hours=24)  # around a window, for sessions that cross its ends
_LAST_LOOK = timedelta(days=64)


@dataclass(frozen=True)
class Window:
    """What sessions are asked for: those that touch start <= time < end.

    Attributes:
        pause: The longest pause inside a session.
    """

    start: datetime
    end: datetime
    pause: timedelta


def find(
    database: Database,
    window: Window,
    vehicles: Sequence[str] | None = None,
    site: str | None = None,
) -> list[Row]:
    """Return the vehicle, meter, start and end of the sessions that touch a window, by start.

    Args:
        database: Where the readings are.
        window: Which sessions.
        vehicles: Only those of these vehicles.
        site: Only those of vehicles of this site.
    """
    look = _FIRST_LOOK
    found = _within(database, window, look, vehicles, site)
    while look < _LAST_LOOK:
        # Where a session reaches the edge of what was looked at, there may be more of it.
        longer = sorted({row["vehicle_id"] for row in found if _may_be_longer(row, window, look)})
        if not longer:
            break
        look *= 4
        found = [row for row in found if row["vehicle_id"] not in longer]
        found += _within(database, window, look, longer, None)
    return sorted(found, key=lambda row: (row["start"], row["vehicle_id"]))


def _within(
    database: Database,
    window: Window,
    look: timedelta,
    vehicles: Sequence[str] | None,
    site: str | None,
) -> list[Row]:
    return database.query(
        "sessions",
        start=window.start,
        end=window.end,
        low=_low(window, look),
        high=_high(window, look),
        pause=window.pause,
        vehicles=None if vehicles is None else list(vehicles),
        site=site,
        max_kw=database.max_kw,
    )


def _low(window: Window, look: timedelta) -> datetime:
    return (window.start - window.pause - look).replace(minute=0, second=0, microsecond=0)


def _high(window: Window, look: timedelta) -> datetime:
    return (window.end + window.pause + look).replace(minute=0, second=0, microsecond=0) + HOUR


def _may_be_longer(session: Row, window: Window, look: timedelta) -> bool:
    return bool(
        session["start"] <= _low(window, look) + window.pause
        or (
            session["end"] >= min(_high(window, look), datetime.now(UTC)) - window.pause
            and _high(window, look) < datetime.now(UTC)
        )
    )


def described(database: Database, session: Row, window: Window) -> dict[str, Any]:
    """Return what is known of a session; its energies are those inside of the window."""
    vehicle_id, start, end = session["vehicle_id"], session["start"], session["end"]
    inside = max(start, window.start), min(end, window.end)
    figures = summary(database, vehicle_id, *inside, "interpolated") or {}
    soc = database.query_one("session_soc", vehicle_id=vehicle_id, start=start, end=end) or {}
    return {
        "vehicle_id": vehicle_id,
        "start": start,
        "end": end,
        "open": datetime.now(UTC) - end <= window.pause,
        "meter_id": session["meter_id"],
        "kwh_consumed_ac": figures.get("kwh_consumed_ac"),
        "kwh_delivered_dc": figures.get("kwh_delivered_dc"),
        "efficiency": figures.get("efficiency"),
        **soc,
        "peak_kw": peak_kw(_steps(database, vehicle_id, start, end), start, end),
        "warnings": figures.get("warnings", []),
    }


def idle(figures: dict[str, Any], items: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return the energies of a window less those of all its sessions."""
    rest: dict[str, float | None] = {}
    for column in ("kwh_consumed_ac", "kwh_delivered_dc"):
        whole = figures[column]
        charged = sum(item[column] or 0.0 for item in items)
        rest[column] = None if whole is None else energy.rounded(whole - charged)
    return rest


def peak_kw(
    steps: Sequence[tuple[datetime, datetime, float]], start: datetime, end: datetime
) -> float | None:
    """Return the highest mean power over at least five minutes between readings of a session.

    A session that is shorter has the mean power of its whole length.

    Args:
        steps: Those of the vehicle's curve that touch the session, in order: start, end, kWh.
        start: The session's start.
        end: The session's end.
    """
    times: list[datetime] = []
    totals: list[float] = []
    total = 0.0
    for step_start, step_end, kwh in steps:
        length = step_end - step_start
        first, last = max(step_start, start), min(step_end, end)
        if not times:
            times.append(first)
            totals.append(0.0)
        total += kwh * ((last - first) / length)
        times.append(last)
        totals.append(total)
    if not times or times[-1] <= times[0]:
        return None
    shortest = min(PEAK, times[-1] - times[0])
    longest_step = max(later - earlier for earlier, later in pairwise(times))
    best = 0.0
    for left, begin in enumerate(times):
        for right in range(left + 1, len(times)):
            length = times[right] - begin
            if length >= shortest:
                best = max(best, (totals[right] - totals[left]) / (length / HOUR))
            # A longer one has a part that is as long as need be and no weaker.
            if length >= 2 * shortest + longest_step:
                break
    return energy.rounded(best)


def _steps(
    database: Database, vehicle_id: str, start: datetime, end: datetime
) -> list[tuple[datetime, datetime, float]]:
    rows = database.query(
        "session_steps", vehicle_id=vehicle_id, start=start, end=end, max_kw=database.max_kw
    )
    return [(row["start"], row["end"], row["kwh"]) for row in rows]
