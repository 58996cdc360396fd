"""Pages of lists that are too long for one answer: each starts where the one before ended."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, TypeVar

import marshmallow as ma
import msgspec

from fleetwatt.schemas.fields import WholeArgument, between

T = TypeVar("T")
GREATEST_ID = 2**63 - 1  # of what the database counts
NEXT = "Value of `after` for the next page; null: this is the last"


class NotACursor(ma.ValidationError):
    """What no page has given as its `next`."""

    def __init__(self) -> None:
        super().__init__("Not a `next` of an earlier page.")


class CursorField(ma.fields.String):
    """Where a page ended, as text that only fleetwatt reads."""

    def __init__(self, struct: type[msgspec.Struct], **kwargs: Any) -> None:
        """Describe a cursor that is an object of a struct."""
        super().__init__(**kwargs)
        self._decoder = msgspec.json.Decoder(struct)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            cursor = self._decoder.decode(base64.b64decode(value, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError):
            raise NotACursor from None
        times = (part for part in msgspec.structs.astuple(cursor) if isinstance(part, datetime))
        if any(time.utcoffset() for time in times):
            # Ours are in UTC; PostgreSQL reads no offset of 16 hours and more, as Python does.
            raise NotACursor
        return cursor

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return value and base64.urlsafe_b64encode(msgspec.json.encode(value)).decode()


def limit(what: str, default: int = 100, most: int = 1000) -> WholeArgument:
    """Return the argument that says how many of something a page holds at most."""
    return WholeArgument(
        load_default=default,
        validate=between(1, most),
        metadata={"description": f"{what} a page"},
    )


def cut(rows: list[T], size: int) -> tuple[list[T], T | None]:
    """Cut a page from rows of which one more was asked for.

    Returns:
        The page, and its last row where another page follows.
    """
    page = rows[:size]
    return page, page[-1] if len(rows) > size else None
