"""Looking after the database."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import click

from fleetwatt.config import Config
from fleetwatt.store import migrations
from fleetwatt.store.connections import connect
from fleetwatt.store.errors import translated


@click.group()
def db() -> None:
    """Look after the database's schema."""


@db.command()
def upgrade() -> None:
    """Bring the schema up to date; does nothing where it is."""
    upgrade_schema(Config.of_a_database())


def upgrade_schema(config: Config) -> None:
    """Apply what is missing, and say so file by file."""
    with translated():
        # A migration takes as long as it takes.
        connection = connect(replace(config, statement_timeout=0))
    with closing(connection):
        for file in migrations.upgrade(connection):
            click.echo(f"  applied {file}")
    click.echo("The schema is up to date.")
