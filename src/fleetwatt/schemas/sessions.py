"""Charging sessions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import marshmallow as ma
import msgspec

from fleetwatt.schemas import paging
from fleetwatt.schemas.analytics import warnings_field
from fleetwatt.schemas.fields import (
    Answer,
    Identifier,
    NumberArgument,
    Timestamp,
    between,
    in_our_age,
    optional,
    quantity,
    window_fields,
)
from fleetwatt.schemas.windows import SummaryQuery
from fleetwatt.streams import ID_PATTERN
from fleetwatt.times import rfc3339

PAUSE = timedelta(minutes=30)
MOST_PAUSE = timedelta(hours=24)


class SessionCursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The session after which a page ended, and the window of the list."""

    window_start: Annotated[datetime, msgspec.Meta(tz=True)]
    window_end: Annotated[datetime, msgspec.Meta(tz=True)]
    pause: Annotated[float, msgspec.Meta(ge=0, le=MOST_PAUSE.total_seconds())]
    site: str | None
    start: Annotated[datetime, msgspec.Meta(tz=True)]
    vehicle_id: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}\\Z")]


def _of_our_age(cursor: SessionCursor) -> None:
    for time in (cursor.window_start, cursor.window_end, cursor.start):
        in_our_age(time)
    if cursor.window_start >= cursor.window_end:
        raise paging.NotACursor


class SessionQuery(SummaryQuery):
    """Which sessions to list: those that touch a window."""

    pause = NumberArgument(
        load_default=PAUSE.total_seconds(),
        validate=between(0, MOST_PAUSE.total_seconds()),
        metadata={"description": "Longest pause inside a session (s)", "x-unit": "s"},
    )
    limit = paging.limit("Sessions")
    after = paging.CursorField(
        SessionCursor,
        validate=_of_our_age,
        metadata={
            "description": "`next` of the page before; goes on with its window and `pause`",
            "format": "cursor",
        },
    )

    @ma.post_load(pass_original=True)
    def _one_list(
        self, data: dict[str, Any], original: Mapping[str, Any], **_: Any
    ) -> dict[str, Any]:
        """Go on with a cursor's list.

        Raises:
            ma.ValidationError: The request names another list.
        """
        after: SessionCursor | None = data.get("after")
        if after is None:
            return data
        asked = {
            "start": (after.window_start, rfc3339(after.window_start)),
            "end": (after.window_end, rfc3339(after.window_end)),
            "pause": (after.pause, f"{after.pause:g}"),
            "site": (after.site, after.site),
        }
        for name, (value, shown) in asked.items():
            if name in original and data.get(name) != value:
                raise ma.ValidationError(f"Belongs to {name}={shown}.", "after")
        if "hours" in original and data["end"] - data["start"] != (
            after.window_end - after.window_start
        ):
            raise ma.ValidationError("Belongs to another window.", "after")
        return data | {name: value for name, (value, _) in asked.items()}


class FleetSessionQuery(SessionQuery):
    """Which sessions of all vehicles to list."""

    site = Identifier(metadata={"description": "Only vehicles of this site"})


class Session(Answer):
    """A vehicle's charging from start to end; its energies are those inside of the window."""

    vehicleId = Identifier(
        attribute="vehicle_id",
        metadata={"description": "Id of the vehicle", "example": "V-999"},
    )
    start = Timestamp(
        metadata={
            "description": "Start of its first charging step",
            "example": "2024-02-09T18:00:00Z",
        }
    )
    end = Timestamp(
        metadata={"description": "End of its last charging step", "example": "2024-02-09T22:10:00Z"}
    )
    open = ma.fields.Boolean(
        metadata={"description": "Whether its pause has not passed yet", "example": False}
    )
    meterId = optional(
        Identifier, "The meter that it is on; null: on none", attribute="meter_id", example="M-123"
    )
    kwhConsumedAc = quantity(
        "AC energy, the vehicle's share", "kWh", 12.3, attribute="kwh_consumed_ac"
    )
    kwhDeliveredDc = quantity("DC energy", "kWh", 10.1, attribute="kwh_delivered_dc")
    efficiency = quantity("kwhDeliveredDc / kwhConsumedAc", "", 0.82, attribute="efficiency")
    firstSoc = quantity("State of charge at its start", "%", 45, attribute="first_soc")
    lastSoc = quantity("State of charge at its end", "%", 71, attribute="last_soc")
    peakKw = quantity("Highest mean power over at least 5 minutes", "kW", 11.0, attribute="peak_kw")
    warnings = warnings_field()


def _page_fields() -> dict[str, Any]:
    return {
        "items": ma.fields.List(
            ma.fields.Nested(Session), metadata={"description": "The sessions, the oldest first"}
        ),
        "next": paging.CursorField(
            SessionCursor,
            allow_none=True,
            metadata={"description": paging.NEXT, "example": "WyIyMDI0Il0="},
        ),
    }


class Idle(Answer):
    """What a window has outside of all sessions."""

    kwhConsumedAc = quantity("AC energy", "kWh", 0.2, attribute="kwh_consumed_ac")
    kwhDeliveredDc = quantity("DC energy", "kWh", 0.0, attribute="kwh_delivered_dc")


SessionPage = Answer.from_dict({**window_fields(), **_page_fields()}, name="SessionPage")
VehicleSessionPage = Answer.from_dict(
    {
        "vehicleId": Identifier(
            attribute="vehicle_id",
            metadata={"description": "Id of the vehicle", "example": "V-999"},
        ),
        **window_fields(),
        **_page_fields(),
        "idle": ma.fields.Nested(
            Idle,
            metadata={
                "description": "The window's energies less those of all its sessions",
                "example": {"kwhConsumedAc": 0.2, "kwhDeliveredDc": 0.0},
            },
        ),
    },
    name="VehicleSessionPage",
)
