"""`fleetwatt audit` finds what differs from history, says so, and mends it when asked to."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.cli import fleetwatt
from fleetwatt.streams import METER, STREAMS, VEHICLE, Stream
from tests.conftest import refresh, rows
from tests.examples import NOW, at, meter, vehicle

# Its three hours lie in one day and so in one chunk: the audit of 24 hours looks at all of them.
HOUR = NOW.replace(hour=10, minute=0, second=0) - timedelta(days=3)
Audit = Callable[..., Result]


@pytest.fixture
def audit(database_url: str, client: FlaskClient, sql: Connection) -> Audit:
    """The command, on two meters and two vehicles whose three hours are materialized."""
    for number in (1, 2):
        for minute in range(0, 180, 25):
            time = at(HOUR + timedelta(minutes=minute))
            kwh = 0.1 * (minute % 100) * number
            readings = [
                meter(meterId=f"M-{number}", kwhConsumedAc=kwh, voltage=230.1, timestamp=time),
                vehicle(vehicleId=f"V-{number}", kwhDeliveredDc=kwh, timestamp=time),
            ]
            assert client.post("/v1/ingestion", json=readings).status_code == 201
    refresh(sql)

    def run(*arguments: str) -> Result:
        environment = {"FLEETWATT_DATABASE_URL": database_url}
        return CliRunner().invoke(fleetwatt, ["audit", *arguments], env=environment)

    return run


def change(connection: Connection, statement: str, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        assert cursor.rowcount > 0


def materialized(connection: Connection, aggregate: str) -> str:
    """Return the table in which TimescaleDB keeps what an aggregate has materialized."""
    ((table,),) = rows(
        connection,
        "SELECT format('%%I.%%I', materialization_hypertable_schema,"
        " materialization_hypertable_name)"
        " FROM timescaledb_information.continuous_aggregates WHERE view_name = %(view)s",
        view=aggregate,
    )
    return str(table)


def test_a_clean_database_is_found_clean(audit: Audit) -> None:
    result = audit()

    assert result.exit_code == 0
    assert result.stdout.count(": 2 devices, ") == 2
    assert result.stdout.count("differences: 0") == 2


def test_an_empty_database_is_found_clean(database_url: str) -> None:
    environment = {"FLEETWATT_DATABASE_URL": database_url}
    result = CliRunner().invoke(fleetwatt, ["audit"], env=environment)

    assert result.exit_code == 0
    assert "meter: 0 devices, 0 hours" in result.stdout


@pytest.mark.community
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_materialized_row_that_differs_is_found_and_repaired(
    audit: Audit, sql: Connection, stream: Stream
) -> None:
    table = materialized(sql, stream.hourly)
    device = f"{stream.name[0].upper()}-1"
    change(
        sql,
        f"UPDATE {table} SET max_kwh = 99"
        f" WHERE {stream.id.column} = %(device)s AND bucket = %(start)s",
        device=device,
        start=HOUR,
    )

    found = audit()
    assert found.exit_code == 1
    assert f"{device} {HOUR:%Y-%m-%dT%H:%MZ} max_kwh: 5 by history, 99 stored" in found.stdout
    assert found.stdout.count("stored") == 1

    assert audit("--repair").exit_code == 0
    assert audit().exit_code == 0


@pytest.mark.community
def test_a_materialized_row_that_is_missing_is_found_and_repaired(
    audit: Audit, sql: Connection
) -> None:
    change(sql, f"DELETE FROM {materialized(sql, METER.hourly)} WHERE meter_id = 'M-2'")

    found = audit()
    assert found.exit_code == 1
    assert f"M-2 {HOUR:%Y-%m-%dT%H:%MZ} readings: 3 by history, nothing stored" in found.stdout
    assert audit("--repair").exit_code == 0


@pytest.mark.community
def test_an_hour_that_awaits_a_refresh_is_no_difference_but_said(
    audit: Audit, client: FlaskClient
) -> None:
    late = at(HOUR + timedelta(minutes=1))
    assert (
        client.post("/v1/ingestion", json=meter(meterId="M-1", timestamp=late)).status_code == 201
    )

    result = audit()

    assert result.exit_code == 0
    assert "meter: 2 devices, 23 hours (1 more read from raw until a refresh)" in result.stdout


@pytest.mark.parametrize(
    ("corruption", "said"),
    [
        ("UPDATE vehicles_latest SET soc = 1 WHERE vehicle_id = 'V-1'", "V-1 latest soc: 45 by"),
        (
            "UPDATE vehicles_latest SET time = time + INTERVAL '1 hour' WHERE vehicle_id = 'V-1'",
            "V-1 latest time",
        ),
        (
            "DELETE FROM vehicles_latest WHERE vehicle_id = 'V-1'",
            "V-1 latest battery_temp: 32.5 by history, nothing stored",
        ),
        (
            "INSERT INTO vehicles_latest SELECT 'V-0', time, 5, 5, 5 FROM vehicles_latest LIMIT 1",
            "V-0 latest soc: nothing by history, 5 stored",
        ),
    ],
    ids=["another value", "another time", "missing", "unheard of"],
)
def test_a_latest_reading_that_differs_is_found_and_repaired(
    audit: Audit, sql: Connection, corruption: str, said: str
) -> None:
    order = "SELECT vehicle_id, time, soc, battery_temp FROM vehicles_latest ORDER BY vehicle_id"
    before = rows(sql, order)
    change(sql, corruption)

    found = audit("--hours", "1000")
    assert found.exit_code == 1
    assert said in found.stdout

    assert audit("--hours", "1000", "--repair").exit_code == 0
    assert rows(sql, order) == before


def test_the_findings_come_as_json_with_their_seed(audit: Audit, sql: Connection) -> None:
    change(sql, "UPDATE meters_latest SET voltage = 1 WHERE meter_id = 'M-1'")

    found = json.loads(audit("--json", "--seed", "a").stdout)

    assert found["seed"] == "a"
    assert found["streams"][VEHICLE.name]["differences"] == []
    assert found["streams"][METER.name]["differences"] == [
        {
            "device": "M-1",
            "hour": None,
            "column": "voltage",
            "raw": "230.1",
            "stored": "1",
        }
    ]


def test_a_seed_chooses_the_same_sample_again(audit: Audit) -> None:
    arguments = ("--sample", "1", "--hours", "3", "--seed", "a", "--json")

    first = audit(*arguments)
    assert json.loads(first.stdout)["streams"][METER.name]["devices"] == 1
    assert audit(*arguments).stdout == first.stdout


def test_without_a_database_it_says_which_setting_is_missing() -> None:
    result = CliRunner().invoke(fleetwatt, ["audit"], env={"FLEETWATT_DATABASE_URL": ""})

    assert result.exit_code == 1
    assert "FLEETWATT_DATABASE_URL" in result.stderr
