"""marshmallow schemas: of readings, derived from the streams, and of every answer."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
import msgspec

from fleetwatt.streams import ID_PATTERN, STREAMS, TIMESTAMP, Field, Stream


class Identifier(ma.fields.String):
    """A device's id."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"pattern": f"^{ID_PATTERN}$", "minLength": 1, "maxLength": 64}
        kwargs["metadata"] = metadata | kwargs.get("metadata", {})
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str):
            raise ma.ValidationError("Not a string.")
        if not re.fullmatch(ID_PATTERN, value):
            raise ma.ValidationError(
                "Must be 1 to 64 of A-Z a-z 0-9 . _ : - and start with a letter or digit."
            )
        return value


class Number(ma.fields.Float):
    """A finite JSON number: no string, no boolean."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ma.ValidationError("Not a number.")
        try:
            number = float(value)
        except OverflowError:
            raise ma.ValidationError("Not a finite number.") from None
        if not math.isfinite(number):
            raise ma.ValidationError("Not a finite number.")
        return number

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return value


class Timestamp(ma.fields.AwareDateTime):
    """RFC 3339 with an offset, read by the decoder's own parser; written in UTC with Z."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            with suppress(msgspec.ValidationError, OverflowError):
                time = msgspec.convert(value, datetime)
                if time.tzinfo is not None:
                    return time.astimezone(UTC)
        raise ma.ValidationError("Not an RFC 3339 timestamp with an offset.")

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return None if value is None else rfc3339(value)


def rfc3339(time: datetime) -> str:
    """Write a time in UTC with Z, as every answer does."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _schema_field(field: Field, **kwargs: Any) -> ma.fields.Field[Any]:
    description = f"{field.description} ({field.unit})" if field.unit else field.description
    metadata = {"description": description, "example": field.example}
    if field.unit:
        metadata["x-unit"] = field.unit
    match field.sql_type:
        case "text":
            return Identifier(metadata=metadata, **kwargs)
        case "timestamptz":
            return Timestamp(metadata=metadata, **kwargs)
    if field.minimum is not None or field.maximum is not None:
        kwargs["validate"] = ma.validate.Range(field.minimum, field.maximum)
    return Number(metadata=metadata, **kwargs)


def _json_order(stream: Stream) -> tuple[Field, ...]:
    return (stream.id, *stream.measures, TIMESTAMP)


def _reading_schema(stream: Stream) -> ma.Schema:
    fields = {each.name: _schema_field(each, required=True) for each in _json_order(stream)}
    return ma.Schema.from_dict(fields, name=f"{stream.name.title()}Reading")()


READING_SCHEMAS = {stream: _reading_schema(stream) for stream in STREAMS}


def _optional(field: type[ma.fields.Field[Any]], description: str, **kwargs: Any) -> Any:
    example = kwargs.pop("example", None)
    metadata = {"description": description} | ({} if example is None else {"example": example})
    return field(metadata=metadata, allow_none=True, **kwargs)


class IngestionError(ma.Schema):
    """What is wrong with one reading or argument."""

    index = _optional(
        ma.fields.Integer, "Which reading, counted from 0; null for an argument", example=0
    )
    field = _optional(ma.fields.String, "The field at fault; null for the whole", example="voltage")
    message = ma.fields.String(
        required=True, metadata={"description": "What is wrong", "example": "Not a number."}
    )


class Problem(ma.Schema):
    """An error, as RFC 9457 describes it."""

    type = ma.fields.String(
        required=True,
        metadata={"description": "Kind of problem", "example": "urn:fleetwatt:problem:not-found"},
    )
    title = ma.fields.String(
        required=True, metadata={"description": "The kind in words", "example": "Not found"}
    )
    status = ma.fields.Integer(
        required=True, metadata={"description": "HTTP status", "example": 404}
    )
    detail = ma.fields.String(
        required=True,
        metadata={"description": "What happened here", "example": "No vehicle V-1 is known."},
    )
    errors = ma.fields.List(
        ma.fields.Nested(IngestionError),
        metadata={"description": "The fields at fault, where fields are"},
    )


class IngestionResult(ma.Schema):
    """What became of the readings of a request."""

    accepted = ma.fields.Integer(
        required=True, metadata={"description": "Readings stored now", "example": 1}
    )
    duplicates = ma.fields.Integer(
        required=True,
        metadata={"description": "Readings that were stored before; success", "example": 0},
    )
    rejected = ma.fields.Integer(
        required=True, metadata={"description": "Invalid readings, not stored", "example": 0}
    )
    errors = ma.fields.List(
        ma.fields.Nested(IngestionError),
        required=True,
        metadata={"description": "What is wrong with the rejected ones", "example": []},
    )


class MappingRequest(ma.Schema):
    """Which meter a vehicle draws from."""

    vehicleId = Identifier(
        required=True, metadata={"description": "Id of the vehicle", "example": "V-999"}
    )
    meterId = Identifier(
        required=True, metadata={"description": "Id of the meter", "example": "M-123"}
    )
    validFrom = Timestamp(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "From when on; absent: always for a vehicle's first mapping, else now",
            "example": "2024-02-09T10:00:00Z",
        },
    )


class Mapping(ma.Schema):
    """A vehicle's time on a meter, [validFrom, validTo)."""

    vehicleId = Identifier(
        attribute="vehicle_id", metadata={"description": "Id of the vehicle", "example": "V-999"}
    )
    meterId = Identifier(
        attribute="meter_id", metadata={"description": "Id of the meter", "example": "M-123"}
    )
    validFrom = _optional(
        Timestamp,
        "Start; null: since ever",
        attribute="valid_from",
        example="2024-02-09T10:00:00Z",
    )
    validTo = _optional(
        Timestamp,
        "End, exclusive; null: open",
        attribute="valid_to",
        example="2024-02-10T10:00:00Z",
    )


class MappingQuery(ma.Schema):
    """Which mappings to list."""

    vehicleId = Identifier(metadata={"description": "Of this vehicle only"})
    meterId = Identifier(metadata={"description": "Of this meter only"})


class MappingList(ma.Schema):
    """Mappings, by vehicle and start."""

    items = ma.fields.List(
        ma.fields.Nested(Mapping), metadata={"description": "The mappings, oldest first"}
    )


def _status_schema(stream: Stream) -> type[ma.Schema]:
    fields = {each.name: _schema_field(each, attribute=each.column) for each in _json_order(stream)}
    fields["receivedAt"] = Timestamp(
        attribute="received_at",
        metadata={"description": "When it was stored", "example": "2024-02-09T10:00:01Z"},
    )
    fields["ageSeconds"] = Number(
        attribute="age_seconds",
        metadata={
            "description": "Time since the reading was taken (s)",
            "x-unit": "s",
            "example": 12.5,
        },
    )
    if stream.drawn_from:
        fields[stream.drawn_from.name] = _schema_field(
            stream.drawn_from, attribute=stream.drawn_from.column, allow_none=True
        )
    return ma.Schema.from_dict(fields, name=f"{stream.name.title()}Status")


STATUS_SCHEMAS = {stream: _status_schema(stream) for stream in STREAMS}
STATUS_PAGE_SCHEMAS = {
    stream: ma.Schema.from_dict(
        {
            "items": ma.fields.List(
                ma.fields.Nested(STATUS_SCHEMAS[stream]),
                metadata={"description": f"Status of {stream.plural}, by id"},
            ),
            "next": _optional(
                Identifier,
                "Value of `after` for the next page; null: this is the last",
                example=stream.id.example,
            ),
        },
        name=f"{stream.name.title()}StatusPage",
    )
    for stream in STREAMS
}


class PageQuery(ma.Schema):
    """A keyset page of devices."""

    limit = ma.fields.Integer(
        load_default=100,
        validate=ma.validate.Range(1, 1000),
        metadata={"description": "Devices a page"},
    )
    after = Identifier(
        load_default=None, metadata={"description": "Only devices with an id after this one"}
    )
    staleAfter = ma.fields.Float(
        load_default=None,
        allow_nan=False,
        validate=ma.validate.Range(0),
        metadata={
            "description": "Only devices whose newest reading is older than this (s)",
            "x-unit": "s",
        },
    )


def _in_our_age(time: datetime) -> None:
    if not 1970 <= time.year <= 9000:
        raise ma.ValidationError("Must lie between the years 1970 and 9000.")


class WindowQuery(ma.Schema):
    """The window of a summary, start < time <= end."""

    end = Timestamp(
        load_default=None,
        validate=_in_our_age,
        metadata={
            "description": "End of the window; default now",
            "example": "2024-02-10T10:00:00Z",
        },
    )
    hours = ma.fields.Integer(
        load_default=24,
        validate=ma.validate.Range(1, 744),
        metadata={"description": "Length of the window (h)", "x-unit": "h"},
    )


WARNINGS = {
    "no_mapping": "the vehicle was on no meter in the window",
    "no_readings": "the vehicle, or every meter of its, sent nothing in the window",
    "shared_meter": "another vehicle was on the same meter; the AC energy is the vehicle's share",
    "counter_reset": "a counter fell; the step that fell counts 0",
    "efficiency_above_one": "more DC energy came out than AC energy went in",
    "low_coverage": "fewer than 90 % of the readings expected arrived",
    "unmetered_energy": "DC energy was delivered outside of the vehicle's mappings",
}


def _figure(description: str, unit: str, example: float, field: type[Any] = Number) -> Any:
    return field(
        allow_none=True,
        metadata={
            "description": f"{description} ({unit})" if unit else description,
            "example": example,
        }
        | ({"x-unit": unit} if unit else {}),
    )


class Performance(ma.Schema):
    """Energy, efficiency and temperature of a vehicle over a window; null where not known."""

    vehicleId = Identifier(metadata={"description": "Id of the vehicle", "example": "V-999"})
    windowStart = Timestamp(
        metadata={"description": "Start, exclusive", "example": "2024-02-09T10:00:00Z"}
    )
    windowEnd = Timestamp(
        metadata={"description": "End, inclusive", "example": "2024-02-10T10:00:00Z"}
    )
    kwhConsumedAc = _figure("AC energy, the vehicle's share", "kWh", 12.3)
    kwhDeliveredDc = _figure("DC energy", "kWh", 10.1)
    kwhDeliveredDcMetered = _figure("DC energy while on a meter", "kWh", 10.1)
    efficiency = _figure("kwhDeliveredDcMetered / kwhConsumedAc", "", 0.821)
    avgBatteryTemp = _figure("Mean battery temperature", "°C", 31.2)
    meterIds = ma.fields.List(
        Identifier(), metadata={"description": "Its meters in the window", "example": ["M-123"]}
    )
    vehicleReadings = _figure("The vehicle's readings", "", 1440, ma.fields.Integer)
    meterReadings = _figure(
        "Readings of its meters while it was on them", "", 1440, ma.fields.Integer
    )
    vehicleCoverage = _figure("The vehicle's readings over those expected at one a minute", "", 1.0)
    meterCoverage = _figure(
        "The meters' readings over those expected at one a minute while it was on them", "", 1.0
    )
    counterResets = _figure(
        "Falls of the vehicle's and its meters' counters", "", 0, ma.fields.Integer
    )
    warnings = ma.fields.List(
        ma.fields.String(validate=ma.validate.OneOf(list(WARNINGS))),
        metadata={
            "description": "; ".join(f"`{name}`: {text}" for name, text in WARNINGS.items()),
            "example": [],
        },
    )


class Health(ma.Schema):
    """That the service lives, or is ready."""

    status = ma.fields.String(metadata={"description": "`ok`", "example": "ok"})
