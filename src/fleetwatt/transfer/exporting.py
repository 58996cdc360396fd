"""Writes history to a file: a chunk at a time, in pages, so that memory does not grow with it."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleetwatt.times import rfc3339
from fleetwatt.transfer.formats import ParquetMissing

if TYPE_CHECKING:
    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row
    from fleetwatt.streams import Stream

    Write = Callable[[Sequence[Row]], None]

PAGE = 20_000  # readings
SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Selection:
    """Which readings: of a stream, with start <= time < end, of these devices or of all."""

    stream: Stream
    start: datetime | None = None
    end: datetime | None = None
    devices: tuple[str, ...] = ()


def spans(database: Database, selection: Selection) -> list[tuple[datetime, datetime]]:
    """Return the spans of time in which a selection may have readings, a chunk each."""
    found = database.query(
        f"{selection.stream.name}.export_spans", start=selection.start, end=selection.end
    )
    return [(row["since"], row["until"]) for row in found]


def export(
    database: Database, selection: Selection, span: tuple[datetime, datetime], write: Write
) -> int:
    """Write the readings of one span, by device and time, and return how many there were.

    Each page starts after the last key of the one before, so that it costs what it holds.
    """
    written = 0
    stream = selection.stream
    after: tuple[str, datetime] = ("", span[0])
    while True:
        page = database.query(
            f"{stream.name}.export_page",
            since=span[0],
            until=span[1],
            after_id=after[0],
            after_time=after[1],
            devices=list(selection.devices) or None,
            limit=PAGE,
        )
        if page:
            write(page)
        written += len(page)
        if len(page) < PAGE:
            return written
        after = (page[-1][stream.id.column], page[-1]["time"])


@contextmanager
def open_for_export(path: Path, stream: Stream) -> Iterator[Write]:
    """Write a file by its suffix; it takes the name when it is whole, and not before.

    Raises:
        ParquetMissing: It is Parquet, and pyarrow is not installed.
    """
    part = path.with_name(path.name + ".part")
    opened = _parquet if path.suffix.lower() == ".parquet" else _csv
    try:
        with opened(part, stream, compressed=path.suffix.lower() == ".gz") as write:
            yield write
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path, stream: Stream, *, compressed: bool) -> Iterator[Write]:
    with (
        gzip.open(path, "wb") if compressed else path.open("wb") as raw,
        io.TextIOWrapper(raw, encoding="ascii", newline="") as file,
    ):
        out = csv.writer(file, lineterminator="\n")
        out.writerow(field.name for field in stream.fields)

        def write(page: Sequence[Row]) -> None:
            for row in page:
                device, time, *measures = (row[column] for column in stream.columns)
                out.writerow((device, rfc3339(time), *measures))

        yield write


@contextmanager
def _parquet(path: Path, stream: Stream, *, compressed: bool) -> Iterator[Write]:  # noqa: ARG001
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ParquetMissing from None
    types = {"text": pa.string(), "timestamptz": pa.timestamp("us", tz="UTC")}
    schema = pa.schema(
        [(field.name, types.get(field.sql_type, pa.float64())) for field in stream.fields]
    )
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:

        def write(page: Sequence[Row]) -> None:
            columns = [[row[column] for row in page] for column in stream.columns]
            file.write_table(pa.table(columns, schema=schema))

        yield write
