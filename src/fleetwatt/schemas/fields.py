"""What requests and answers are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

import marshmallow as ma
import msgspec

from fleetwatt.figures import Figure, Meaning
from fleetwatt.streams import ID_PATTERN, ID_RULE, TIMESTAMP, Field, Stream, is_id
from fleetwatt.times import rfc3339

_SPELLING = re.compile(r"[0-9.eE+-]+")
_LOST_PLUS = re.compile(r"\d \d\d:\d\d$")
NOT_A_TIME = "Not an RFC 3339 timestamp with an offset."


class Answer(ma.Schema):
    """What is answered: it has all of its fields always, null where a value is not known.

    A later release may add fields, which its clients are to ignore.

    Attributes:
        sometimes: Those of its fields that may be missing.
    """

    class Meta:
        """OpenAPI forbids no other fields by this."""

        unknown = ma.EXCLUDE

    sometimes: ClassVar[frozenset[str]] = frozenset()

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        """Have OpenAPI say so."""
        field_obj.required = field_name not in self.sometimes


def between(least: float, most: float | None = None) -> ma.validate.Range:
    """Check the bounds of an argument; the message names them and what came."""
    allowed = "at least {min}" if most is None else "from {min} to {max}"
    return ma.validate.Range(least, most, error=f"Must be {allowed}; {{input}} came.")


class Choice(ma.validate.OneOf):
    """One of some words, which OpenAPI has as an enum of its own.

    Attributes:
        enum: The enum's name.
    """

    def __init__(self, enum: str, choices: Iterable[str]) -> None:
        super().__init__(list(choices))
        self.enum = enum


class Identifier(ma.fields.String):
    """A device's id."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"pattern": f"^{ID_PATTERN}$", "minLength": 1, "maxLength": 64}
        kwargs["metadata"] = metadata | kwargs.get("metadata", {})
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str):
            raise ma.ValidationError("Not a string.")
        if not is_id(value):
            raise ma.ValidationError(f"Must be {ID_RULE}.")
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


class _ArgumentNumber(ma.fields.Number[Any]):
    """A number in ASCII digits: Python takes `1_0`, ` 10` and `１０` for ten, too."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not _SPELLING.fullmatch(value):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Flag(ma.fields.Boolean):
    """`true` or `false` in a URL; with `numbers`, 1 and 0 as well."""

    def __init__(self, *, numbers: bool = False, **kwargs: Any) -> None:
        yes, no = ({"true", "1"}, {"false", "0"}) if numbers else ({"true"}, {"false"})
        super().__init__(
            truthy=yes,
            falsy=no,
            error_messages={"invalid": "Must be true or false."},
            **kwargs,
        )


class WholeArgument(_ArgumentNumber, ma.fields.Integer):
    """A whole number in a URL."""


class NumberArgument(_ArgumentNumber, ma.fields.Float):
    """A finite number in a URL."""


class Timestamp(ma.fields.AwareDateTime):
    """RFC 3339 with an offset, read by the decoder's own parser; written in UTC with Z."""

    def __init__(self, *, in_url: bool = True, **kwargs: Any) -> None:
        """Make a field; one that never stands in a URL has no advice on how to write it there."""
        super().__init__(**kwargs)
        self._in_url = in_url

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            with suppress(msgspec.ValidationError, OverflowError):
                time = msgspec.convert(value, datetime)
                if time.tzinfo is not None:
                    return time.astimezone(UTC)
            if self._in_url and _LOST_PLUS.search(value):
                raise ma.ValidationError(
                    "Not an RFC 3339 timestamp with an offset: a + in a URL is written %2B."
                )
        raise ma.ValidationError(NOT_A_TIME)

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return None if value is None else rfc3339(value)


def in_our_age(time: datetime) -> None:
    """Reject a time that leaves no room to count with."""
    if not 1970 <= time.year <= 9000:
        raise ma.ValidationError("Must lie between the years 1970 and 9000.")


def window_fields() -> dict[str, ma.fields.Field[Any]]:
    """Return the fields windowStart and windowEnd of an answer about a window."""
    return {
        "windowStart": Timestamp(
            attribute="window_start",
            metadata={"description": "Start, included", "example": "2024-02-09T10:00:00Z"},
        ),
        "windowEnd": Timestamp(
            attribute="window_end",
            metadata={
                "description": "End, excluded, with `edges=readings` included",
                "example": "2024-02-10T10:00:00Z",
            },
        ),
    }


def bucket_fields() -> dict[str, ma.fields.Field[Any]]:
    """Return the fields start and end of a bucket."""
    return {
        "start": Timestamp(
            attribute="start",
            metadata={"description": "Start, included", "example": "2024-02-09T10:00:00Z"},
        ),
        "end": Timestamp(
            attribute="end",
            metadata={"description": "End, excluded", "example": "2024-02-09T11:00:00Z"},
        ),
    }


def schema_field(field: Field, **kwargs: Any) -> ma.fields.Field[Any]:
    description = f"{field.description} ({field.unit})" if field.unit else field.description
    metadata = {"description": description, "example": field.example}
    if field.unit:
        metadata["x-unit"] = field.unit
    match field.sql_type:
        case "text":
            return Identifier(metadata=metadata, **kwargs)
        case "timestamptz":
            return Timestamp(in_url=False, metadata=metadata, **kwargs)
    if field.minimum is not None or field.maximum is not None:
        # `explain` adds what came, as it was sent.
        kwargs["validate"] = ma.validate.Range(
            field.minimum, field.maximum, error="Must be from {min:g} to {max:g}."
        )
    return Number(metadata=metadata, **kwargs)


def reading_field(field: Field) -> ma.fields.Field[Any]:
    """Return a field as a reading is sent with it."""
    return schema_field(field, required=not field.optional, allow_none=field.nullable)


def json_order(stream: Stream) -> tuple[Field, ...]:
    return (stream.id, *stream.measures, TIMESTAMP)


def absent() -> None:
    """Return the default of a field that a request may leave out.

    OpenAPI does not have it as it is computed: with one, generated types would ask for the field.
    """


def optional(field: type[ma.fields.Field[Any]], description: str, **kwargs: Any) -> Any:
    example = kwargs.pop("example", None)
    metadata = {"description": description} | ({} if example is None else {"example": example})
    return field(metadata=metadata, allow_none=True, **kwargs)


def count(description: str, example: int, **kwargs: Any) -> ma.fields.Integer:
    return ma.fields.Integer(metadata={"description": description, "example": example}, **kwargs)


def quantity(
    description: str, unit: str, example: float, field: type[Any] = Number, **kwargs: Any
) -> Any:
    """Return the field of a number that may be unknown."""
    return field(
        **kwargs,
        allow_none=True,
        metadata={
            "description": f"{description} ({unit})" if unit else description,
            "example": example,
        }
        | ({"x-unit": unit} if unit else {}),
    )


def figure_fields(figures: Mapping[Figure, Meaning]) -> dict[str, ma.fields.Field[Any]]:
    """Return the fields of a summary's figures, by their names."""
    return {figure.name: _figure_field(figure, figures[figure]) for figure in figures}


def _figure_field(figure: Figure, meaning: Meaning) -> ma.fields.Field[Any]:
    if figure.is_count:
        return count(meaning.description, int(meaning.example), attribute=figure.column)
    field: ma.fields.Field[Any] = quantity(
        meaning.description, figure.unit, meaning.example, attribute=figure.column
    )
    return field
