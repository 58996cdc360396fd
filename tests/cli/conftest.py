"""Commands on the database under test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from fleetwatt.cli import fleetwatt

Command = Callable[..., Result]


@pytest.fixture
def command(database_url: str) -> Command:
    """Run `fleetwatt` with arguments, and with bytes on its standard input."""

    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        environment = {"FLEETWATT_DATABASE_URL": database_url}
        return CliRunner().invoke(fleetwatt, arguments, env=environment, input=stdin)

    return run
