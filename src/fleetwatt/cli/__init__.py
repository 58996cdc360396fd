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
    messaging,
    readings,
    retention,
    roles,
    service,
    simulate,
    transfer,
)
from fleetwatt.cli.program import Program, end, warn_of_misspelt
from fleetwatt.config import Config, ConfigError
from fleetwatt.observability import logs


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="fleetwatt")
@click.pass_context
def fleetwatt(context: click.Context) -> None:
    """Energy telemetry of vehicle fleets on TimescaleDB.

    `fleetwatt dev` serves the API on a database of its own, `fleetwatt serve` on yours; `config`
    and `simulate` need none, and the others the one that FLEETWATT_DATABASE_URL names.

    Completion in bash (zsh_source, fish_source for other shells):
    eval "$(_FLEETWATT_COMPLETE=bash_source fleetwatt)"
    """
    # The service logs them itself, as it may be started without this.
    if context.invoked_subcommand != service.serve.name:
        warn_of_misspelt()


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
    messaging.consume,
    messaging.dead_letters,
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
    """Run the command of this process's arguments."""
    try:
        on_terminal = sys.stderr.isatty()
        logging.config.dictConfig(logs.settings(Config.from_environment(), on_terminal=on_terminal))
    except ConfigError as error:
        end(str(error), 1)
    fleetwatt()
