"""Serving, and what it is set to."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import click

from fleetwatt.cli import output
from fleetwatt.cli.database import upgrade_schema
from fleetwatt.config import SETTINGS, Config, ConfigError
from fleetwatt.embedded import dev as supervisor
from fleetwatt.embedded.children import Make


@click.command()
@output.JSON
def config(*, as_json: bool) -> None:
    """List the settings: value, default and meaning."""
    current = Config.from_environment()
    if as_json:
        output.echo_json(
            {
                setting.variable: {
                    "value": setting.shown(current)
                    if setting.secret
                    else getattr(current, setting.name),
                    "default": setting.default,
                    "unit": setting.unit,
                    "meaning": setting.meaning,
                    "allowed": setting.legal,
                }
                for setting in SETTINGS
            }
        )
        return
    for setting in SETTINGS:
        click.echo(f"{setting.variable} = {setting.shown(current)}")
        click.echo(f"    {setting.meaning} (default: {setting.default!r})")


@click.command()
def serve() -> None:
    """Serve the API with gunicorn.

    It serves on the database that FLEETWATT_DATABASE_URL names, whose schema has to be up to date.
    GUNICORN_CMD_ARGS adds options of gunicorn's.
    """
    # In place of this process, which knows all commands and all that they need.
    os.execv(sys.executable, [sys.executable, "-m", "fleetwatt.serving"])  # noqa: S606


@click.command()
@click.option("--under-make", type=int, metavar="PID", help="end with the make of this process id")
@click.option(
    "--mqtt",
    "mqtt_port",
    type=click.IntRange(0, 65_535),
    help="also serve MQTT devices on this port, 0 for a free one, by a NATS of its own",
)
def dev(under_make: int | None, mqtt_port: int | None) -> None:
    """Serve the API on an embedded TimescaleDB.

    If FLEETWATT_DATABASE_URL is set, it serves on that database instead.
    """
    current = Config.from_environment()
    current.check_address(current.host)
    upgrade = lambda url: upgrade_schema(replace(current, database_url=url))  # noqa: E731
    if mqtt_port is not None and current.auth == "required":
        raise ConfigError(
            "--mqtt knows no API keys: serve it with FLEETWATT_AUTH=off on a loopback address, or "
            "give devices users of a NATS of your own and run `fleetwatt consume`"
        )
    make = Make(under_make) if under_make else None
    sys.exit(supervisor.serve(current, upgrade, make, mqtt_port))
