"""Serving, and what it is set to."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from fleetwatt.cli.database import upgrade_schema
from fleetwatt.config import SETTINGS, Config
from fleetwatt.embedded import dev as supervisor
from fleetwatt.embedded import node


@click.command()
def config() -> None:
    """List the settings: value, default and meaning."""
    current = Config.from_environment()
    for setting in SETTINGS:
        click.echo(f"{setting.variable} = {setting.shown(current)}")
        click.echo(f"    {setting.meaning} (default: {setting.default!r})")


@click.command()
def dev() -> None:
    """Serve the API on an embedded TimescaleDB.

    With FLEETWATT_DATABASE_URL set, on that one.
    """
    supervisor.check_checkout()
    current = Config.from_environment()
    current.check_address(current.host)
    if not current.database_url:
        node.install()
    upgrade = lambda url: upgrade_schema(replace(current, database_url=url))  # noqa: E731
    sys.exit(supervisor.serve(current, upgrade))
