"""Stores the readings of a file by the rules of the ingestion routes, and can be interrupted.

After each commit a checkpoint beside the file says how far it went; the next run resumes there.
Without a checkpoint only time is lost: a reading that is there already is not stored twice.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from fleetwatt.database.client import BEGINNING
from fleetwatt.ingestion import outcome
from fleetwatt.ingestion.decode import Bounds, Parsed, parse_ndjson
from fleetwatt.lifecycle import policies
from fleetwatt.schemas.fields import NOT_A_TIME
from fleetwatt.streams import MAX_AHEAD, STREAMS, Rows, Stream
from fleetwatt.times import DAY, HOUR, format_minute, hour_of
from fleetwatt.transfer.increments import Sums

if TYPE_CHECKING:
    from fleetwatt.database.client import Database
    from fleetwatt.transfer.formats import Line, LineBatch, Position


_REJECTION = {"line", "field", "reason", "text"}


class TooOld(Exception):
    """A file holds history that is older than retention."""


class ForeignFile(Exception):
    """A file has the name of one that an import makes, and no import has made it."""


@dataclass
class Progress:
    """What became of a file's lines so far, as the checkpoint keeps it.

    Attributes:
        line, offset: The position up to which the file has been stored.
        rejected_bytes: Size of the file of rejected lines.
        spans: The first and the last time that was stored, by the stream's name.
        sums: The registers that increments make, as `Registers` has them.
    """

    line: int = 0
    offset: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    rejected_bytes: int = 0
    spans: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    sums: Sums = field(default_factory=dict)

    def add_span(self, rows: Rows) -> None:
        """Widen a stream's span by the times of some rows."""
        name = rows.stream.name
        times = [*_times(rows), *self.spans.get(name, ())]
        self.spans[name] = (min(times), max(times))


class Checkpoint:
    """How far an import of a file into a database went, in a file beside it.

    It counts for the same file alone, by size and time of its last change, and for the same
    database. A file of that name that no import made stays as it is.

    Raises:
        ForeignFile: There is such a file, or a link.
    """

    def __init__(self, file: Path, database: str) -> None:
        self.path = file.with_name(file.name + ".checkpoint")
        about = file.stat()
        self.size = about.st_size
        self._of = f"{self.size} {about.st_mtime_ns} {database}"
        self._saved = self._read()

    def load(self) -> Progress | None:
        """Return the progress of an earlier run, or None where there is nothing to resume."""
        return self._saved[1] if self._saved and self._saved[0] == self._of else None

    def _read(self) -> tuple[str, Progress] | None:
        try:
            with open(self.path, "rb", opener=_without_links) as file:
                saved = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._foreign() from error
        try:
            return msgspec.json.decode(saved, type=tuple[str, Progress]) if saved else None
        except msgspec.DecodeError as error:
            raise self._foreign() from error

    def _foreign(self) -> ForeignFile:
        return ForeignFile(f"{self.path} is no checkpoint of an import: move it away")

    def save(self, progress: Progress) -> None:
        """Replace the progress in one step, so that a crash leaves the one before."""
        handle, new = tempfile.mkstemp(".new", f"{self.path.name}.", self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode((self._of, progress)))
            Path(new).replace(self.path)
        except BaseException:
            Path(new).unlink()
            raise

    def remove(self) -> None:
        """Remove the checkpoint: the import has ended, or restarts."""
        self.path.unlink(missing_ok=True)
        self._saved = None


def database_identity(database: Database) -> str:
    """Return what no other database has, not even one that was restored from this one's dump."""
    row = database.query_one("database_identity")
    return str(row and row["identity"])


def import_batches(
    database: Database,
    batches: Iterator[LineBatch],
    rejected: IO[bytes],
    progress: Progress,
    *,
    skip_old: bool,
) -> Iterator[Progress]:
    """Store batches of lines, yielding the progress after each commit.

    Args:
        database: Where to.
        batches: The lines from the progress's position on.
        rejected: Takes a JSON object for each thing that is wrong with a line.
        progress: What an earlier run did; it is changed.
        skip_old: Reject history that is older than retention line by line, not the whole import.

    Raises:
        TooOld: There is such history; the message names the command that would keep it.
    """
    for batch in batches:
        good = [line for line in batch.lines if not line.problem]
        parsed = _parse(database, good, skip_old=skip_old)
        # An index counts the lines that were parsed.
        wrong = [
            (good[fault.index or 0], fault.field, _in_a_file(fault.message))
            for fault in parsed.faults.listed
        ]
        wrong += [(line, line.field, line.problem) for line in batch.lines if line.problem]
        progress.rejected += len(batch.lines) - parsed.valid
        if parsed.rows:
            written = database.write(parsed.rows)
            progress.accepted += written.accepted
            progress.duplicates += written.duplicates
            progress.conflicts += len(written.conflicts)
            progress.rejected += len(written.removed)
            for fault in outcome.faults(parsed, written, show_stored=True):
                wrong.append((good[fault.index or 0], fault.field, fault.message))
            for rows in parsed.rows:
                progress.add_span(rows)
        _reject(rejected, wrong)
        progress.rejected_bytes = rejected.tell()
        _move(progress, batch.position)
        yield progress


def refresh_spans(database: Database, progress: Progress) -> Iterator[str]:
    """Refresh the hours that an import touched, yielding what was refreshed.

    Up to the hour before last, as the policy does, and never an hour that retention is about to
    drop: refreshing it without its raw readings would erase it from the aggregate.
    """
    newest = hour_of(datetime.now(UTC)) - HOUR
    for stream in STREAMS:
        if stream.name not in progress.spans:
            continue
        first, last = progress.spans[stream.name]
        start = max(hour_of(first), hour_of(database.oldest_accepted(stream)) + HOUR)
        end = min(hour_of(last) + HOUR, newest)
        if start < end and database.refresh(stream.hourly, start, end, force=False):
            yield f"{stream.hourly} from {format_minute(start)} to {format_minute(end)}"


def register_before(
    database: Database, stream: Stream, device: str, time: datetime
) -> float | None:
    """Return a device's register at its newest stored reading before a time, or None."""
    found = database.query_one(f"{stream.name}.register_before", device=device, time=time)
    return float(found["register"]) if found else None


def _in_a_file(message: str) -> str:
    """Say what is wrong in words that fit a file."""
    if not message.startswith(NOT_A_TIME.removesuffix(".")):
        return message
    return f"{message} In CSV, --tz and --time-format read others."


def _times(rows: Rows) -> Iterator[datetime]:
    return (row[1] for row in rows.rows)


def _move(progress: Progress, position: Position) -> None:
    progress.line, progress.offset = position.line, position.offset


def _parse(database: Database, lines: Sequence[Line], *, skip_old: bool) -> Parsed:
    if not lines:
        return Parsed([], dict)
    now = datetime.now(UTC)
    oldest = {stream: database.oldest_accepted(stream) for stream in STREAMS}
    body = b"\n".join(line.content for line in lines)
    if not skip_old:
        oldest_of_all = dict.fromkeys(STREAMS, BEGINNING)
        parsed = parse_ndjson(body, STREAMS, _bounds(now, oldest_of_all))
        for rows in parsed.rows:
            first = min(_times(rows))
            if first < oldest[rows.stream]:
                raise TooOld(_too_old(database, rows.stream, first, oldest[rows.stream], now))
        return parsed
    return parse_ndjson(body, STREAMS, _bounds(now, oldest))


def _bounds(now: datetime, oldest: Mapping[Stream, datetime]) -> Bounds:
    # A file of rejected lines lists them all.
    return Bounds(now + MAX_AHEAD, oldest, max_faults=sys.maxsize)


def _too_old(
    database: Database, stream: Stream, time: datetime, oldest: datetime, now: datetime
) -> str:
    days = math.ceil((now - time) / DAY) + 1
    # The aggregate must not be kept for less time than what it is made of.
    hourly = policies.read(database)[stream].keep_hourly
    tables = [stream.history]
    if hourly is not None and hourly < days * DAY:
        tables.insert(0, stream.hourly)
    commands = " and ".join(f"`fleetwatt retention set {table} {days}d`" for table in tables)
    return (
        f"{format_minute(time)} is older than {format_minute(oldest)}, as far back as "
        f"{stream.history} is kept. To keep it, run {commands}; to leave out what is older, add "
        "--skip-old"
    )


def _reject(file: IO[bytes], wrong: Sequence[tuple[Line, str | None, str | None]]) -> None:
    """Write down what is wrong with which field of a line, in order of the lines."""
    for line, name, reason in sorted(wrong, key=lambda rejection: rejection[0].number):
        text = line.content.decode(errors="replace")
        rejection = {"line": line.number, "field": name, "reason": reason, "text": text}
        file.write(msgspec.json.encode(rejection) + b"\n")
    file.flush()


@contextmanager
def open_rejected(path: Path, progress: Progress) -> Iterator[IO[bytes]]:
    """Open the file of rejected lines as it was at the checkpoint: what came after comes again.

    Where nothing is rejected, no file is left.

    Raises:
        ForeignFile: The file there is not one of rejected lines, or a link to one.
    """
    # A pipe or a terminal keeps what it got.
    is_kept = path.is_file() or not path.exists()
    if not is_kept:
        with path.open("ab") as stream:
            yield stream
        return
    if path.is_symlink():
        raise ForeignFile(f"{path} is a symbolic link, which --rejected does not follow")
    with open(path, "a+b", opener=_without_links) as file:
        _check_own(path, file)
        file.truncate(min(progress.rejected_bytes, file.seek(0, os.SEEK_END)))
        file.seek(0, os.SEEK_END)
        try:
            yield file
        finally:
            if not file.tell():
                path.unlink()


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _check_own(path: Path, file: IO[bytes]) -> None:
    """Make sure that a file is empty, or begins with a line that an import has rejected."""
    file.seek(0)
    first = file.readline()
    with suppress(msgspec.DecodeError):
        if not first or set(msgspec.json.decode(first, type=dict[str, object])) == _REJECTION:
            return
    raise ForeignFile(f"{path} holds no rejected lines: name another file by --rejected")
