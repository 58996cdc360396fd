"""Writes history to a file: a chunk at a time, in pages, so that memory does not grow with it."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, cast

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
def writing(file: IO[bytes], suffix: str, stream: Stream) -> Iterator[Write]:
    """Write readings to an open file, as the suffix of its name says.

    Raises:
        ParquetMissing: It is Parquet, and pyarrow is not installed.
    """
    match suffix.lower():
        case ".parquet":
            written = _parquet(file, stream)
        case ".gz":
            written = _gzipped_csv(file, stream)
        case _:
            written = _csv(file, stream)
    with written as write:
        yield write


@contextmanager
def _gzipped_csv(file: IO[bytes], stream: Stream) -> Iterator[Write]:
    with (
        gzip.GzipFile(fileobj=file, mode="wb") as compressed,
        _csv(cast("IO[bytes]", compressed), stream) as write,
    ):
        yield write


@contextmanager
def _csv(raw: IO[bytes], stream: Stream) -> Iterator[Write]:
    file = io.TextIOWrapper(raw, encoding="ascii", newline="")
    out = csv.writer(file, lineterminator="\n")
    out.writerow(field.name for field in stream.fields)

    def write(page: Sequence[Row]) -> None:
        for row in page:
            device, time, *measures = (row[column] for column in stream.columns)
            out.writerow((device, rfc3339(time), *measures))

    try:
        yield write
    finally:
        # The caller opened it, and closes it.
        file.detach()


@contextmanager
def _parquet(raw: IO[bytes], stream: Stream) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ParquetMissing from None
    types = {"text": pa.string(), "timestamptz": pa.timestamp("us", tz="UTC")}
    schema = pa.schema(
        [(field.name, types.get(field.sql_type, pa.float64())) for field in stream.fields]
    )
    with parquet.ParquetWriter(raw, schema, compression="zstd") as file:

        def write(page: Sequence[Row]) -> None:
            columns = [[row[column] for row in page] for column in stream.columns]
            file.write_table(pa.table(columns, schema=schema))

        yield write
