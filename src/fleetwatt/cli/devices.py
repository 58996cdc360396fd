"""The register: devices and sites."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
import marshmallow as ma

from fleetwatt.cli import dialects, exports, output, parameters
from fleetwatt.cli.database import opened_database
from fleetwatt.lifecycle import register
from fleetwatt.lifecycle.register import RegisterRefused
from fleetwatt.schemas.devices import DeviceEntry, SiteEntry
from fleetwatt.streams import STREAMS, Stream
from fleetwatt.transfer import register as files
from fleetwatt.transfer.register import DEVICES, SITES, Part
from fleetwatt.transfer.tables import InvalidLines, UnreadableTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from fleetwatt.database.pool import Row
    from fleetwatt.transfer.dialect import Dialect

_DEVICE = click.argument("device", type=parameters.StreamDevice())
_SITE = click.argument("site", type=parameters.Id())
_DRY_RUN = click.option("--dry-run", is_flag=True, help="say what it would do and change nothing")
_MOST_PROBLEMS = 20
T = TypeVar("T")


@click.group()
def devices() -> None:
    """What the register says of devices.

    DEVICE is meter:ID or vehicle:ID.
    """


@click.group()
def sites() -> None:
    """The sites that devices belong to."""


@devices.command("list")
@click.option("--site", type=parameters.Id(), help="only devices of this site")
@click.option(
    "--stream",
    type=click.Choice([stream.name for stream in STREAMS]),
    help="only devices of this stream",
)
@output.JSON
def list_devices(site: str | None, stream: str | None, *, as_json: bool) -> None:
    """List the devices in the register; a dash is a default."""
    with opened_database() as database:
        rows = DEVICES.stored(database)
    chosen = [
        row for row in rows if site in {None, row["site"]} and stream in {None, row["stream"]}
    ]
    _echo(DEVICES, chosen, as_json=as_json)


@devices.command("set")
@_DEVICE
@click.option("--name", help="what people call it")
@click.option("--site", help="id of the site that it belongs to")
@click.option("--interval", type=parameters.Duration(), help="time between two readings, as 15m")
@click.option("--max-kw", "maxKw", type=float, help="highest power that it can have, in kW")
@_DRY_RUN
@output.JSON
def set_device(
    device: tuple[Stream, str],
    interval: timedelta | None,
    *,
    dry_run: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Register DEVICE, or replace its entry.

    A field that you leave out gets its default.
    """
    stream, device_id = device
    given = {"intervalSeconds": interval and interval.total_seconds(), **fields}
    entry = {"stream": stream.name, "id": device_id, **_checked(DeviceEntry(), given)}
    _put(DEVICES, entry, dry_run=dry_run, as_json=as_json)


@devices.command("remove")
@_DEVICE
@_DRY_RUN
@output.JSON
def remove_device(device: tuple[Stream, str], *, dry_run: bool, as_json: bool) -> None:
    """Take DEVICE out of the register; its readings stay."""
    stream, device_id = device
    key = {"stream": stream.name, "id": device_id}
    with opened_database() as database:
        row = (
            database.query_one("device", **key)
            if dry_run
            else database.execute_once("remove_device", **key)
        )
    _say_removed(row, f"{stream.name} {device_id}", dry_run=dry_run, as_json=as_json)


@sites.command("list")
@output.JSON
def list_sites(*, as_json: bool) -> None:
    """List the sites."""
    with opened_database() as database:
        _echo(SITES, SITES.stored(database), as_json=as_json)


@sites.command("set")
@_SITE
@click.option("--name", help="what people call it")
@click.option("--time-zone", "timeZone", help="IANA name of its time zone  [UTC]")
@_DRY_RUN
@output.JSON
def set_site(site: str, *, dry_run: bool, as_json: bool, **fields: Any) -> None:
    """Create SITE, or replace its entry.

    A field that you leave out gets its default.
    """
    entry = {"id": site, **_checked(SiteEntry(), fields)}
    _put(SITES, entry, dry_run=dry_run, as_json=as_json)


@sites.command("remove")
@_SITE
@_DRY_RUN
@output.JSON
def remove_site(site: str, *, dry_run: bool, as_json: bool) -> None:
    """Remove SITE; no device may be registered at it."""
    with opened_database() as database:
        row = (
            database.query_one("site", id=site)
            if dry_run
            else _or_fail(lambda: register.remove_site(database, site))
        )
    _say_removed(row, f"site {site}", dry_run=dry_run, as_json=as_json)


def _file_commands(group: click.Group, part: Part) -> None:
    """Add the commands that read and write a part of the register as CSV."""
    what = group.name or ""

    @group.command("export", help=f"Write the {what} of the register to FILE as CSV; - is stdout.")
    @exports.FILE
    @exports.FORCE
    @output.JSON
    def export(file: str, *, force: bool, as_json: bool) -> None:
        with opened_database() as database:
            entries = part.stored(database)
        with exports.opened_table(file, force=force) as table:
            files.write(part, entries, table)
        exports.say(len(entries), what, file, as_json=as_json)

    @group.command(
        "import",
        help=f"Store the {what} of FILE, in CSV.\n\n"
        "FILE is as `export` writes it; - is standard input. Where a line is wrong, nothing is "
        "stored. An empty cell is a default. Entries that FILE lacks stay as they are. The options "
        "from --delimiter on describe the file.",
    )
    @click.argument("file", type=click.File(encoding="utf-8"))
    @_DRY_RUN
    @dialects.options
    @output.JSON
    def import_(file: IO[str], *, dry_run: bool, as_json: bool, **written: Any) -> None:
        dialect = dialects.dialect(written, set(part.columns), f"none of the {what} has")
        entries = _read(part, file, dialect)
        with opened_database() as database:
            if unknown := files.unknown_sites(database, entries):
                raise click.ClickException(
                    f"there is no site {', '.join(unknown)}: import the sites first"
                )
            found = files.changes(database, part, entries)
            if found.entries and not dry_run:
                _or_fail(lambda: part.put(database, found.entries))
        changed = len(found.entries) - found.created
        if as_json:
            counts = {"created": found.created, "changed": changed, "unchanged": found.unchanged}
            output.echo_json({**counts, "stored": not dry_run})
            return
        click.echo(
            f"{found.created:,} {what} are new, {changed:,} change, "
            f"{found.unchanged:,} are as they were."
        )
        if dry_run:
            click.echo("Nothing was changed.")


_file_commands(devices, DEVICES)
_file_commands(sites, SITES)


def _read(part: Part, file: IO[str], dialect: Dialect) -> list[files.Entry]:
    try:
        return files.read(part, file, dialect)
    except UnreadableTable as error:
        raise click.ClickException(f"{file.name} {error}") from None
    except InvalidLines as error:
        for problem in error.problems[:_MOST_PROBLEMS]:
            click.echo(f"{file.name}: {problem}", err=True)
        raise click.ClickException(
            f"nothing was stored: {len(error.problems):,} problems"
        ) from None


def _checked(schema: ma.Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry's columns, checked as the routes check them."""
    try:
        checked: dict[str, Any] = schema.load(given)
    except ma.ValidationError as error:
        messages = [f"{field}: {texts[0]}" for field, texts in error.messages_dict.items()]
        raise click.UsageError("; ".join(messages)) from None
    return checked


def _put(part: Part, entry: Mapping[str, Any], *, dry_run: bool, as_json: bool) -> None:
    with opened_database() as database:
        if unknown := files.unknown_sites(database, [entry]):
            raise click.ClickException(f"there is no site {unknown[0]}")
        found = files.changes(database, part, [entry])
        if not dry_run:
            _or_fail(lambda: part.put(database, [entry]))
    if as_json:
        outcome = "created" if found.created else "changed" if found.entries else "unchanged"
        output.echo_json({"outcome": outcome, "stored": not dry_run})
        return
    outcome = "is new" if found.created else "changes" if found.entries else "is as it was"
    click.echo(f"{' '.join(part.key(entry))} {outcome}.")
    if dry_run:
        click.echo("Nothing was changed.")


def _or_fail(change: Callable[[], T]) -> T:
    try:
        return change()
    except RegisterRefused as error:
        raise click.ClickException(str(error)) from None


def _say_removed(row: Row | None, what: str, *, dry_run: bool, as_json: bool) -> None:
    if row is None:
        raise click.ClickException(f"the register has no {what}")
    if as_json:
        output.echo_json({"removed": not dry_run})
        return
    click.echo("Nothing was changed." if dry_run else f"The {what} is removed.")


def _echo(part: Part, rows: list[Row], *, as_json: bool) -> None:
    columns = list(part.database_columns())
    if as_json:
        output.echo_json([{name: row[column] for name, column in columns} for row in rows])
        return
    output.echo_table(
        [name for name, _ in columns],
        [
            ["-" if row[column] is None else _shown(row[column]) for _, column in columns]
            for row in rows
        ],
    )


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
