"""Dead letters, from a rejected reading to its retry or end, by the commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from psycopg2.extensions import connection as Connection

from fleetwatt.cli import fleetwatt
from tests.conftest import rows
from tests.examples import meter
from tests.messaging.conftest import Broker, Consume, device
from tests.waiting import eventually


def command(broker: Broker, *arguments: str) -> Result:
    environment = {"FLEETWATT_NATS_URL": broker.url}
    return CliRunner().invoke(fleetwatt, ["dead-letters", *arguments], env=environment)


def listed(broker: Broker) -> list[dict[str, Any]]:
    done = command(broker, "list", "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.output.splitlines()]


@pytest.fixture
def rejected(broker: Broker, consume: Consume) -> dict[str, Any]:
    """A dead letter of two readings, one of them invalid."""
    consume()
    command(broker, "drop", "--all")
    body = json.dumps([meter(meterId="M-1"), meter(meterId="M-1", voltage=-1)]).encode()
    with device(broker.port) as sender:
        sender.send("fleetwatt/v1/meter/M-1", body)
    eventually(lambda: len(listed(broker)) == 1, "there is no dead letter")
    return listed(broker)[0]


def test_a_dead_letter_has_index_field_and_message_and_the_payload(
    broker: Broker, rejected: dict[str, Any], sql: Connection
) -> None:
    [error] = rejected["errors"]

    assert (error["index"], error["field"]) == (1, "voltage")
    assert str(rejected["payload"]).startswith('[{"meterId": "M-1"')
    assert rows(sql, "SELECT meter_id FROM meter_telemetry") == [("M-1",)]
    words = command(broker, "list").output
    assert "fleetwatt.v1.meter.M-1" in words
    assert "reading 1, voltage: " in words


def test_a_retried_dead_letter_goes_the_same_way_again(
    broker: Broker, rejected: dict[str, Any], sql: Connection
) -> None:
    done = command(broker, "retry", str(rejected["number"]))

    assert done.exit_code == 0, done.output
    eventually(
        lambda: [letter["number"] for letter in listed(broker)] > [rejected["number"]],
        "it is not rejected again",
    )
    assert len(rows(sql, "SELECT FROM meter_telemetry")) == 1


def test_a_dropped_dead_letter_is_gone(broker: Broker, rejected: dict[str, Any]) -> None:
    assert command(broker, "drop", "999999").exit_code == 1
    assert command(broker, "drop").exit_code == 2
    assert command(broker, "drop", str(rejected["number"])).exit_code == 0
    assert command(broker, "list").output == "There are no dead letters.\n"


def test_the_commands_say_where_nats_is_away() -> None:
    done = CliRunner().invoke(
        fleetwatt, ["dead-letters", "list"], env={"FLEETWATT_NATS_URL": "nats://127.0.0.1:1"}
    )

    assert done.exit_code == 1
    assert "FLEETWATT_NATS_URL" in done.output
