"""The commands that import and export files of readings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from fleetwatt.cli import parameters
from fleetwatt.cli.database import opened_database
from fleetwatt.database.client import Database
from fleetwatt.streams import STREAMS
from fleetwatt.transfer import exporting, importing
from fleetwatt.transfer.formats import (
    STDIN,
    ParquetMissing,
    Position,
    ReadingsFile,
    UnreadableFile,
    opened,
)
from fleetwatt.transfer.importing import Checkpoint, Progress, TooOld

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
def import_(file: str, rejected: Path | None, *, skip_old: bool, restart: bool) -> None:
    """Store the readings of FILE.

    CSV, NDJSON or Parquet, gzip or not; - is standard input. By the rules of the ingestion routes:
    a reading that is there already counts as a duplicate. Interrupted, it goes on where it was.
    Exit status 1: lines were rejected.
    """
    path = Path("stdin" if file == STDIN else file)
    rejected = rejected or path.with_name(path.name + ".rejected.ndjson")
    with opened_database() as database, _readable(file) as source:
        checkpoint = None
        if file != STDIN:
            checkpoint = Checkpoint(path, importing.database_identity(database))
        if checkpoint and restart:
            checkpoint.remove()
        progress = _import(database, source, rejected, checkpoint, skip_old=skip_old)
        _say_result(progress, rejected)
        for span in importing.refresh_spans(database, progress):
            click.echo(f"Refreshed {span}.")
        if checkpoint:
            checkpoint.remove()
    sys.exit(int(progress.rejected > 0))


def _import(
    database: Database,
    source: ReadingsFile,
    rejected: Path,
    checkpoint: Checkpoint | None,
    *,
    skip_old: bool,
) -> Progress:
    progress = (checkpoint and checkpoint.load()) or Progress()
    if progress.line:
        click.echo(f"Going on after line {progress.line:,}.", err=True)
    batches = source.read(Position(progress.line, progress.offset))
    with (
        importing.open_rejected(rejected, progress) as bad,
        _progress("Importing", checkpoint.size if checkpoint else None) as show,
    ):
        for done in importing.import_batches(database, batches, bad, progress, skip_old=skip_old):
            if checkpoint:
                checkpoint.save(done)
            show(source.consumed())
    return progress


def _say_result(progress: Progress, rejected: Path) -> None:
    conflicts = f"{progress.conflicts:,} conflicts, " if progress.conflicts else ""
    listed = progress.rejected or progress.conflicts
    click.echo(
        f"{progress.accepted:,} readings stored, {progress.duplicates:,} were there already, "
        f"{conflicts}{progress.rejected:,} rejected" + (f": see {rejected}" if listed else "")
    )


@click.command()
@click.argument("stream", type=click.Choice([stream.name for stream in STREAMS]))
@click.argument("file", type=_NEW_FILE)
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
def export(
    stream: str, file: Path, start: datetime | None, end: datetime | None, devices: tuple[str, ...]
) -> None:
    """Write a stream's readings to FILE, as its suffix says.

    .csv, .csv.gz or .parquet, which `fleetwatt import` reads. Readings with start <= time < end,
    chunk by chunk, in each by device and time.
    """
    if not file.name.lower().endswith(exporting.SUFFIXES):
        raise click.UsageError(f"{file} must end in {', '.join(exporting.SUFFIXES)}")
    if start and end and start >= end:
        raise click.UsageError("--start must lie before --end")
    (chosen,) = (known for known in STREAMS if known.name == stream)
    selection = exporting.Selection(chosen, start, end, devices)
    with opened_database() as database, _clear_errors():
        spans = exporting.spans(database, selection)
        with (
            exporting.open_for_export(file, chosen) as write,
            _progress(f"Exporting {stream}", len(spans)) as show,
        ):
            readings = 0
            for number, span in enumerate(spans, 1):
                readings += exporting.export(database, selection, span, write)
                show(number)
    click.echo(f"{readings:,} readings in {file}")


@contextmanager
def _readable(file: str) -> Iterator[ReadingsFile]:
    with _clear_errors(), opened(file, sys.stdin.buffer) as source:
        yield source


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Make one line of what goes wrong in a known way."""
    try:
        yield
    except (ParquetMissing, TooOld, UnreadableFile) as error:
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
