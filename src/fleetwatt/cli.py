"""The command `fleetwatt`."""

from __future__ import annotations

import secrets
import sys
from contextlib import closing
from dataclasses import replace

import click
import msgspec

from fleetwatt import audit as auditing
from fleetwatt.config import SETTINGS, Config, ConfigError
from fleetwatt.embedded import dev as supervisor
from fleetwatt.embedded import node
from fleetwatt.embedded.database import EmbeddedDatabaseError
from fleetwatt.embedded.node import NodeError
from fleetwatt.store import Store, migrations
from fleetwatt.store.connections import connect
from fleetwatt.store.errors import StoreError, translated

_COUNT = click.IntRange(min=1)


@click.group()
@click.version_option(package_name="fleetwatt")
def fleetwatt() -> None:
    """Energy telemetry of vehicle fleets on TimescaleDB."""


@fleetwatt.command()
def config() -> None:
    """List the settings: value, default and meaning."""
    current = Config.from_environment()
    for setting in SETTINGS:
        click.echo(f"{setting.variable} = {setting.shown(current)}")
        click.echo(f"    {setting.meaning} (default: {setting.default!r})")


@fleetwatt.group()
def db() -> None:
    """Look after the database's schema."""


@db.command()
def upgrade() -> None:
    """Bring the schema up to date; does nothing where it is."""
    _upgrade(_with_database(Config.from_environment()))


@fleetwatt.command()
@click.option(
    "--sample", type=_COUNT, default=100, show_default=True, help="devices of each stream"
)
@click.option(
    "--hours", type=_COUNT, default=24, show_default=True, help="hours of history, chosen at random"
)
@click.option("--seed", help="chooses the same devices and hours again")
@click.option("--repair", is_flag=True, help="mend what differs, and look again")
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
def audit(sample: int, hours: int, seed: str | None, *, repair: bool, as_json: bool) -> None:
    """Compare the hourly aggregates and the latest readings with history; 1: they differ."""
    current = _with_database(Config.from_environment())
    seed = seed or secrets.token_hex(4)
    with closing(Store(replace(current, statement_timeout=0))) as store:
        findings = auditing.audit(store, sample=sample, hours=hours, seed=seed)
        _say_findings(findings, seed, as_json=as_json)
        if repair and any(each.differences for each in findings):
            for each in findings:
                auditing.repair(store, each)
            findings = auditing.audit(store, sample=sample, hours=hours, seed=seed)
            _say_findings(findings, seed, as_json=as_json)
    sys.exit(int(any(each.differences for each in findings)))


def _say_findings(findings: list[auditing.Findings], seed: str, *, as_json: bool) -> None:
    if as_json:
        streams = {each.stream.name: each.as_json() for each in findings}
        click.echo(msgspec.json.encode({"seed": seed, "streams": streams}))
        return
    for each in findings:
        click.echo(f"{each} (seed {seed})")
        for difference in each.differences:
            click.echo(f"  {difference}")


@fleetwatt.command()
def dev() -> None:
    """Serve the API on the embedded TimescaleDB, or on FLEETWATT_DATABASE_URL."""
    current = Config.from_environment()
    if not current.database_url:
        node.install()
    sys.exit(supervisor.serve(current, lambda url: _upgrade(replace(current, database_url=url))))


def _with_database(config: Config) -> Config:
    if not config.database_url:
        raise click.ClickException("set FLEETWATT_DATABASE_URL to the database's URL")
    return config


def _upgrade(config: Config) -> None:
    with translated():
        # A migration takes as long as it takes.
        connection = connect(replace(config, statement_timeout=0))
    try:
        applied = list(migrations.upgrade(connection))
    finally:
        connection.close()
    for file in applied:
        click.echo(f"  applied {file}")
    click.echo("The schema is up to date.")


def main() -> None:
    """Run the command; what goes wrong in a known way is one line, not a traceback."""
    try:
        fleetwatt()
    except (ConfigError, EmbeddedDatabaseError, NodeError, StoreError) as error:
        sys.exit(f"fleetwatt: {error}")
