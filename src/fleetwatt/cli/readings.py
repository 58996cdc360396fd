"""The commands that correct stored readings: replace, remove, undo; and that erase a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click
import marshmallow as ma

from fleetwatt.cli import output, parameters
from fleetwatt.cli.confirmation import changing, confirm
from fleetwatt.cli.database import opened_database
from fleetwatt.lifecycle import corrections, erasure
from fleetwatt.lifecycle.corrections import CorrectionRefused, DeviceHistory, Signature
from fleetwatt.schemas.corrections import REPLACEMENT_SCHEMAS, Correction, check_reason
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from fleetwatt.database.pool import Row
    from fleetwatt.streams import Stream

T = TypeVar("T")
_DEVICE = click.argument("device", type=parameters.StreamDevice(), metavar="DEVICE")


def _reason(_: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        check_reason(value)
    except ma.ValidationError as error:
        raise click.BadParameter(str(error.messages[0])) from None
    return value


_REASON = click.option("--reason", required=True, callback=_reason, help="why, which is kept")


@click.group()
def readings() -> None:
    """Correct stored readings, or erase a device.

    DEVICE is written as meter:M-123 or vehicle:V-999. Each correction is kept, and can be undone;
    erasure can't.
    """


@readings.command()
@_DEVICE
@click.argument("time", type=parameters.Time())
@click.option(
    "--set",
    "values",
    multiple=True,
    required=True,
    metavar="FIELD=VALUE",
    help="new value of a field, or null; each field of the reading has to be set",
)
@_REASON
@output.JSON
def replace(
    device: tuple[Stream, str], time: datetime, values: Sequence[str], reason: str, *, as_json: bool
) -> None:
    """Replace the values of DEVICE's reading at TIME."""
    stream, device_id = device
    given = {"reason": reason} | dict(map(_value, values))
    try:
        replacement: Any = REPLACEMENT_SCHEMAS[stream].load(given)
    except ma.ValidationError as error:
        messages = "; ".join(f"{field}: {texts[0]}" for field, texts in error.messages_dict.items())
        raise click.BadParameter(messages, param_hint="--set") from None
    with opened_database() as database:
        history = DeviceHistory(database, stream, device_id)
        made = _or_fail(lambda: history.replace(time, replacement, _signature(reason)))
    if made is None:
        raise click.ClickException(
            f"no reading of {stream.name} {device_id} at {rfc3339(time)} is stored"
        )
    _echo([made], as_json=as_json)


@readings.command()
@_DEVICE
@click.option("--start", required=True, type=parameters.Time(), help="first time that goes")
@click.option("--end", required=True, type=parameters.Time(), help="first time that stays")
@_REASON
@changing
def remove(
    device: tuple[Stream, str],
    start: datetime,
    end: datetime,
    reason: str,
    **consent: bool,
) -> None:
    """Remove DEVICE's readings of a span.

    The span is start <= time < end. Sent again, these readings are rejected.
    """
    if start >= end:
        raise click.UsageError("--start must lie before --end")
    stream, device_id = device
    as_json = consent["as_json"]
    with opened_database() as database:
        history = DeviceHistory(database, stream, device_id)
        count = _or_fail(lambda: history.count(start, end))
        click.echo(f"{count:,} readings of {stream.name} {device_id} lie in the span.", err=as_json)
        removed = 0
        if count and confirm(**consent):
            with output.working("Removing"):
                removed = _or_fail(lambda: history.remove(start, end, _signature(reason)))
            click.echo(f"{removed:,} readings were removed.", err=as_json)
    if as_json:
        output.echo_json({"found": count, "removed": removed})


@readings.command(name="corrections")
@click.option("--device", type=parameters.StreamDevice(), help="of this device only")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="how many, at most",
)
@output.JSON
def list_corrections(device: tuple[Stream, str] | None, limit: int, *, as_json: bool) -> None:
    """List corrections, the newest first."""
    with opened_database() as database:
        _echo(corrections.newest(database, limit, device=device), as_json=as_json)


@readings.command()
@click.argument("correction", type=click.IntRange(1))
@output.JSON
def undo(correction: int, *, as_json: bool) -> None:
    """Undo CORRECTION.

    The readings from before it are there again.
    """
    with opened_database() as database:
        undone = _or_fail(lambda: corrections.undo(database, correction, author=output.user()))
    if undone is None:
        raise click.ClickException(f"there is no correction {correction}")
    _echo([undone], as_json=as_json)


@readings.command()
@click.option(
    "--device",
    required=True,
    type=parameters.StreamDevice(),
    help="as meter:M-123 or vehicle:V-999",
)
@changing
def erase(device: tuple[Stream, str], *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Erase all that is known of a device.

    Its readings, aggregates, latest, mappings with their changes, corrections, and its entry in
    the register. You can't undo it, and no record is kept. Backups and exported files stay as
    they are; a device that goes on reporting is known again.
    """
    stream, device_id = device
    with opened_database() as database:
        with output.working("Counting"):
            found = erasure.traces(database, stream, device_id)
        if not as_json:
            _say_traces(f"{stream.name} {device_id}", found)
        is_erased = bool(found) and confirm(yes=yes, dry_run=dry_run, as_json=as_json)
        if is_erased:
            with output.working("Erasing"):
                erasure.erase(database, stream, device_id)
            click.echo("All of it was erased.", err=as_json)
    if as_json:
        output.echo_json({"found": found, "erased": is_erased})


def _say_traces(device: str, found: Mapping[str, int]) -> None:
    if not found:
        click.echo(f"Nothing is known of {device}.")
        return
    click.echo(f"Of {device} there are:")
    output.echo_table(
        ("what", "how many"),
        [(erasure.TRACES[name], f"{count:,}") for name, count in found.items()],
    )


def _signature(reason: str) -> Signature:
    return Signature(reason, output.user())


def _value(text: str) -> tuple[str, Any]:
    """Read FIELD=VALUE."""
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} is not FIELD=VALUE", param_hint="--set")
    if value == "null":
        return name, None
    try:
        return name, float(value)
    except ValueError:
        return name, value


def _or_fail(work: Callable[[], T]) -> T:
    try:
        return work()
    except CorrectionRefused as error:
        raise click.ClickException(str(error)) from None


def _echo(found: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        click.echo(Correction(many=True).dumps(found))
        return
    if not found:
        click.echo("There are no corrections.")
        return
    output.echo_table(
        ("id", "device", "what", "readings", "from", "to", "by", "made", "undone", "reason"),
        [
            (
                str(row["id"]),
                f"{row['stream']}:{row['device']}",
                row["action"],
                f"{row['readings']:,}",
                rfc3339(row["start"]),
                rfc3339(row["end"]),
                row["author"],
                output.time(row["made_at"]),
                output.time(row["undone_at"]),
                row["reason"],
            )
            for row in found
        ],
    )
