"""Small tables as CSV with a header, such as people keep in a spreadsheet."""

from __future__ import annotations

import csv
from typing import IO, TYPE_CHECKING, Any

import marshmallow as ma

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
    file: IO[str], columns: Sequence[str], required: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each line, counted from 1, and its cells that are not empty.

    Columns stand in any order; those that are not required may be missing.

    Raises:
        UnreadableTable: It is no CSV file with these columns.
    """
    reader = csv.reader(file, strict=True)
    try:
        header = _header(reader, columns, required)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise UnreadableTable(
                    f"line {reader.line_num} has {len(cells)} cells where the header has "
                    f"{len(header)}"
                )
            named = zip(header, cells, strict=True)
            yield reader.line_num, {name: cell for name, cell in named if cell}
    except UnicodeDecodeError:
        raise UnreadableTable("is not UTF-8") from None
    except csv.Error as error:
        raise UnreadableTable(f"is not CSV: line {reader.line_num}: {error}") from None


def _header(
    reader: Iterator[list[str]], columns: Sequence[str], required: Sequence[str]
) -> list[str]:
    header = next(reader, [])
    if header:
        # Spreadsheets begin UTF-8 with a byte order mark.
        header[0] = header[0].removeprefix("\ufeff")
    if len(set(header)) < len(header) or not set(required) <= set(header) <= set(columns):
        raise UnreadableTable(
            f"has the columns {','.join(header) or 'of no header'}; they may be "
            f"{','.join(columns)}, each once, and {','.join(required)} must be there"
        )
    return header


def valid_lines(
    lines: Iterable[tuple[int, Mapping[str, Any]]], schema: ma.Schema, problems: list[str]
) -> Iterator[tuple[int, Any]]:
    """Yield the lines that a schema accepts, as it loads them, and note why the others are none."""
    for number, cells in lines:
        try:
            loaded = schema.load(cells)
        except ma.ValidationError as error:
            problems += [
                f"line {number}: {field}: {text}"
                for field, texts in error.messages_dict.items()
                for text in texts
            ]
        else:
            yield number, loaded


def write_table(file: IO[str], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a table with its header, and return how many rows it has."""
    out = csv.writer(file, lineterminator="\n")
    out.writerow(columns)
    written = 0
    for row in rows:
        out.writerow(row)
        written += 1
    return written
