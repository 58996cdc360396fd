"""Creating the roles that own the schema, serve and look."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

import click

from fleetwatt.cli import output
from fleetwatt.config import Config
from fleetwatt.database.errors import translated
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import roles as database_roles

Command = TypeVar("Command", bound=Callable[..., Any])


def _password_of(role: str) -> Callable[[Command], Command]:
    """Take a role's password from the environment, where no list of processes shows it."""
    return click.option(
        f"--{role}-password",
        envvar=f"FLEETWATT_{role.upper()}_PASSWORD",
        show_envvar=True,
        help=f"password of fleetwatt_{role}; without one it stays as it is",
    )


@click.command()
@_password_of("owner")
@_password_of("app")
@_password_of("dashboard")
@output.JSON
def roles(
    owner_password: str | None,
    app_password: str | None,
    dashboard_password: str | None,
    *,
    as_json: bool,
) -> None:
    """Create roles in the database and grant each what it needs.

    They are fleetwatt_owner, fleetwatt_app and fleetwatt_dashboard.
    """
    passwords = {
        "fleetwatt_owner": owner_password,
        "fleetwatt_app": app_password,
        "fleetwatt_dashboard": dashboard_password,
    }
    with translated(), closing(connect(Config.of_a_command())) as connection:
        database_roles.apply(connection)
        for role, password in passwords.items():
            if password:
                database_roles.set_password(connection, role, password)
    if as_json:
        output.echo_json({role: {"passwordSet": bool(passwords[role])} for role in passwords})
        return
    click.echo(
        "fleetwatt_owner owns the schema, fleetwatt_app serves, fleetwatt_dashboard reads. "
        "Those that shall log in need a password, by FLEETWATT_OWNER_PASSWORD and the like or "
        "`ALTER ROLE … PASSWORD …`."
    )
