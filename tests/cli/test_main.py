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


@pytest.mark.parametrize("name", ["", *ALL])
def test_h_is_short_for_help(name: str) -> None:
    short, long = (
        CliRunner().invoke(fleetwatt, [*name.split(), option]) for option in ("-h", "--help")
    )

    assert short.exit_code == 0
    assert short.stdout == long.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_completes(shell: str) -> None:
    result = CliRunner().invoke(
        fleetwatt, env={"_FLEETWATT_COMPLETE": f"{shell}_source"}, prog_name="fleetwatt"
    )

    assert result.exit_code == 0
    assert f"_FLEETWATT_COMPLETE={shell}_complete" in result.stdout


def test_a_command_s_name_is_completed() -> None:
    environment = {
        "_FLEETWATT_COMPLETE": "bash_complete",
        "COMP_WORDS": "fleetwatt maint",
        "COMP_CWORD": "1",
    }

    result = CliRunner().invoke(fleetwatt, env=environment, prog_name="fleetwatt")

    assert result.stdout == "plain,maintain\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["keys", "create"], 2),
        (["nonsense"], 2),
        (["import", "no-such-file"], 2),
        (["export", "meter", "/no/such/folder/a.csv"], 1),
        (["db", "status"], 1),
        (["simulate", "--url", "http://127.0.0.1:1", "--patience", "0"], 1),
    ],
)
def test_an_error_is_a_line_that_begins_with_the_program_s_name(
    arguments: list[str], status: int
) -> None:
    result = CliRunner().invoke(fleetwatt, arguments, env={"FLEETWATT_DATABASE_URL": AWAY})

    assert result.exit_code == status
    last = result.stderr.splitlines()[-1]
    assert last.startswith("fleetwatt: ")
    assert "Error" not in last


def test_a_port_on_which_nothing_listens_is_said_with_how_to_name_another() -> None:
    result = CliRunner().invoke(
        fleetwatt, ["simulate", "--url", "http://127.0.0.1:1", "--patience", "0"]
    )

    assert "--url http://127.0.0.1:8001" in result.stderr


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("FLEETWATT_PROT", "did you mean FLEETWATT_PORT?"),
        ("FLEETWATT_DATABASE_ULR", "did you mean FLEETWATT_DATABASE_URL?"),
        ("FLEETWATT_AUHT", "did you mean FLEETWATT_AUTH?"),
        ("FLEETWATT_XYZZY", "`fleetwatt config` lists them"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_nearest_right_one(variable: str, said: str) -> None:
    result = CliRunner().invoke(fleetwatt, ["config"], env={variable: "1"})

    assert result.exit_code == 0
    assert f"fleetwatt: {variable} is no setting and does nothing" in result.stderr
    assert said in result.stderr


def test_a_variable_that_a_command_reads_is_not_taken_for_misspelt() -> None:
    environment = {"FLEETWATT_API_KEY": "a", "FLEETWATT_OWNER_PASSWORD": "b"}

    assert CliRunner().invoke(fleetwatt, ["config"], env=environment).stderr == ""


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
