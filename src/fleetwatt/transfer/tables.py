"""Small tables as CSV with a header, such as people keep in a spreadsheet."""

from __future__ import annotations

import csv
import json
from typing import IO, TYPE_CHECKING, Any

import marshmallow as ma

from fleetwatt.schemas.fields import Number, Timestamp
from fleetwatt.times import rfc3339
from fleetwatt.transfer.dialect import BadLine, Dialect, number_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class UnreadableTable(Exception):
    """A file can't be read as the table that it should be; the message says where and why."""


class InvalidLines(Exception):
    """Lines of a table break its rules.

    Attributes:
        problems: What is wrong with which line, a sentence each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def read_table(
    file: IO[str], columns: Sequence[str], required: Sequence[str], dialect: Dialect
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each line, counted from 1, and its cells that are not empty.

    Columns stand in any order; those that are not required may be missing. What the dialect sets
    stands in each line.

    Raises:
        UnreadableTable: It is no CSV file with these columns.
    """
    reader = csv.reader(file, delimiter=dialect.delimiter, strict=True)
    constants = {name: value for name, value in dialect.constants if value != "null"}
    try:
        header = _header(reader, columns, required, dialect)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise UnreadableTable(
                    f"line {reader.line_num} has {len(cells)} cells where the header has "
                    f"{len(header)}"
                )
            named = zip(header, cells, strict=True)
            yield reader.line_num, {name: cell for name, cell in named if name and cell} | constants
    except UnicodeDecodeError:
        raise UnreadableTable("is not UTF-8") from None
    except csv.Error as error:
        raise UnreadableTable(f"is not CSV: line {reader.line_num}: {error}") from None


def _header(
    reader: Iterator[list[str]], columns: Sequence[str], required: Sequence[str], dialect: Dialect
) -> list[str]:
    """Return the field of each column, empty where it is left out."""
    header = next(reader, [])
    if header:
        # Spreadsheets begin UTF-8 with a byte order mark.
        header[0] = header[0].removeprefix("\ufeff")
    renamed = dict(dialect.columns)
    if missing := [column for column in renamed if column not in header]:
        raise UnreadableTable(
            f"has the columns {','.join(header)}, not what --column renames: {', '.join(missing)}"
        )
    header = [renamed.get(column, column) for column in header]
    constants = [name for name, _ in dialect.constants]
    named = [*filter(None, header), *constants]
    if len(set(named)) < len(named) or not set(required) <= set(named) <= set(columns):
        raise UnreadableTable(
            f"has the columns {','.join(named) or 'of no header'}; they may be "
            f"{','.join(columns)}, each once, and {','.join(required)} must be there"
        )
    return header


def valid_lines(
    lines: Iterable[tuple[int, Mapping[str, str]]],
    schema: ma.Schema,
    dialect: Dialect,
    problems: list[str],
) -> Iterator[tuple[int, Any]]:
    """Yield the lines that a schema accepts, as it loads them, and note why the others are none."""
    for number, cells in lines:
        try:
            loaded = schema.load(_values(cells, schema, dialect))
        except BadLine as bad:
            problems.append(f"line {number}: {bad.field}: {bad}")
        except ma.ValidationError as error:
            problems += [
                f"line {number}: {field}: {text}"
                for field, texts in error.messages_dict.items()
                for text in texts
            ]
        else:
            yield number, loaded


def _values(cells: Mapping[str, str], schema: ma.Schema, dialect: Dialect) -> dict[str, Any]:
    """Return a line's cells as the routes would get them: numbers and times as JSON has them.

    Raises:
        BadLine: A time can't be read; what is no number, the schema will say.
    """
    read_number = number_reader(dialect.decimal)
    values: dict[str, Any] = dict(cells)
    for name, cell in cells.items():
        field = schema.fields[name]
        if isinstance(field, Number) and (number := read_number(cell)) is not None:
            values[name] = json.loads(number)
        elif isinstance(field, Timestamp) and dialect.reads_times:
            try:
                values[name] = rfc3339(dialect.time(cell))
            except BadLine as bad:
                raise BadLine(str(bad), name) from None
    return values


def write_table(file: IO[str], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a table with its header, and return how many rows it has."""
    out = csv.writer(file, lineterminator="\n")
    out.writerow(columns)
    written = 0
    for row in rows:
        out.writerow(row)
        written += 1
    return written
