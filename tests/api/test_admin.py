"""`fleetwatt db status` and GET /v1/admin/storage tell the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.conftest import refresh, rows
from tests.examples import at
from tests.storage import DAY, do, load, put_back, run, run_jobs, today


@pytest.fixture(autouse=True)
def stored(sql: Connection) -> Iterator[Connection]:
    """Six whole days and today, refreshed, too new for the scheduler to compress them."""
    put_back(sql)
    load(sql, 6)
    refresh(sql)
    yield sql
    put_back(sql)


def storage(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/v1/admin/storage")
    assert response.status_code == 200
    assert response.json
    return dict(response.json)


def table(answer: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (table for table in answer["tables"] if table["table"] == name)
    return dict(found)


def test_a_table_tells_what_it_holds_and_costs(client: FlaskClient, stored: Connection) -> None:
    do(stored, "ANALYZE")
    found = table(storage(client), "meter_telemetry")

    ((readings, newest),) = rows(stored, "SELECT count(*), max(time) FROM meter_telemetry")
    assert found["rows"] == readings
    assert (found["chunks"], found["compressedChunks"]) == (7, 0)
    assert (found["oldest"], found["newest"]) == (at(today() - 6 * DAY), at(newest))
    assert found["bytes"] == found["bytesUncompressed"] > found["indexBytes"] > 0
    assert found["bytesPerRow"] == round(found["bytes"] / readings, 1)
    assert found["rowsPerDay"] == pytest.approx(48)
    assert found["chunkInterval"] == 86_400


def test_rows_are_estimated_by_size_where_nothing_was_analyzed(
    client: FlaskClient, stored: Connection
) -> None:
    estimated = table(storage(client), "meter_telemetry")["rows"]

    ((readings,),) = rows(stored, "SELECT count(*) FROM meter_telemetry")
    # Two days of half hours fill no page of a chunk: the size is of whole pages.
    assert readings / 2 < estimated < readings * 4


@pytest.mark.community
def test_an_aggregate_is_told_beside_its_history(client: FlaskClient) -> None:
    answer = storage(client)

    assert [table["table"] for table in answer["tables"]] == [
        "meter_telemetry",
        "meter_hourly",
        "vehicle_telemetry",
        "vehicle_hourly",
    ]
    found = table(answer, "meter_hourly")
    assert found["kind"] == "aggregate"
    assert found["oldest"] == at(today() - 6 * DAY)
    assert found["bytes"] > 0


@pytest.mark.community
def test_compression_shows_in_both_sizes(client: FlaskClient, stored: Connection) -> None:
    do(stored, "SELECT set_compression('meter_telemetry', '2 days')")
    run_jobs(stored, "proc_name = 'policy_compression'")

    found = table(storage(client), "meter_telemetry")

    assert found["compressedChunks"] == 4
    assert found["bytes"] != found["bytesUncompressed"]


@pytest.mark.community
def test_policies_tell_what_they_do_and_when(client: FlaskClient) -> None:
    policies = [
        policy for policy in storage(client)["policies"] if policy["table"].startswith("meter")
    ]

    assert [(policy["table"], policy["does"]) for policy in policies] == [
        ("meter_telemetry", "compress chunks older than 7d"),
        ("meter_telemetry", "drop chunks older than 1095d, refreshed first"),
        ("meter_hourly", "refresh from 1094d ago to 1h ago"),
        ("meter_hourly", "drop chunks older than 3650d"),
    ]
    assert all(policy["every"] > 0 and policy["jobId"] for policy in policies)


def broken(client: FlaskClient) -> list[dict[str, str]]:
    """Return the warnings of rules; how the scheduler's own runs went is another matter."""
    return [warning for warning in storage(client)["warnings"] if warning["rule"] != "job-succeeds"]


@pytest.mark.community
def test_a_policy_that_was_made_unsafe_in_sql_is_warned_of(
    client: FlaskClient, database_url: str, stored: Connection
) -> None:
    assert broken(client) == []
    do(
        stored,
        "SELECT alter_job(job_id, scheduled => true) FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention' AND hypertable_name = 'meter_telemetry'",
    )

    (warning,) = broken(client)
    assert (warning["rule"], warning["table"]) == ("refreshed-before-dropped", "meter_telemetry")
    assert "Warning (refreshed-before-dropped): " in run(database_url, "db", "status").output


def test_the_command_prints_the_same_as_json(client: FlaskClient, database_url: str) -> None:
    answer = storage(client)

    assert json.loads(run(database_url, "db", "status", "--json").output) == answer
    assert answer["edition"] in {"timescale", "apache"}
    assert answer["version"][0] == "2"


def test_the_command_prints_tables_for_people(database_url: str) -> None:
    output = run(database_url, "db", "status").output

    assert output.startswith("TimescaleDB 2.")
    assert "vehicle_telemetry" in output
    assert " kB" in output
