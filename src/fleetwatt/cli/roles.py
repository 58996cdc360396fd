"""Creating the roles that own the schema, serve and look."""

from __future__ import annotations

from contextlib import closing

import click

from fleetwatt.config import Config
from fleetwatt.database.errors import translated
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import roles as database_roles


@click.command()
def roles() -> None:
    """Create roles in the database and grant each what it needs.

    They are fleetwatt_owner, fleetwatt_app and fleetwatt_dashboard.
    """
    with translated(), closing(connect(Config.of_a_command())) as connection:
        database_roles.apply(connection)
    click.echo(
        "fleetwatt_owner owns the schema, fleetwatt_app serves, fleetwatt_dashboard reads. "
        "Those that shall log in need a password: `ALTER ROLE … PASSWORD …`."
    )
