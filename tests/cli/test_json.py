"""Every command that prints does so as JSON where it is asked to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest

from tests.cli.conftest import Command
from tests.cli.test_main import ALL
from tests.examples import ago, meter
from tests.storage import put_back_after

SERVING = {"consume", "dev", "serve"}
SIMPLE = (
    "chunks list",
    "chunks interval",
    "compression show",
    "config",
    "db history",
    "db status",
    "db upgrade",
    "db upgrade --dry-run",
    "devices list",
    "devices set meter:M-1 --name gate",
    "keys create --scope read",
    "keys list",
    "maintain",
    "mappings export -",
    "readings corrections",
    "readings erase --device meter:M-1 --yes",
    "readings remove meter:M-1 --start 2024-01-01 --end 2024-01-02 --reason x --yes",
    "retention show",
    "retention set meter_telemetry 30d --yes",
    "chunks set-interval meter_telemetry 1d --yes",
    "sites list",
    "sites set S-1 --time-zone Europe/Berlin",
    "audit --sample 1 --hours 1",
)


@pytest.fixture(scope="module", autouse=True)
def default_policies(database_url: str) -> Iterator[None]:
    """For the files that this process runs next."""
    with put_back_after(database_url):
        yield


def test_each_command_that_prints_can_print_json() -> None:
    without = {
        name
        for name, command in ALL.items()
        if not isinstance(command, click.Group)
        and "--json" not in {text for option in command.params for text in option.opts}
    }

    assert without == SERVING


@pytest.fixture
def stored(command: Command) -> None:
    lines = "".join(
        json.dumps(meter(timestamp=ago(minutes=minute), kwhConsumedAc=9 - minute)) + "\n"
        for minute in range(3)
    )
    done = command("import", "-", "--json", stdin=lines.encode())
    assert json.loads(done.stdout)["accepted"] == 3


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("arguments", SIMPLE)
def test_what_is_printed_is_json_and_nothing_else(command: Command, arguments: str) -> None:
    result = command(*arguments.split(), "--json")

    assert result.exit_code == 0, result.output
    if "export -" in arguments:
        # Standard output is the export.
        assert json.loads(result.stderr)
    else:
        assert json.loads(result.stdout) is not None


def test_doctor_prints_its_findings(command: Command) -> None:
    found = json.loads(command("doctor", "--json").stdout)

    assert {finding["check"] for finding in found} >= {"TimescaleDB", "schema", "retention"}


def printed(command: Command, *arguments: str) -> Any:
    result = command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_change_says_what_was_and_what_is(command: Command) -> None:
    planned = printed(command, "retention", "set", "vehicle_telemetry", "45d", "--dry-run")
    made = printed(command, "retention", "set", "vehicle_telemetry", "45d", "--yes")

    assert planned["afterSeconds"] == made["afterSeconds"] == 45 * 86_400
    assert (planned["changed"], made["changed"]) == (False, True)
    kept = {row["table"]: row["keptSeconds"] for row in printed(command, "retention", "show")}
    assert kept["vehicle_telemetry"] == 45 * 86_400


def test_a_key_is_printed_with_what_it_may_do(command: Command) -> None:
    made = printed(command, "keys", "create", "--scope", "read", "--name", "wallboard")
    ended = printed(command, "keys", "revoke", made["prefix"])

    assert made["key"].startswith(made["prefix"])
    assert (made["state"], ended["state"]) == ("valid", "revoked")
    assert "key" not in ended
