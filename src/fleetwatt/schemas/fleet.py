"""Summaries of the whole fleet, over whole UTC hours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import marshmallow as ma
import msgspec

from fleetwatt.figures import FLEET_FIGURES, VEHICLE_FIGURES
from fleetwatt.schemas import paging
from fleetwatt.schemas.analytics import MOST_HOURS, WARNINGS, Performance, WindowQuery
from fleetwatt.schemas.fields import (
    Answer,
    NumberArgument,
    Timestamp,
    count,
    figure_fields,
    in_our_age,
    window_fields,
)
from fleetwatt.streams import ID_PATTERN, STREAMS
from fleetwatt.times import hour_of, rfc3339

_SORTABLE = {"vehicleId": "vehicle_id"} | {figure.name: figure.column for figure in VEHICLE_FIGURES}
# The column and the direction, 1 or -1, that an order of the list goes by.
ORDERS = {
    sign + name: (column, direction)
    for name, column in _SORTABLE.items()
    for sign, direction in (("", 1), ("-", -1))
}


class FleetWindowQuery(WindowQuery):
    """A window of whole UTC hours, start < time <= end."""

    end = Timestamp(
        validate=in_our_age,
        metadata={
            "description": "End of the window; what it has past a whole hour is cut off; "
            "default now, cut off likewise",
        },
    )

    @ma.post_load
    def _whole_hours(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return data | {"end": hour_of(data["end"])} if "end" in data else data


class PerformanceCursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where a page ended: of which list, and after what.

    Attributes:
        key: The figure, negated where the order falls; None for null and for an order by id.
    """

    sort: str
    end: Annotated[datetime, msgspec.Meta(tz=True)]
    hours: int
    key: float | None
    vehicle_id: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}\\Z")]


def _of_a_window(cursor: PerformanceCursor) -> None:
    in_our_age(cursor.end)
    # Ours are, and a list goes on by it.
    if (
        cursor.end.tzinfo is not UTC
        or hour_of(cursor.end) != cursor.end
        or not 1 <= cursor.hours <= MOST_HOURS
        or cursor.sort not in ORDERS
    ):
        raise paging.NotACursor


class PerformancePageQuery(FleetWindowQuery):
    """Which vehicles, in which order, from where on."""

    sort = ma.fields.String(
        load_default="vehicleId",
        validate=ma.validate.OneOf(list(ORDERS)),
        metadata={
            "description": "The figure to sort by, with a minus from the largest down; "
            "nulls come last either way, ties go by vehicleId"
        },
    )
    limit = paging.limit("Vehicles")
    after = paging.CursorField(
        PerformanceCursor,
        validate=_of_a_window,
        metadata={
            "description": "`next` of the page before; goes on with its `sort`, `end` and `hours`",
            "format": "cursor",
        },
    )
    efficiencyBelow = NumberArgument(
        metadata={"description": "Only vehicles with an efficiency under this"},
    )
    warning = ma.fields.String(
        validate=ma.validate.OneOf(list(WARNINGS)),
        metadata={"description": "Only vehicles with this warning"},
    )

    @ma.post_load(pass_original=True)
    def _one_list(
        self, data: dict[str, Any], original: Mapping[str, Any], **_: Any
    ) -> dict[str, Any]:
        """Go on with a cursor's list; what it ended after says nothing in another, if one is named.

        Raises:
            ma.ValidationError: Another is.
        """
        after: PerformanceCursor | None = data.get("after")
        if after is None:
            return data
        if "sort" in original and after.sort != data["sort"]:
            raise ma.ValidationError(f"Belongs to sort={after.sort}.", "after")
        end = hour_of(data["end"]) if "end" in original else after.end
        hours = data["hours"] if "hours" in original else after.hours
        if (after.end, after.hours) != (end, hours):
            raise ma.ValidationError(
                f"Belongs to end={rfc3339(after.end)} and hours={after.hours}.", "after"
            )
        return data | {"sort": after.sort, "end": after.end, "hours": after.hours}


def _exact() -> dict[str, Any]:
    """Return the fields that say which window an answer is about, and up to when it is exact."""
    return window_fields() | {
        "exactUntil": Timestamp(
            attribute="exact_until",
            metadata={
                "description": "Every reading before then that has arrived is counted, and at "
                "`windowEnd` one on it, too; what came late after it counts from the next refresh "
                "on",
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
    """The window, and from when on a device is stale."""

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


# An hour of the fleet, its start included, its end not; the last has the window's end, too.
FleetHour = Answer.from_dict(
    {
        "start": Timestamp(
            metadata={"description": "Start of the hour", "example": "2024-02-10T09:00:00Z"}
        ),
        **figure_fields(FLEET_FIGURES),
    },
    name="FleetHour",
)
# The whole fleet over a window: sums over all devices, null where not known.
Fleet = Answer.from_dict(
    {
        **_exact(),
        **figure_fields(FLEET_FIGURES),
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
        "hours": ma.fields.List(
            ma.fields.Nested(FleetHour),
            metadata={"description": "The same by the hour; a step counts where it ends"},
        ),
    },
    name="Fleet",
)
