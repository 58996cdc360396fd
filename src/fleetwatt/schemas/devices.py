"""The register: what people say of a device, and of a site."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma

from fleetwatt import calendar
from fleetwatt.schemas import paging
from fleetwatt.schemas.fields import Answer, Identifier, Number, between, optional, quantity

MOST_NAME = 200  # characters
DEFAULT_INTERVAL = 60.0  # seconds
# From a reading every millisecond, to one a month.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.001, 31 * 86_400.0  # seconds
# Whatever a device's power is, sums and products of it stay within a double.
LEAST_KW, MOST_KW = 1e-6, 1e12
_ZONE = "IANA name of the time zone that its local days are of"
# On one line: no control characters, no breaks of lines and paragraphs.
_NAME_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$"
_is_name = re.compile(r"[^\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+").fullmatch


class Name(ma.fields.String):
    """What people call something, on one line."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"minLength": 1, "maxLength": MOST_NAME, "pattern": _NAME_PATTERN}
        kwargs["metadata"] = metadata | kwargs.get("metadata", {})
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str):
            raise ma.ValidationError("Not a string.")
        if len(value) > MOST_NAME or not _is_name(value):
            raise ma.ValidationError(
                f"Must be 1 to {MOST_NAME} characters on one line, without control characters."
            )
        return value


class TimeZone(ma.fields.String):
    """The IANA name of a time zone."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str) or value not in calendar.NAMES:
            raise ma.ValidationError("Must be an IANA time zone, such as Europe/Berlin.")
        return value


class DeviceEntry(ma.Schema):
    """All that the register says of a device: what is left out, or null, is at its default."""

    name = optional(Name, "What people call it; null: nothing", example="Bay 7")
    site = optional(Identifier, "Id of its site; null: none", example="S-1")
    intervalSeconds = quantity(
        f"Time between two of its readings; null: {DEFAULT_INTERVAL:.0f}",
        "s",
        900,
        attribute="interval_seconds",
        validate=between(SHORTEST_INTERVAL, LONGEST_INTERVAL),
    )
    maxKw = quantity(
        "Highest power that it can have; null: FLEETWATT_MAX_KW",
        "kW",
        22,
        attribute="max_kw",
        validate=between(LEAST_KW, MOST_KW),
    )


class Device(Answer):
    """What the register says of a device, with the defaults where it says nothing."""

    id = Identifier(metadata={"description": "Id of the device", "example": "M-123"})
    name = optional(Name, "What people call it; null: nothing", example="Bay 7")
    site = optional(Identifier, "Id of its site; null: none", example="S-1")
    intervalSeconds = Number(
        attribute="interval_seconds",
        metadata={
            "description": "Time between two of its readings (s)",
            "x-unit": "s",
            "example": 900,
        },
    )
    maxKw = Number(
        attribute="max_kw",
        metadata={
            "description": "Highest power that it can have (kW)",
            "x-unit": "kW",
            "example": 22,
        },
    )


class SiteEntry(ma.Schema):
    """All that is said of a site: what is left out is at its default."""

    name = optional(Name, "What people call it; null: nothing", example="Depot North")
    timeZone = optional(
        TimeZone,
        f"{_ZONE}; null: {calendar.DEFAULT_ZONE}",
        attribute="time_zone",
        example="Europe/Berlin",
    )


class Site(Answer):
    """A depot or a car park."""

    id = Identifier(metadata={"description": "Id of the site", "example": "S-1"})
    name = optional(Name, "What people call it; null: nothing", example="Depot North")
    timeZone = ma.fields.String(
        attribute="time_zone",
        metadata={"description": _ZONE, "example": "Europe/Berlin"},
    )


class SitePageQuery(ma.Schema):
    """A keyset page of sites."""

    limit = paging.limit("Sites")
    after = Identifier(metadata={"description": "Only sites with an id after this one"})


class DevicePageQuery(ma.Schema):
    """A keyset page of devices, all or those of a site."""

    limit = paging.limit("Devices")
    after = Identifier(metadata={"description": "Only devices with an id after this one"})
    site = Identifier(metadata={"description": "Only devices of this site"})
    id = Identifier(
        metadata={"description": "Only this device: one entry, or none where it has none"}
    )


def _page(entries: type[Answer], description: str, example: str) -> type[ma.Schema]:
    return Answer.from_dict(
        {
            "items": ma.fields.List(
                ma.fields.Nested(entries), metadata={"description": description}
            ),
            "next": optional(Identifier, paging.NEXT, example=example),
        },
        name=f"{entries.__name__}Page",
    )


DevicePage = _page(Device, "The entries, by id", "M-123")
SitePage = _page(Site, "The sites, by id", "S-1")
