"""The command `fleetwatt`, a module a group of commands."""

from __future__ import annotations

import logging.config
import sys

import click

from fleetwatt.cli import (
    audit,
    chunks,
    compression,
    database,
    devices,
    keys,
    maintenance,
    mappings,
    readings,
    retention,
    roles,
    service,
    simulate,
    transfer,
)
from fleetwatt.config import Config, ConfigError
from fleetwatt.database.errors import DatabaseError, SchemaBehind, Unavailable
from fleetwatt.embedded.database import EmbeddedDatabaseError
from fleetwatt.embedded.node import NodeError
from fleetwatt.observability import logs


@click.group()
@click.version_option(package_name="fleetwatt")
def fleetwatt() -> None:
    """Energy telemetry of vehicle fleets on TimescaleDB.

    `fleetwatt dev` serves the API on a database of its own, `fleetwatt serve` on yours; `config`
    and `simulate` need none, and the others the one that FLEETWATT_DATABASE_URL names.
    """


for _command in (
    audit.audit,
    chunks.chunks,
    compression.compression,
    database.db,
    devices.devices,
    devices.sites,
    keys.keys,
    readings.readings,
    retention.retention,
    maintenance.doctor,
    maintenance.maintain,
    mappings.mappings,
    service.config,
    service.dev,
    service.serve,
    simulate.simulate,
    transfer.export,
    transfer.import_,
):
    fleetwatt.add_command(_command)


database.db.add_command(roles.roles)


def main() -> None:
    """Run the command; what goes wrong in a known way is one line, not a traceback."""
    try:
        logging.config.dictConfig(logs.settings(Config.from_environment()))
        fleetwatt()
    except (ConfigError, EmbeddedDatabaseError, NodeError, DatabaseError) as error:
        is_away = isinstance(error, Unavailable) and not isinstance(error, SchemaBehind)
        sys.exit(f"fleetwatt: {'FLEETWATT_DATABASE_URL: ' if is_away else ''}{error}")
