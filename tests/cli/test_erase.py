"""`fleetwatt readings erase` leaves nothing of a device, and everything of all others."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.streams import METER, STREAMS, VEHICLE, Stream
from tests.cli.conftest import Command
from tests.conftest import rows
from tests.examples import meter, vehicle

MINE = {METER: "M-1", VEHICLE: "V-1"}


@pytest.fixture(autouse=True)
def _known(client: FlaskClient, command: Command) -> None:
    """Two pairs of devices of which all is known that may be."""
    for number in (1, 2):
        readings = [
            reading
            for minute in range(5)
            for reading in (
                meter(
                    meterId=f"M-{number}",
                    kwhConsumedAc=100 + minute,
                    timestamp=f"2026-11-02T12:{minute:02}:00Z",
                ),
                vehicle(
                    vehicleId=f"V-{number}",
                    kwhDeliveredDc=100 + minute,
                    timestamp=f"2026-11-02T12:{minute:02}:00Z",
                ),
            )
        ]
        assert client.post("/v1/ingestion", json=readings).status_code == 201
        mapping = {
            "vehicleId": f"V-{number}",
            "meterId": f"M-{number}",
            "validFrom": "2026-11-02T12:00:00Z",
        }
        assert client.post("/v1/ingestion/mapping", json=mapping).status_code == 201
        for device in (f"meter:M-{number}", f"vehicle:V-{number}"):
            assert command("devices", "set", device, "--name", "x").exit_code == 0
            span = ("--start", "2026-11-02T12:02Z", "--end", "2026-11-02T12:03Z")
            removed = command("readings", "remove", device, *span, "--reason", "x", "--yes")
            assert removed.exit_code == 0, removed.output


def traces(sql: Connection, device: str) -> list[str]:
    """The tables in whose rows a device's id stands, whatever their columns are."""
    tables = rows(
        sql,
        "SELECT format('%%I.%%I', schemaname, relname) FROM ("
        " SELECT schemaname, relname FROM pg_stat_user_tables"
        " WHERE schemaname IN (current_schema(), '_timescaledb_internal')"
        # Its chunks stand alone, and can't be read through it.
        " AND relname NOT LIKE '\\_compressed\\_hypertable%%'"
        ") AS tables ORDER BY 1",
    )
    return [
        table
        for (table,) in tables
        if rows(
            sql, f"SELECT 1 FROM {table} AS row WHERE row::text ~ '[\",(]{device}[\",)]' LIMIT 1"
        )
    ]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_dry_run_counts_and_changes_nothing(
    command: Command, sql: Connection, stream: Stream
) -> None:
    device = MINE[stream]
    before = traces(sql, device)

    result = command("readings", "erase", "--device", f"{stream.name}:{device}", "--dry-run")

    assert result.exit_code == 0, result.output
    lines = {" ".join(line.split()) for line in result.output.splitlines()}
    assert lines >= {
        "readings 4",
        "hours of aggregates 1",
        "latest reading 1",
        "mappings 1",
        "changes of mappings 1",
        "entry in the register 1",
        "corrections 1",
        "Nothing was changed.",
    }
    assert traces(sql, device) == before
    assert len(before) >= 7


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_no_table_names_an_erased_device_and_others_stay(
    command: Command, sql: Connection, client: FlaskClient, stream: Stream
) -> None:
    device = MINE[stream]
    other = traces(sql, device.replace("1", "2"))

    result = command("readings", "erase", "--device", f"{stream.name}:{device}", "--yes")

    assert result.exit_code == 0, result.output
    assert traces(sql, device) == []
    assert traces(sql, device.replace("1", "2")) == other
    assert client.get(f"/v1/status/{stream.plural}/{device}").status_code == 404
    again = command("readings", "erase", "--device", f"{stream.name}:{device}", "--yes")
    assert f"Nothing is known of {stream.name} {device}." in again.output


def test_the_answer_no_erases_nothing(command: Command, sql: Connection) -> None:
    before = traces(sql, "M-1")

    assert command("readings", "erase", "--device", "meter:M-1", stdin=b"n\n").exit_code == 1
    assert traces(sql, "M-1") == before


@pytest.mark.community
def test_compressed_readings_and_materialized_hours_are_erased(
    command: Command, sql: Connection
) -> None:
    with sql.cursor() as cursor:
        for aggregate in METER.aggregates:
            cursor.execute(f"CALL refresh_continuous_aggregate('{aggregate}', NULL, NULL)")
        for (chunk,) in rows(sql, "SELECT show_chunks('meter_telemetry')::text"):
            cursor.execute(f"CALL convert_to_columnstore('{chunk}')")
    hours = f"SELECT count(*) FROM {METER.hourly} WHERE meter_id = %(device)s"
    assert rows(sql, hours, device="M-1") == [(1,)]

    assert command("readings", "erase", "--device", "meter:M-1", "--yes").exit_code == 0

    assert traces(sql, "M-1") == []
    assert rows(sql, hours, device="M-1") == [(0,)]
    assert rows(sql, hours, device="M-2") == [(1,)]


@pytest.mark.community
def test_hours_whose_raw_readings_were_dropped_are_erased(
    command: Command, sql: Connection
) -> None:
    with sql.cursor() as cursor:
        for aggregate in METER.aggregates:
            cursor.execute(f"CALL refresh_continuous_aggregate('{aggregate}', NULL, NULL)")
        cursor.execute("SELECT drop_chunks('meter_telemetry', older_than => INTERVAL '1 second')")

    assert command("readings", "erase", "--device", "meter:M-1", "--yes").exit_code == 0
    assert traces(sql, "M-1") == []
    assert "_timescaledb_internal" in "".join(traces(sql, "M-2"))
