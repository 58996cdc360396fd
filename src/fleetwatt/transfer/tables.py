"""Small tables as CSV with a header, such as people keep in a spreadsheet."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from fleetwatt.transfer.formats import UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


def read_table(
    file: IO[str], required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of a table by its columns, with the number of its line, counted from 1.

    Columns stand in any order; an optional one that is missing is empty.

    Raises:
        UnreadableFile: It is no such table.
    """
    rows = csv.reader(file, strict=True)
    columns = [*required, *optional]
    try:
        header = [name.strip() for name in next(rows, [])]
        if len(set(header)) < len(header) or not set(required) <= set(header) <= set(columns):
            raise UnreadableFile(
                f"the first line must name {', '.join(required)}"
                + (f", and may name {', '.join(optional)}" if optional else "")
            )
        empty = dict.fromkeys(columns, "")
        for cells in rows:
            if not cells:
                continue
            if len(cells) != len(header):
                raise UnreadableFile(
                    f"line {rows.line_num} has {len(cells)} cells instead of {len(header)}"
                )
            cells_by_name = zip(header, (cell.strip() for cell in cells), strict=True)
            yield rows.line_num, empty | dict(cells_by_name)
    except csv.Error as error:
        raise UnreadableFile(f"line {rows.line_num}: {error}") from None
    except UnicodeDecodeError:
        raise UnreadableFile(f"what follows line {rows.line_num} is not UTF-8") from None


def write_table(file: IO[str], columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write a table with its header, and return how many rows it has."""
    out = csv.writer(file, lineterminator="\n")
    out.writerow(columns)
    written = 0
    for row in rows:
        out.writerow(row)
        written += 1
    return written


@contextmanager
def new_table(path: Path) -> Iterator[IO[str]]:
    """Write a file that takes its name when it is whole, and not before."""
    part = path.with_name(path.name + ".part")
    with part.open("x", encoding="utf-8", newline="") as file:
        try:
            yield file
            file.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
