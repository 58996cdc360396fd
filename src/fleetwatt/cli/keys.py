"""API keys: making, listing, revoking and rotating them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from fleetwatt.cli import output, parameters
from fleetwatt.cli.database import opened_database
from fleetwatt.observability import logs
from fleetwatt.security import keys as api_keys
from fleetwatt.security.keys import INGEST, SCOPES, ApiKey
from fleetwatt.streams import Stream

MOST_NAME = 200  # characters


def _printable(_: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value.isprintable() or len(value) > MOST_NAME:
        raise click.BadParameter(f"must be up to {MOST_NAME} characters on one line")
    return value


@click.group()
def keys() -> None:
    """Make and end the API keys that clients send.

    As in the header `Authorization: Bearer KEY`.
    """


@keys.command()
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="what it may do; may be given several times; admin implies the others",
)
@click.option(
    "--device",
    "devices",
    type=parameters.StreamDevice(),
    multiple=True,
    help="a device as meter:ID or vehicle:ID, the only ones that it may write for; with ingest "
    "alone",
)
@click.option(
    "--expires", type=parameters.Duration(), help="how long it is valid, as 90d; without: for ever"
)
@click.option("--name", default="", callback=_printable, help="its owner or purpose")
@output.JSON
def create(
    scopes: tuple[str, ...],
    devices: tuple[tuple[Stream, str], ...],
    expires: timedelta | None,
    name: str,
    *,
    as_json: bool,
) -> None:
    """Create a key and print it; it can't be shown again."""
    if devices and set(scopes) != {INGEST}:
        raise click.UsageError("--device needs --scope ingest alone: it bounds what is written")
    prefix, whole, hashed = api_keys.generate()
    with opened_database() as database:
        row = database.execute_once(
            "create_key",
            prefix=prefix,
            hash=hashed,
            name=name,
            scopes=sorted(set(scopes)),
            devices=sorted({f"{stream.name}:{device}" for stream, device in devices}) or None,
            lifetime=expires,
        )
    _say_made(row, whole, "key created", as_json=as_json)


@keys.command(name="list")
@output.JSON
def list_keys(*, as_json: bool) -> None:
    """List the keys, without their secrets."""
    with opened_database() as database:
        rows = database.query("keys")
    described = [_described(row) for row in rows]
    if as_json:
        output.echo_json(described)
        return
    if not described:
        click.echo("There are no keys.")
    for key in described:
        click.echo(
            f"{key['prefix']}  {key['state']:<8}  {','.join(key['scopes'])}"
            f"  {key['name'] or '-'}  devices: {','.join(key['devices'] or ['all'])}"
            f"  created {output.time(key['createdAt'])}"
            f"  expires {output.time(key['expiresAt'], 'never')}"
        )
    for row in rows:
        if row["devices"] and not row["names_kinds"]:
            click.echo(
                f"Warning: {row['prefix']} names devices without their kind: it may write for a "
                "meter and for a vehicle of each id. Create a key with --device meter:ID or "
                "vehicle:ID instead.",
                err=True,
            )


@keys.command()
@click.argument("prefix")
@output.JSON
def revoke(prefix: str, *, as_json: bool) -> None:
    """End a key, named by its prefix.

    Every process rejects it within 5 seconds.
    """
    with opened_database() as database:
        row = database.execute_once("revoke_key", prefix=_prefix(prefix))
    if row is None:
        raise click.ClickException(f"there is no key {prefix}")
    _audit("key revoked", row)
    if as_json:
        output.echo_json(_described(row))
    click.echo(f"{row['prefix']} is revoked; every process rejects it within 5 seconds.", err=True)


@keys.command()
@click.argument("prefix")
@click.option(
    "--grace",
    type=parameters.Duration(least=timedelta(0)),
    default="0s",
    show_default=True,
    help="how long the old one stays valid",
)
@output.JSON
def rotate(prefix: str, grace: timedelta, *, as_json: bool) -> None:
    """Create a key that replaces another, and print it.

    It has the same rights and as long a life.
    """
    new_prefix, whole, hashed = api_keys.generate()
    with opened_database() as database:
        row = database.execute_once(
            "rotate_key", prefix=_prefix(prefix), new_prefix=new_prefix, hash=hashed, grace=grace
        )
    if row is None:
        raise click.ClickException(f"there is no key {prefix} that is valid")
    _say_made(row, whole, "key rotated", as_json=as_json, replaces=_prefix(prefix))


def _prefix(given: str) -> str:
    """Return the prefix of a whole key, which people paste as well as prefixes."""
    return api_keys.prefix_of(given) or given


def _say_made(
    row: dict[str, Any] | None, whole: str, event: str, *, as_json: bool, **facts: str
) -> None:
    assert row is not None  # noqa: S101 - an INSERT that returns
    _audit(event, row, **facts)
    click.echo(f"{row['prefix']} is valid now. This is the only time that it is shown:", err=True)
    if as_json:
        output.echo_json({"key": whole, **_described(row)})
    else:
        click.echo(whole)


def _audit(event: str, row: dict[str, Any], **facts: str) -> None:
    described = _described(row)
    logs.audit(
        event,
        key=described["prefix"],
        scopes=described["scopes"],
        devices=described["devices"],
        by=output.user(),
        **facts,
    )


def _described(row: dict[str, Any]) -> dict[str, Any]:
    refusal = ApiKey.from_row(row).refusal()
    return {
        "prefix": row["prefix"],
        "name": row["name"],
        "scopes": row["scopes"],
        "devices": row["devices"],
        "createdAt": row["created_at"],
        "expiresAt": row["expires_at"],
        "revokedAt": row["revoked_at"],
        "state": "valid" if refusal is None else refusal.split()[-1],
    }
