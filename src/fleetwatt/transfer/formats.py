"""Files of readings: NDJSON, CSV and Parquet, each read as one reading a line of JSON.

A number keeps the spelling that it has in the file, so that a value is judged and stored as if
the same text had been posted.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from fleetwatt.ingestion.split import MAX_READINGS
from fleetwatt.streams import STREAMS, TIMESTAMP

MAX_LINE = 65_536  # bytes; a reading has some hundred
STDIN = "-"
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_TEXTS = {TIMESTAMP.name, *(stream.id.name for stream in STREAMS)}
_NULLABLE = {
    stream: frozenset(field.name for field in stream.fields if field.nullable) for stream in STREAMS
}
_FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".parquet": "parquet"}
Convert = Callable[[bytes], bytes]


class UnreadableFile(Exception):
    """The file can't be read as readings; the message says where and why."""


class ParquetMissing(Exception):
    """Parquet needs pyarrow: install it with `pip install 'fleetwatt[parquet]'`."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class _BadLine(Exception):
    """A line that can't be turned into JSON."""


@dataclass(frozen=True)
class Line:
    """A line that may hold a reading.

    Attributes:
        number: Counted from 1, a header included; in Parquet the row.
        content: The reading as JSON, or what the file says where there is a problem.
        problem: Why the content can't be a reading.
    """

    number: int
    content: bytes
    problem: str | None = None


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
def opened(name: str, stdin: IO[bytes]) -> Iterator[ReadingsFile]:
    """Open a file, or standard input as `-`; gzip is seen by its first bytes.

    Raises:
        UnreadableFile: It is empty, an array, or its header is not one of readings.
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
            read = _reader(name, content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFile(f"{name} can't be decompressed: {error}") from None
        # A position in standard input means nothing, and asking a pipe for it fails.
        yield ReadingsFile(read, (lambda: 0) if name == STDIN else raw.tell)


def _reader(
    name: str, content: io.BufferedReader[Any]
) -> Callable[[Position], Iterator[LineBatch]]:
    beginning = content.peek(1)
    if not beginning:
        raise UnreadableFile(f"{name} is empty")
    convert: Convert = bytes
    head = Position()
    match _FORMATS.get(Path(name.removesuffix(".gz")).suffix.lower()) or _sniffed(beginning):
        case "array":
            raise UnreadableFile(f"{name} is a JSON array: write one reading a line (NDJSON)")
        case "parquet":
            return lambda start: _parquet_batches(name, content, start)
        case "csv":
            _, header, _ = next(_lines(content, head), (0, b"", None))
            convert = _csv_converter(name, header)

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
    content = line.strip()
    if problem:
        return Line(number, content[:200], problem)
    try:
        return Line(number, convert(content))
    except _BadLine as bad:
        return Line(number, content, str(bad))


def _csv_converter(name: str, header: bytes) -> Convert:
    """Return what turns a line into JSON; the columns may stand in any order.

    An empty cell is a value that is unknown where its field may say so by null, else a field that
    is not there: so streams may share a file.
    """
    try:
        columns = _cells(header.removeprefix(_BOM).strip())
    except _BadLine as bad:
        raise UnreadableFile(f"{name}: the header {bad}") from None
    _check_columns(name, columns)
    keys = [msgspec.json.encode(column) + b":" for column in columns]
    texts = [column in _TEXTS for column in columns]

    def convert(line: bytes) -> bytes:
        cells = _cells(line)
        if len(cells) != len(columns):
            raise _BadLine(f"has {len(cells)} cells where the header has {len(columns)}")
        unknown = _unknown({column for column, cell in zip(columns, cells, strict=True) if cell})
        fields = (
            key + (_json(cell, is_text=is_text) if cell else b"null")
            for column, key, cell, is_text in zip(columns, keys, cells, texts, strict=True)
            if cell or column in unknown
        )
        return b"{" + b",".join(fields) + b"}"

    return convert


def _unknown(given: Set[str]) -> Set[str]:
    """Return which fields say by null that their value is unknown, of a reading that has these."""
    named = [stream for stream in STREAMS if stream.id.name in given]
    return _NULLABLE[named[0]] - given if len(named) == 1 else frozenset()


def _cells(line: bytes) -> list[str]:
    # Line by line: no field of a reading can hold a line break, and so a quote that is never
    # closed costs its own line alone.
    try:
        return next(csv.reader([line.decode()], strict=True), [])
    except UnicodeDecodeError:
        raise _BadLine("is not UTF-8") from None
    except csv.Error as error:
        raise _BadLine(f"is not CSV: {error}") from None


def _json(cell: str, *, is_text: bool) -> bytes:
    if not is_text and _JSON_NUMBER.fullmatch(cell):
        return cell.encode()
    return msgspec.json.encode(cell)


def _check_columns(name: str, columns: list[str]) -> None:
    """Make sure that a header has all required fields of a stream, and none of no stream."""
    known = {field.name for stream in STREAMS for field in stream.fields}
    named = [stream for stream in STREAMS if stream.id.name in columns]
    ids = " or ".join(stream.id.name for stream in STREAMS)
    missing = [
        field.name
        for stream in named
        for field in stream.fields
        if not field.optional and field.name not in columns
    ]
    for problem, found in (
        ("has unknown columns", [column for column in columns if column not in known]),
        ("has a column twice", sorted({column for column in columns if columns.count(column) > 1})),
        ("lacks the column", [] if named else [ids]),
        ("lacks the columns", list(dict.fromkeys(missing))),
    ):
        if found:
            raise UnreadableFile(f"{name}: the header {problem}: {', '.join(found)}")


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
        _check_columns(name, file.schema_arrow.names)
        for records in file.iter_batches(batch_size=MAX_READINGS):
            first, row = row + 1, row + len(records)
            if row > start.line:
                lines = [_line_of(*numbered) for numbered in enumerate(records.to_pylist(), first)]
                yield LineBatch(Position(row, row), lines)
    except pa.ArrowException as error:
        raise UnreadableFile(f"{name} can't be read as Parquet: {error}") from None


def _line_of(number: int, row: dict[str, Any]) -> Line:
    given = {name: value for name, value in row.items() if value is not None}
    unknown = row.keys() & _unknown(given.keys())
    return Line(number, msgspec.json.encode(given | dict.fromkeys(unknown)))
