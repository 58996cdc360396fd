"""The commands that import and export files of readings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from fleetwatt.cli import dialects, exports, output, parameters
from fleetwatt.cli.database import opened_database
from fleetwatt.streams import STREAMS, TIMESTAMP
from fleetwatt.transfer import exporting, importing
from fleetwatt.transfer.csv_readings import UnreadableFile
from fleetwatt.transfer.dialect import Dialect
from fleetwatt.transfer.formats import (
    STDIN,
    LineBatch,
    ParquetMissing,
    Position,
    ReadingsFile,
    opened,
)
from fleetwatt.transfer.importing import Checkpoint, ForeignFile, Progress, TooOld
from fleetwatt.transfer.increments import Registers

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)
_TIME = parameters.Time()
_NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command("import")
@click.argument("file", type=_FILE)
@click.option("--rejected", type=_NEW_FILE, help="where bad lines go  [FILE.rejected.ndjson]")
@click.option("--skip-old", is_flag=True, help="reject what is older than retention, and go on")
@click.option(
    "--restart", is_flag=True, help="start from the beginning, whatever an interrupted run has done"
)
@dialects.options
@click.option(
    "--increments",
    is_flag=True,
    help="the energy of a line is what was added since the device's line before, in kWh",
)
@output.JSON
def import_(
    file: str,
    rejected: Path | None,
    *,
    skip_old: bool,
    restart: bool,
    as_json: bool,
    **written: Any,
) -> None:
    """Store the readings of FILE.

    FILE is CSV, NDJSON or Parquet, gzipped or not; - is standard input. The rules are those of the
    ingestion routes: a reading that is stored already counts as a duplicate. An interrupted import
    resumes when it is run again. The options from --delimiter on describe a CSV file. The exit
    status is 1 if lines were rejected.
    """
    path = Path("stdin" if file == STDIN else file)
    rejected = rejected or path.with_name(path.name + ".rejected.ndjson")
    dialect = _dialect(written)
    with opened_database() as database:
        registers = None
        if dialect.increments:
            registers = Registers(partial(importing.register_before, database))
        with _readable(file, dialect, registers) as source:
            checkpoint = None
            if file != STDIN:
                identity = importing.database_identity(database)
                checkpoint = Checkpoint(path, f"{identity} {dialect}")
            if checkpoint and restart:
                checkpoint.remove()
            progress = (checkpoint and checkpoint.load()) or Progress()
            if registers:
                registers.sums = progress.sums
            with importing.open_rejected(rejected, progress) as bad:
                store = partial(
                    importing.import_batches,
                    database,
                    rejected=bad,
                    progress=progress,
                    skip_old=skip_old,
                )
                _import(store, source, checkpoint, progress)
            _say_result(progress, rejected, as_json=as_json)
            with output.working("Refreshing"):
                for span in importing.refresh_spans(database, progress):
                    click.echo(f"Refreshed {span}.", err=as_json)
            if checkpoint:
                checkpoint.remove()
    sys.exit(int(progress.rejected > 0))


def _dialect(written: Mapping[str, Any]) -> Dialect:
    """Make a dialect of the options that say how a CSV file of readings is written."""
    known = {field.name for stream in STREAMS for field in stream.fields}
    dialect = dialects.dialect(written, known, "no reading has")
    if TIMESTAMP.name in dict(dialect.constants):
        raise click.BadParameter("readings of a device differ in time", param_hint="--set")
    return dialect


def _import(
    store: Callable[[Iterator[LineBatch]], Iterator[Progress]],
    source: ReadingsFile,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> None:
    if progress.line:
        click.echo(f"Going on after line {progress.line:,}.", err=True)
    batches = source.read(Position(progress.line, progress.offset))
    with _progress("Importing", checkpoint.size if checkpoint else None) as show:
        for done in store(batches):
            if checkpoint:
                checkpoint.save(done)
            show(source.consumed())


def _say_result(progress: Progress, rejected: Path, *, as_json: bool) -> None:
    listed = progress.rejected or progress.conflicts
    if as_json:
        output.echo_json(
            {
                "accepted": progress.accepted,
                "duplicates": progress.duplicates,
                "conflicts": progress.conflicts,
                "rejected": progress.rejected,
                "rejectedFile": str(rejected) if listed else None,
            }
        )
        return
    conflicts = f"{progress.conflicts:,} conflicts, " if progress.conflicts else ""
    click.echo(
        f"{progress.accepted:,} readings stored, {progress.duplicates:,} were there already, "
        f"{conflicts}{progress.rejected:,} rejected" + (f": see {rejected}" if listed else "")
    )


@click.command()
@click.argument("stream", type=click.Choice([stream.name for stream in STREAMS]))
@exports.FILE
@click.option(
    "--start", type=parameters.Time(), help="first time that counts  [the oldest reading]"
)
@click.option(
    "--end", type=parameters.Time(), help="first time that does not  [the newest reading]"
)
@click.option(
    "--device",
    "devices",
    type=parameters.Id(),
    multiple=True,
    help="only this device; may be repeated",
)
@exports.FORCE
@output.JSON
def export(
    stream: str,
    file: str,
    devices: tuple[str, ...],
    *,
    force: bool,
    as_json: bool,
    **bounds: datetime | None,
) -> None:
    """Write a stream's readings to FILE.

    The suffix chooses the form: .csv, .csv.gz or .parquet, which `fleetwatt import` reads. A dash
    is standard output, as CSV.

    It writes the readings with start <= time < end, chunk by chunk, by device and time.
    """
    if file != exports.STDOUT and not file.lower().endswith(exporting.SUFFIXES):
        raise click.UsageError(f"{file} must end in {', '.join(exporting.SUFFIXES)}")
    start, end = bounds["start"], bounds["end"]
    if start and end and start >= end:
        raise click.UsageError("--start must lie before --end")
    (chosen,) = (known for known in STREAMS if known.name == stream)
    selection = exporting.Selection(chosen, start, end, devices)
    with opened_database() as database, _clear_errors():
        spans = exporting.spans(database, selection)
        with (
            exports.opened(file, force=force) as raw,
            exporting.writing(raw, Path(file).suffix, chosen) as write,
            _progress(f"Exporting {stream}", len(spans)) as show,
        ):
            readings = 0
            for number, span in enumerate(spans, 1):
                readings += exporting.export(database, selection, span, write)
                show(number)
    exports.say(readings, "readings", file, as_json=as_json)


@contextmanager
def _readable(file: str, dialect: Dialect, registers: Registers | None) -> Iterator[ReadingsFile]:
    with _clear_errors(), opened(file, sys.stdin.buffer, dialect, registers) as source:
        yield source


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Make one line of what goes wrong in a known way."""
    try:
        yield
    except (ForeignFile, ParquetMissing, TooOld, UnreadableFile) as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        # No such folder, no right to write there, a disk that is full.
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror}") from None


@contextmanager
def _progress(label: str, length: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, where the length is known."""
    hidden = length is None or not sys.stderr.isatty()
    with click.progressbar(length=length or 0, label=label, file=sys.stderr, hidden=hidden) as bar:

        def show(position: int) -> None:
            bar.update(position - bar.pos)

        yield show
