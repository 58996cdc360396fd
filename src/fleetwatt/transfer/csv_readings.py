"""CSV, each line read as a reading in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fleetwatt.streams import STREAMS, TIMESTAMP, Stream
from fleetwatt.times import rfc3339
from fleetwatt.transfer.dialect import BadLine, Dialect, number_reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from fleetwatt.transfer.increments import Registers

_TEXTS = {TIMESTAMP.name, *(stream.id.name for stream in STREAMS)}
_FIELDS = {field.name for stream in STREAMS for field in stream.fields}
_NULLABLE = {
    stream: frozenset(field.name for field in stream.fields if field.nullable) for stream in STREAMS
}


class UnreadableFile(Exception):
    """The file can't be read as readings; the message says where and why."""


class CsvReadings:
    """Turns the lines of a CSV file into JSON; the columns may stand in any order.

    An empty cell is a value that is unknown where its field may say so by null, else a field that
    is not there: so streams may share a file.
    """

    def __init__(
        self, name: str, header: bytes, dialect: Dialect, registers: Registers | None
    ) -> None:
        """Read the header.

        Args:
            name: The file's.
            header: Its first line.
            dialect: How it is written.
            registers: What sums increments; None: the energy is a register.

        Raises:
            UnreadableFile: The header is not one of readings.
        """
        self._dialect = dialect
        self._registers = registers
        self._number = number_reader(dialect.decimal)
        self._columns = self._fields_of(name, header)
        constant_number = number_reader(".")
        self._constants = {
            field: b"null" if value == "null" else _json(value, constant_number(value), field)
            for field, value in dialect.constants
        }
        self._constant_texts = dict(dialect.constants)
        self._known = {*self._columns, *self._constants}
        if doubled := sorted(self._constants.keys() & set(self._columns)):
            raise UnreadableFile(f"{name} has what --set gives: {', '.join(doubled)}")
        check_columns(name, [*filter(None, self._columns), *self._constants])

    def __call__(self, line: bytes) -> bytes:
        """Return a line as JSON.

        Raises:
            BadLine: It can't be a reading.
        """
        cells = self._dialect.cells(line)
        if len(cells) != len(self._columns):
            raise BadLine(f"has {len(cells)} cells where the header has {len(self._columns)}")
        given = {
            field: cell for field, cell in zip(self._columns, cells, strict=True) if field and cell
        }
        stream = stream_of(given.keys() | self._constants.keys())
        fields = self._values(given)
        if self._registers and stream:
            self._sum(stream, given, fields)
        elif self._dialect.reads_times and TIMESTAMP.name in given:
            fields[TIMESTAMP.name] = _time(self._dialect, given)
        known = _FIELDS if stream is None else {field.name for field in stream.fields}
        fields |= {name: value for name, value in self._constants.items() if name in known}
        for name in unknown_of(stream, fields.keys()) & self._known:
            fields[name] = b"null"
        return (
            b"{" + b",".join(b'"%b":%b' % (name.encode(), fields[name]) for name in fields) + b"}"
        )

    def _fields_of(self, name: str, header: bytes) -> list[str]:
        """Return the field of each column, empty where it is left out."""
        try:
            columns = self._dialect.cells(header)
        except BadLine as bad:
            raise UnreadableFile(f"{name}: the header {bad}") from None
        renamed = dict(self._dialect.columns)
        if missing := [column for column in renamed if column not in columns]:
            raise UnreadableFile(
                f"{name}: the header {','.join(columns)} lacks what --column renames: "
                f"{', '.join(missing)}"
            )
        return [renamed.get(column, column) for column in columns]

    def _values(self, given: Mapping[str, str]) -> dict[str, bytes]:
        return {
            field: _json(cell, None if field in _TEXTS else self._number(cell), field)
            for field, cell in given.items()
        }

    def _sum(self, stream: Stream, given: dict[str, str], fields: dict[str, bytes]) -> None:
        """Put a register in the place of an increment."""
        counter = stream.counter.name
        increment = self._number(given.get(counter, ""))
        device = (self._constant_texts | given)[stream.id.name]
        assert self._registers  # noqa: S101 - as the caller knows
        time, fault = None, None
        if TIMESTAMP.name in given:
            try:
                time = self._dialect.time(given[TIMESTAMP.name])
            except BadLine as bad:
                fault = bad
        if increment is not None:
            fields[counter] = self._registers.add(stream, device, time, increment).encode()
        if fault:
            raise fault
        if time:
            fields[TIMESTAMP.name] = msgspec.json.encode(rfc3339(time))


def _time(dialect: Dialect, given: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(rfc3339(dialect.time(given[TIMESTAMP.name])))


def _json(cell: str, number: str | None, field: str) -> bytes:
    if field in _TEXTS or number is None:
        return msgspec.json.encode(cell)
    return number.encode()


def stream_of(given: Set[str]) -> Stream | None:
    """Return the stream of a reading that has these fields; None: of none, or of several."""
    named = [stream for stream in STREAMS if stream.id.name in given]
    return named[0] if len(named) == 1 else None


def unknown_of(stream: Stream | None, given: Set[str]) -> Set[str]:
    """Return which fields say by null that their value is unknown, of a reading that has these."""
    return frozenset() if stream is None else _NULLABLE[stream] - given


def check_columns(name: str, columns: Sequence[str]) -> None:
    """Make sure that a header has all required fields of a stream, and none of no stream.

    Raises:
        UnreadableFile: It does not; the message names the columns.
    """
    named = [stream for stream in STREAMS if stream.id.name in columns]
    ids = " or ".join(stream.id.name for stream in STREAMS)
    missing = [
        field.name
        for stream in named
        for field in stream.fields
        if not field.optional and field.name not in columns
    ]
    for problem, found in (
        ("has unknown columns", [column for column in columns if column not in _FIELDS]),
        ("has a column twice", sorted({column for column in columns if columns.count(column) > 1})),
        ("lacks the column", [] if named else [ids]),
        ("lacks the columns", list(dict.fromkeys(missing))),
    ):
        if found:
            raise UnreadableFile(f"{name}: the header {problem}: {', '.join(found)}")
