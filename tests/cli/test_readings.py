"""`fleetwatt readings` corrects what is stored, as the routes do."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from tests.cli.conftest import Command
from tests.examples import meter

VALUES = ("--set", "kwhConsumedAc=100.25", "--set", "voltage=231")
REASON = ("--reason", "nonsense after a boot")
SPAN = ("--start", "2026-11-02T12:03Z", "--end", "2026-11-02T12:06Z")


@pytest.fixture
def history(client: FlaskClient) -> FlaskClient:
    """Ten minutes of a meter from noon on."""
    readings = [
        meter(kwhConsumedAc=100 + number / 10, timestamp=f"2026-11-02T12:{number:02}:00Z")
        for number in range(10)
    ]
    assert client.post("/v1/ingestion", json=readings).status_code == 201
    return client


def latest(client: FlaskClient) -> float:
    status = client.get("/v1/status/meters/M-123").get_json()
    return float(status["kwhConsumedAc"])


@pytest.mark.usefixtures("history")
def test_a_dry_run_says_how_many_would_go(command: Command) -> None:
    result = command("readings", "remove", "meter:M-123", *SPAN, *REASON, "--dry-run")

    assert result.exit_code == 0, result.output
    assert "3 readings of meter M-123" in result.output
    assert "Nothing was changed." in result.output
    assert "no corrections" in command("readings", "corrections").output


def test_a_reading_is_replaced_listed_and_brought_back(
    command: Command, history: FlaskClient
) -> None:
    time = "2026-11-02T12:09Z"
    result = command("readings", "replace", "meter:M-123", time, *VALUES, *REASON, "--json")
    assert result.exit_code == 0, result.output
    (made,) = json.loads(result.output)
    assert latest(history) == 100.25

    listed = command("readings", "corrections", "--device", "meter:M-123").output
    assert "meter:M-123" in listed
    assert "nonsense after a boot" in listed

    assert command("readings", "undo", str(made["id"])).exit_code == 0
    assert latest(history) == 100.9
    again = command("readings", "undo", str(made["id"]))
    assert again.exit_code == 1
    assert "was undone" in again.output


def test_readings_are_removed_once_it_is_confirmed(command: Command, history: FlaskClient) -> None:
    span = ("--start", "2026-11-02T12:05Z", "--end", "2026-11-02T12:30Z")
    result = command("readings", "remove", "meter:M-123", *span, *REASON, stdin=b"y\n")

    assert "5 readings were removed." in result.output
    assert latest(history) == 100.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replace", "M-123", "2026-11-02T12:09Z", *VALUES, *REASON), "meter:ID or vehicle:ID"),
        (("replace", "meter:M-123", "noon", *VALUES, *REASON), "is not a time"),
        (("replace", "meter:M-123", "2026-11-02T12:09Z", *VALUES[:2], *REASON), "voltage"),
        (("replace", "meter:M-123", "2026-11-02T12:09Z", "--set", "x", *REASON), "FIELD=VALUE"),
        (("replace", "meter:M-123", "2026-11-02T13:00Z", *VALUES, *REASON), "is stored"),
        (("replace", "meter:M-123", "2026-11-02T12:09Z", *VALUES, "--reason", " "), "say why"),
        (("remove", "meter:M-123", *SPAN[2:], "--start", "2027-01-01", *REASON), "before --end"),
        (("undo", "999999999"), "there is no correction"),
    ],
)
@pytest.mark.usefixtures("history")
def test_what_can_not_be_done_is_said(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    result = command("readings", *arguments)

    assert result.exit_code != 0
    assert message in result.output
