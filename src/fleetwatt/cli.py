"""The command `fleetwatt`."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from fleetwatt.config import SETTINGS, Config, ConfigError
from fleetwatt.embedded import dev as supervisor
from fleetwatt.embedded import node
from fleetwatt.embedded.database import EmbeddedDatabaseError
from fleetwatt.embedded.node import NodeError
from fleetwatt.store import migrations
from fleetwatt.store.connections import connect
from fleetwatt.store.errors import StoreError, translated


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
    current = Config.from_environment()
    if not current.database_url:
        raise click.ClickException("set FLEETWATT_DATABASE_URL to the database's URL")
    _upgrade(current)


@fleetwatt.command()
def dev() -> None:
    """Serve the API on the embedded TimescaleDB, or on FLEETWATT_DATABASE_URL."""
    current = Config.from_environment()
    if not current.database_url:
        node.install()
    sys.exit(supervisor.serve(current, lambda url: _upgrade(replace(current, database_url=url))))


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
