"""Summaries of the whole fleet, over whole hours or days of a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import marshmallow as ma
import msgspec

from fleetwatt import calendar
from fleetwatt.figures import FLEET_FIGURES, VEHICLE_FIGURES, WARNINGS
from fleetwatt.schemas import paging
from fleetwatt.schemas.analytics import Performance, warnings_field
from fleetwatt.schemas.fields import (
    Answer,
    Choice,
    Identifier,
    NumberArgument,
    Timestamp,
    bucket_fields,
    count,
    figure_fields,
    in_our_age,
    window_fields,
)
from fleetwatt.schemas.windows import (
    MOST_DAYS,
    MOST_HOURS,
    FleetWindowQuery,
    fits,
    hours_argument,
)
from fleetwatt.streams import ID_PATTERN, STREAMS
from fleetwatt.times import rfc3339

DEFAULT_ORDER = "vehicleId"
_SORTABLE = {"vehicleId": "vehicle_id"} | {figure.name: figure.column for figure in VEHICLE_FIGURES}
# The column and the direction, 1 or -1, that an order of the list goes by.
ORDERS = {
    sign + name: (column, direction)
    for name, column in _SORTABLE.items()
    for sign, direction in (("", 1), ("-", -1))
}


class PerformanceCursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where a page ended: of which list, and after what.

    Attributes:
        tz: Whose hours the window begins and ends with.
        site: Whose vehicles are listed; None for all.
        key: The figure, negated where the order falls; None for null and for an order by id.
    """

    sort: str
    start: Annotated[datetime, msgspec.Meta(tz=True)]
    end: Annotated[datetime, msgspec.Meta(tz=True)]
    tz: str
    site: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}\\Z")] | None
    key: float | None
    vehicle_id: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}\\Z")]


def _of_a_window(cursor: PerformanceCursor) -> None:
    for moment in (cursor.start, cursor.end):
        in_our_age(moment)
    if cursor.sort not in ORDERS or cursor.tz not in calendar.NAMES:
        raise paging.NotACursor
    # Ours are of whole hours of the zone, and a list goes on by it.
    local = calendar.zone(cursor.tz)
    if (
        not cursor.start < cursor.end
        or not fits(cursor.start, cursor.end, local)
        or any(
            moment.tzinfo is not UTC or calendar.begin(moment, "1h", local) != moment
            for moment in (cursor.start, cursor.end)
        )
    ):
        raise paging.NotACursor


def site_argument(what: str) -> Identifier:
    """Return the argument that names the site whose devices are asked about."""
    return Identifier(metadata={"description": f"Only {what} of this site"})


class PerformancePageQuery(FleetWindowQuery):
    """Which vehicles, in which order, from where on."""

    sort = ma.fields.String(
        validate=Choice("PerformanceOrder", ORDERS),
        metadata={
            "default": DEFAULT_ORDER,
            "description": "The figure to sort by, with a minus from the largest down; "
            "nulls come last either way, ties go by vehicleId",
        },
    )
    limit = paging.limit("Vehicles")
    after = paging.CursorField(
        PerformanceCursor,
        validate=_of_a_window,
        metadata={
            "description": "`next` of the page before; goes on with its `sort`, `tz`, `site` and "
            "window",
            "format": "cursor",
        },
    )
    site = site_argument("vehicles")
    efficiencyBelow = NumberArgument(
        metadata={"description": "Only vehicles with an efficiency under this"},
    )
    warning = ma.fields.String(
        validate=Choice("SummaryWarning", WARNINGS),
        metadata={"description": "Only vehicles with this warning"},
    )

    def window(self, data: dict[str, Any]) -> tuple[datetime, datetime]:
        """Return the window, a cursor's where one is given.

        What a list ended after says nothing in another.

        Raises:
            ma.ValidationError: Another is named.
        """
        after: PerformanceCursor | None = data.get("after")
        if after is None:
            data.setdefault("sort", DEFAULT_ORDER)
            return super().window(data)
        if data.setdefault("sort", after.sort) != after.sort:
            raise ma.ValidationError(f"Belongs to sort={after.sort}.", "after")
        if data.setdefault("tz", calendar.zone(after.tz)).key != after.tz:
            raise ma.ValidationError(f"Belongs to tz={after.tz}.", "after")
        if data.setdefault("site", after.site) != after.site:
            of_site = f"site={after.site}" if after.site else "no site"
            raise ma.ValidationError(f"Belongs to {of_site}.", "after")
        if not data.keys() & {"start", "hours"}:
            data["start"] = after.start
        named = super().window({"end": after.end} | data)
        if named != (after.start, after.end):
            raise ma.ValidationError(
                f"Belongs to start={rfc3339(after.start)} and end={rfc3339(after.end)}.", "after"
            )
        return named


def _exact() -> dict[str, Any]:
    """Return the fields that say which window an answer is about, and up to when it is exact."""
    return window_fields() | {
        "exactUntil": Timestamp(
            attribute="exact_until",
            metadata={
                "description": "Every reading before then that has arrived is counted; what came "
                "late after it counts from the next refresh on",
                "example": "2024-02-10T10:00:00Z",
            },
        )
    }


# Summaries of vehicles, a page of them.
PerformancePage = Answer.from_dict(
    {
        **_exact(),
        "items": ma.fields.List(
            ma.fields.Nested(Performance), metadata={"description": "The summaries, in order"}
        ),
        "next": paging.CursorField(
            PerformanceCursor,
            allow_none=True,
            metadata={"description": paging.NEXT, "example": "WyJlZmZpY2llbmN5Il0="},
        ),
    },
    name="PerformancePage",
)


class FleetQuery(FleetWindowQuery):
    """The window, how it is cut, and from when on a device is stale."""

    hours = hours_argument(
        MOST_DAYS * 24,
        f", {MOST_HOURS} at most; with `bucket=1d` on the local clock, so that 24 are a day, and "
        f"{MOST_DAYS} days at most",
    )
    bucket = ma.fields.String(
        load_default="1h",
        validate=Choice("FleetBucketWidth", ["1h", "1d"]),
        metadata={
            "description": "Length of a bucket: hours, or days, of the zone. With `1d` the "
            "window's ends are cut down to whole days"
        },
    )
    site = site_argument("devices")
    staleAfter = NumberArgument(
        validate=ma.validate.Range(0),
        metadata={
            "description": "Age of a device's newest reading past which it is stale; default 5 of "
            "its intervals (s)",
            "x-unit": "s",
        },
    )


class Freshness(Answer):
    """The devices of a stream by their newest reading, as of now."""

    reporting = count("Devices that are neither stale nor silent", 9970)
    stale = count("Devices whose newest reading is stale, but not older than `windowStart`", 20)
    silent = count(
        "Devices without a reading since `windowStart`, registered ones that never sent one, too",
        10,
    )


# A bucket of the fleet, its start included, its end not.
FleetBucket = Answer.from_dict(
    {**bucket_fields(), **figure_fields(FLEET_FIGURES)}, name="FleetBucket"
)


class _Fleet(Answer):
    sometimes = frozenset({"hours"})


# The whole fleet over a window: sums over all devices, null where not known.
Fleet = _Fleet.from_dict(
    {
        **_exact(),
        **figure_fields(FLEET_FIGURES),
        "warnings": warnings_field(),
        **{
            stream.plural: ma.fields.Nested(
                Freshness,
                metadata={
                    "description": f"{stream.plural.title()} by their newest reading",
                    "example": {"reporting": 9970, "stale": 20, "silent": 10},
                },
            )
            for stream in STREAMS
        },
        "items": ma.fields.List(
            ma.fields.Nested(FleetBucket), metadata={"description": "The same by the bucket"}
        ),
        "hours": ma.fields.List(
            ma.fields.Nested(FleetBucket),
            metadata={"description": "The `items` by their older name, with `bucket=1h` alone"},
        ),
    },
    name="Fleet",
)
