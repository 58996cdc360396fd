"""Windows of time: what a request may ask about, start <= time < end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import marshmallow as ma

from fleetwatt import calendar
from fleetwatt.schemas.fields import Timestamp, WholeArgument, between, in_our_age
from fleetwatt.times import DAY, HOUR

MOST_HOURS = 744  # of a window: 31 days
MOST_DAYS = 400  # of a window in days
DEFAULT_HOURS = 24


class ZoneArgument(ma.fields.String):
    """A time zone by its IANA name."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            return calendar.zone(value)
        except KeyError:
            raise ma.ValidationError("Not an IANA time zone: write one as Europe/Berlin.") from None


def zone_argument(use: str) -> ZoneArgument:
    """Return the argument `tz`; what it is used for goes into its description."""
    return ZoneArgument(
        metadata={
            "description": f"IANA time zone, as Europe/Berlin: {use}",
            "default": "UTC",
            "example": "Europe/Berlin",
        }
    )


def hours_argument(most: int, limits: str = "") -> WholeArgument:
    """Return the argument `hours`.

    OpenAPI has no default of it: generated clients would send that beside `start`, too.
    """
    return WholeArgument(
        validate=between(1, most),
        metadata={
            "description": f"Length of the window, instead of `start`; {DEFAULT_HOURS} without "
            f"either{limits} (h)",
            "x-unit": "h",
            "example": DEFAULT_HOURS,
        },
    )


class WindowQuery(ma.Schema):
    """A window: `start` and `end`, or `end` and `hours`."""

    start = Timestamp(
        validate=in_our_age,
        metadata={"description": "Start of the window; default `hours` before its end"},
    )
    end = Timestamp(validate=in_our_age, metadata={"description": "End of the window; default now"})
    hours = hours_argument(MOST_HOURS)

    @ma.post_load
    def _with_window(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "start" in data and "hours" in data:
            raise ma.ValidationError("Given beside `start`: name one of the two.", "hours")
        start, end = self.window(data)
        if start >= end:
            raise ma.ValidationError("Must come before the window's end.", "start")
        return data | {"start": start, "end": end}

    def window(self, data: dict[str, Any]) -> tuple[datetime, datetime]:
        """Return the start and the end of the window that is asked for.

        Raises:
            ma.ValidationError: It is too long.
        """
        end = data.get("end") or datetime.now(UTC)
        return data.get("start") or end - length(data), end


class SummaryQuery(WindowQuery):
    """A window of up to 744 hours."""

    def window(self, data: dict[str, Any]) -> tuple[datetime, datetime]:
        """Return the start and the end of the window that is asked for."""
        start, end = super().window(data)
        if end - start > MOST_HOURS * HOUR:
            raise too_long(data, f"{MOST_HOURS} hours")
        return start, end


class FleetWindowQuery(WindowQuery):
    """A window of whole hours, or days, of a zone."""

    start = Timestamp(
        validate=in_our_age,
        metadata={
            "description": "Start of the window, cut down to a whole hour of the zone; default "
            "`hours` before its end"
        },
    )
    end = Timestamp(
        validate=in_our_age,
        metadata={"description": "End of the window, cut down likewise; default now"},
    )
    tz = zone_argument("its hours and days are those of the window")

    def window(self, data: dict[str, Any]) -> tuple[datetime, datetime]:
        """Return the start and the end of the window that is asked for, cut down."""
        local: ZoneInfo = data.setdefault("tz", calendar.zone("UTC"))
        bucket = data.get("bucket", "1h")
        end = calendar.begin(data.get("end") or datetime.now(UTC), bucket, local)
        if "start" in data:
            start = data["start"]
        elif bucket == "1d":
            # So many hours on the local clock: 24 are one day, however long it is.
            start = calendar.ago(end, length(data), local)
        else:
            start = end - length(data)
        cut = calendar.begin(start, bucket, local)
        if bucket == "1d":
            if (read(end, local).date() - read(cut, local).date()).days > MOST_DAYS:
                raise too_long(data, f"{MOST_DAYS} days")
        elif not fits(cut, end, local):
            raise too_long(data, f"{MOST_HOURS} hours")
        return cut, end


def length(data: dict[str, Any]) -> timedelta:
    """Return the length of a window that has no start."""
    return timedelta(hours=data.get("hours", DEFAULT_HOURS))


def too_long(data: dict[str, Any], most: str) -> ma.ValidationError:
    """Return the error of a window that is too long, on the argument that made it so."""
    return ma.ValidationError(
        f"The window may have {most} at most.", "hours" if "hours" in data else "start"
    )


def fits(start: datetime, end: datetime, local: ZoneInfo) -> bool:
    """Whether a window has 744 hours at most, as they pass or on the local clock.

    So a local month of 31 days fits that has one hour more.
    """
    most = MOST_HOURS * HOUR
    return end - start <= most or (
        end - start <= most + DAY and read(end, local) - read(start, local) <= most
    )


def read(moment: datetime, local: ZoneInfo) -> datetime:
    """Return what the local clock reads at a moment."""
    return moment.astimezone(local).replace(tzinfo=None)
