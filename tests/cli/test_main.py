"""The command as a whole: its help, and what it says where it can't begin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from fleetwatt.cli import fleetwatt

AWAY = "postgresql://app:hush@127.0.0.1:1/fleet"


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


ALL = dict(commands(fleetwatt))


@pytest.mark.parametrize(
    "group", ["", *(name for name in ALL if isinstance(ALL[name], click.Group))]
)
def test_a_list_of_commands_says_of_each_in_a_line_what_it_does(group: str) -> None:
    result = CliRunner().invoke(fleetwatt, [*group.split(), "--help"], terminal_width=80)

    assert result.exit_code == 0
    lines = result.stdout.partition("Commands:\n")[2].splitlines()
    assert lines
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


def test_it_names_its_version() -> None:
    result = CliRunner().invoke(fleetwatt, ["--version"])

    assert (result.exit_code, result.stdout) == (0, f"fleetwatt, version {version('fleetwatt')}\n")


@pytest.mark.parametrize("name", ALL)
def test_each_option_says_what_it_is_for(name: str) -> None:
    options = [option for option in ALL[name].params if isinstance(option, click.Option)]

    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "set FLEETWATT_DATABASE_URL to the database's URL"),
        ({"FLEETWATT_DATABASE_URL": AWAY}, "FLEETWATT_DATABASE_URL: connection to server at"),
        ({"FLEETWATT_DATABASE_URL": "nonsense"}, "FLEETWATT_DATABASE_URL: invalid dsn"),
        ({"FLEETWATT_PORT": "http"}, "FLEETWATT_PORT='http': must be a whole number"),
    ],
    ids=["no database", "a database that is away", "no URL", "no port"],
)
def test_where_it_can_not_begin_it_says_so_in_a_line_that_names_the_setting(
    environment: dict[str, str], said: str
) -> None:
    others = {key: value for key, value in os.environ.items() if not key.startswith("FLEETWATT_")}

    result = subprocess.run(
        [sys.executable, "-m", "fleetwatt", "db", "status"],
        env=others | environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.startswith(f"fleetwatt: {said}")
    assert result.stderr.count("\n") == 1
    assert "hush" not in result.stderr
