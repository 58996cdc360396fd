"""The streams: all that is known of a kind of reading, in one place.

The decoder, the marshmallow schemas, the OpenAPI text, the column order and the SQL's names
derive from these entries: a third stream is one more entry and what CONTRIBUTING.md lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

# As OCPP's identifiers and EVSE ids are made, too: `RDAM|123`, `DE*ABC*E123`. Array literals, CSV
# and lists with commas take each of these characters as it is.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:*|@+-]{0,63}"
_is_id = re.compile(ID_PATTERN).fullmatch
ID_RULE = "1 to 64 of A-Z a-z 0-9 . _ : - * | @ +, starting with a letter or digit"


def is_id(text: str) -> bool:
    """Whether a device may have this id."""
    return bool(_is_id(text))


@dataclass(frozen=True)
class Field:
    """A field of a reading: its name in JSON, its column, and what it may hold.

    Attributes:
        sql_type: PostgreSQL's name of the column's type.
        minimum, maximum: Bounds of a number, both allowed; None for no bound.
        optional: Whether a reading may leave it out; its value is unknown then.
        nullable: Whether a reading may say by null that its value is unknown.
        statistics: What a series has of a measure in each bucket, of `STATISTICS`.
    """

    name: str
    column: str
    description: str
    example: Any
    sql_type: str = "double precision"
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False
    nullable: bool = False
    statistics: tuple[str, ...] = ()

    @property
    def may_be_unknown(self) -> bool:
        """Whether NULL is stored where the value is unknown."""
        return self.optional or self.nullable


# What a series may have of a measure in a bucket, in words.
STATISTICS = {
    "first": "at the first reading",
    "last": "at the last reading",
    "min": "least",
    "avg": "mean",
    "max": "greatest",
}


@dataclass(frozen=True)
class Statistic:
    """What a series has of a measure in a bucket, as in `minVoltage`; `kind` is of `STATISTICS`."""

    kind: str
    measure: Field

    @property
    def name(self) -> str:
        return f"{self.kind}{self.measure.name[0].upper()}{self.measure.name[1:]}"

    @property
    def column(self) -> str:
        return f"{self.kind}_{self.measure.column}"


def _id(device: str, example: str) -> Field:
    return Field(f"{device}Id", f"{device}_id", f"Id of the {device}", example, sql_type="text")


MAX_AHEAD = timedelta(minutes=5)  # of a device's clock, before the server's
TIMESTAMP = Field(
    "timestamp",
    "time",
    "When the reading was taken: RFC 3339 with an offset; at most "
    f"{MAX_AHEAD.seconds // 60} minutes ahead of the server and not older than raw retention",
    "2024-02-09T10:00:00Z",
    sql_type="timestamptz",
)


@dataclass(frozen=True, eq=False)
class Stream:
    """A kind of reading and the names of what the database keeps of it.

    Attributes:
        name: The stream's word, also the last part of its ingestion route.
        plural: The devices, as in the status routes.
        id: The field that names the device.
        measures: The numbers of a reading, in the order of their columns.
        counter: The one of them that is a cumulative register, in kWh.
        mean: The one of them whose mean is known of a device's and the fleet's windows.
        drawn_from: For a device that is mapped to another, the field that names the other.
    """

    name: str
    plural: str
    description: str
    id: Field
    measures: tuple[Field, ...]
    counter: Field
    mean: Field
    drawn_from: Field | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, in the order of the columns."""
        return (self.id, TIMESTAMP, *self.measures)

    @property
    def optional(self) -> tuple[Field, ...]:
        """Those that a reading may leave out."""
        return tuple(field for field in self.fields if field.optional)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.column for field in self.fields)

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What a series has of each bucket, besides the counter's energy."""
        return tuple(
            Statistic(kind, measure) for measure in self.measures for kind in measure.statistics
        )

    @property
    def history(self) -> str:
        return f"{self.name}_telemetry"

    @property
    def latest(self) -> str:
        return f"{self.plural}_latest"

    @property
    def hourly(self) -> str:
        return f"{self.name}_hourly"

    @property
    def aggregates(self) -> tuple[str, ...]:
        """What is made of history."""
        return (self.hourly,)

    @property
    def tables(self) -> tuple[str, ...]:
        """History and the aggregates: what grows with time."""
        return self.history, *self.aggregates

    @property
    def status(self) -> str:
        return f"{self.name}_status"


# Sums and products of any number of these stay within a double (decision 27).
_MOST = 1e100

_AC = Field(
    "kwhConsumedAc",
    "kwh_consumed_ac",
    "Cumulative AC energy register, as on the meter's face",
    1050.5,
    unit="kWh",
    minimum=0,
    maximum=_MOST,
)
_DC = Field(
    "kwhDeliveredDc",
    "kwh_delivered_dc",
    "Cumulative DC energy register of the vehicle",
    850.2,
    unit="kWh",
    minimum=0,
    maximum=_MOST,
)
_VOLTAGE = Field(
    "voltage",
    "voltage",
    "Grid voltage",
    230,
    unit="V",
    minimum=0,
    maximum=_MOST,
    nullable=True,
    statistics=("min", "avg", "max"),
)
_BATTERY_TEMP = Field(
    "batteryTemp",
    "battery_temp",
    "Battery temperature",
    32.5,
    unit="°C",
    minimum=-60,
    maximum=150,
    nullable=True,
    statistics=("min", "avg", "max"),
)

METER = Stream(
    name="meter",
    plural="meters",
    description="Grid side (AC): a smart meter's reading",
    id=_id("meter", "M-123"),
    measures=(_AC, _VOLTAGE),
    counter=_AC,
    mean=_VOLTAGE,
)
VEHICLE = Stream(
    name="vehicle",
    plural="vehicles",
    description="Vehicle side (DC): an electric vehicle's reading",
    id=_id("vehicle", "V-999"),
    measures=(
        Field(
            "soc",
            "soc",
            "State of charge",
            45,
            unit="%",
            minimum=0,
            maximum=100,
            nullable=True,
            statistics=("first", "last", "min", "max"),
        ),
        _DC,
        _BATTERY_TEMP,
    ),
    counter=_DC,
    mean=_BATTERY_TEMP,
    drawn_from=METER.id,
)
STREAMS: tuple[Stream, ...] = (METER, VEHICLE)


@dataclass
class Rows:
    """Valid readings of one stream, each a tuple in the order of `stream.columns`."""

    stream: Stream
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)
