"""Files of readings: NDJSON, CSV and Parquet, each read as one reading a line of JSON.

A number keeps its digits, so that a value is judged and stored as if the same text had been
posted.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from fleetwatt.ingestion.split import MAX_READINGS
from fleetwatt.transfer.csv_readings import (
    CsvReadings,
    UnreadableFile,
    check_columns,
    stream_of,
    unknown_of,
)
from fleetwatt.transfer.dialect import BadLine, Dialect

if TYPE_CHECKING:
    from fleetwatt.transfer.increments import Registers

MAX_LINE = 65_536  # bytes; a reading has some hundred
STDIN = "-"
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"
_FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".parquet": "parquet"}
Convert = Callable[[bytes], bytes]


class ParquetMissing(Exception):
    """Parquet needs pyarrow: install it with `pip install 'fleetwatt[parquet]'`."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True)
class Line:
    """A line that may hold a reading.

    Attributes:
        number: Counted from 1, a header included; in Parquet the row.
        content: The reading as JSON, or what the file says where there is a problem.
        problem: Why the content can't be a reading.
        field: The field that the problem is about; None: all of the line.
    """

    number: int
    content: bytes
    problem: str | None = None
    field: str | None = None


@dataclass
class Position:
    """How far a file has been read: lines, and bytes after decompression (in Parquet rows)."""

    line: int = 0
    offset: int = 0


@dataclass
class LineBatch:
    """Up to `MAX_READINGS` lines, and where the next one starts."""

    position: Position
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class ReadingsFile:
    """An open file of readings.

    Attributes:
        read: Returns its batches from a position on.
        consumed: How many bytes of the file itself, maybe compressed, have been read.
    """

    read: Callable[[Position], Iterator[LineBatch]]
    consumed: Callable[[], int]


@contextmanager
def opened(
    name: str, stdin: IO[bytes], dialect: Dialect, registers: Registers | None = None
) -> Iterator[ReadingsFile]:
    """Open a file, or standard input as `-`; gzip is seen by its first bytes.

    Args:
        name: The file's.
        stdin: Standard input.
        dialect: How it is written, where it is CSV.
        registers: What sums the dialect's increments.

    Raises:
        UnreadableFile: It is empty, an array, or its header is not one of readings; or it is not
            CSV and the dialect is not the default.
    """
    with ExitStack() as closing:
        raw: io.BufferedReader[Any] = (
            io.BufferedReader(stdin)
            if name == STDIN
            else closing.enter_context(Path(name).open("rb"))
        )
        content = raw
        if raw.peek(2).startswith(_GZIP):
            content = io.BufferedReader(closing.enter_context(gzip.GzipFile(fileobj=raw)))
        try:
            read = _reader(name, content, dialect, registers)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFile(f"{name} can't be decompressed: {error}") from None
        # A position in standard input means nothing, and asking a pipe for it fails.
        yield ReadingsFile(read, (lambda: 0) if name == STDIN else raw.tell)


def _reader(
    name: str, content: io.BufferedReader[Any], dialect: Dialect, registers: Registers | None
) -> Callable[[Position], Iterator[LineBatch]]:
    beginning = content.peek(1)
    if not beginning:
        raise UnreadableFile(f"{name} is empty")
    convert: Convert = bytes
    head = Position()
    kind = _FORMATS.get(Path(name.removesuffix(".gz")).suffix.lower()) or _sniffed(beginning)
    if kind != "csv" and dialect != Dialect():
        raise UnreadableFile(f"{name} is not CSV: the options for CSV say nothing about it")
    match kind:
        case "array":
            raise UnreadableFile(f"{name} is a JSON array: write one reading a line (NDJSON)")
        case "parquet":
            return lambda start: _parquet_batches(name, content, start)
        case "csv":
            _, header, _ = next(_lines(content, head), (0, b"", None))
            convert = CsvReadings(name, header.removeprefix(_BOM).strip(), dialect, registers)

    def read(start: Position) -> Iterator[LineBatch]:
        if start.line:
            content.seek(start.offset)
        return _text_batches(content, start if start.line else head, convert)

    return read


def _sniffed(head: bytes) -> str:
    start = head.removeprefix(_BOM).lstrip()[:1]
    if head.startswith(_PARQUET):
        return "parquet"
    return {b"{": "ndjson", b"[": "array"}.get(start, "csv")


def _lines(content: IO[bytes], position: Position) -> Iterator[tuple[int, bytes, str | None]]:
    """Yield number, content and problem of each line that isn't blank, moving the position."""
    while line := content.readline(MAX_LINE):
        position.line += 1
        position.offset += len(line)
        problem = None
        rest = line
        while not rest.endswith(b"\n") and (rest := content.readline(MAX_LINE)):
            position.offset += len(rest)
            problem = f"is longer than {MAX_LINE:,} bytes"
        # Of files that were joined, any line may begin with one.
        line = line.removeprefix(_BOM)
        if line.strip():
            yield position.line, line, problem


def _text_batches(
    content: io.BufferedReader[Any], start: Position, convert: Convert
) -> Iterator[LineBatch]:
    position = Position(start.line, start.offset)
    batch = LineBatch(position)
    broken = None
    try:
        for number, line, problem in _lines(content, position):
            batch.lines.append(_line(number, line, problem, convert))
            if len(batch.lines) == MAX_READINGS:
                yield LineBatch(Position(position.line, position.offset), batch.lines)
                batch = LineBatch(position)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        broken = UnreadableFile(f"can't be decompressed after line {position.line}: {error}")
    if batch.lines:
        yield batch
    if broken:
        raise broken


def _line(number: int, line: bytes, problem: str | None, convert: Convert) -> Line:
    # Not of tabs, which may stand for empty cells.
    content = line.strip(b" \r\n")
    if problem:
        return Line(number, content[:200], problem)
    try:
        return Line(number, convert(content))
    except BadLine as bad:
        return Line(number, content, str(bad), bad.field)


def _parquet_batches(
    name: str, content: io.BufferedReader[Any], start: Position
) -> Iterator[LineBatch]:
    if name == STDIN:
        raise UnreadableFile("Parquet can't be read from standard input: name a file")
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ParquetMissing from None
    row = 0
    try:
        file = parquet.ParquetFile(content)
        check_columns(name, file.schema_arrow.names)
        for records in file.iter_batches(batch_size=MAX_READINGS):
            first, row = row + 1, row + len(records)
            if row > start.line:
                lines = [_line_of(*numbered) for numbered in enumerate(records.to_pylist(), first)]
                yield LineBatch(Position(row, row), lines)
    except pa.ArrowException as error:
        raise UnreadableFile(f"{name} can't be read as Parquet: {error}") from None


def _line_of(number: int, row: dict[str, Any]) -> Line:
    given = {name: value for name, value in row.items() if value is not None}
    unknown = row.keys() & unknown_of(stream_of(given.keys()), given.keys())
    return Line(number, msgspec.json.encode(given | dict.fromkeys(unknown)))
