"""`fleetwatt chunks` lists chunks, and says and sets how much time one holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from click.testing import Result
from flask import Flask
from psycopg2.extensions import connection as Connection

from fleetwatt.lifecycle import chunk_advice
from tests.conftest import rows
from tests.storage import DAY, load, put_back, run, today

Chunks = Callable[..., Result]
INTERVAL = (
    "SELECT time_interval FROM timescaledb_information.dimensions"
    " WHERE hypertable_name = 'meter_telemetry'"
)


@pytest.fixture
def chunks(database_url: str, sql: Connection) -> Iterator[Chunks]:
    """The command, on three whole days and today; the interval is put back afterwards."""
    put_back(sql)
    load(sql, 3)
    yield lambda *arguments, **kwargs: run(database_url, "chunks", *arguments, **kwargs)
    put_back(sql)


def test_the_chunks_of_a_table_are_listed_oldest_first(chunks: Chunks) -> None:
    lines = chunks("list", "meter_telemetry").output.splitlines()

    days = [today() - ago * DAY for ago in (3, 2, 1, 0)]
    assert len(lines) == 1 + len(days)
    for line, day in zip(lines[1:], days, strict=True):
        assert f"meter_telemetry  {day:%Y-%m-%d} 00:00Z" in line


def test_all_chunks_are_listed(chunks: Chunks) -> None:
    output = chunks("list").output

    assert output.count("  meter_telemetry  ") == output.count("vehicle_telemetry  ") == 4


def test_a_new_interval_holds_for_new_chunks(chunks: Chunks, sql: Connection) -> None:
    result = chunks("set-interval", "meter_telemetry", "12h", "--yes")

    assert "a chunk holds 1d now, new ones 12h then" in result.output
    assert rows(sql, INTERVAL) == [(timedelta(hours=12),)]


def test_a_dry_run_changes_nothing(chunks: Chunks, sql: Connection) -> None:
    result = chunks("set-interval", "meter_telemetry", "12h", "--dry-run")

    assert "Nothing was changed." in result.output
    assert rows(sql, INTERVAL) == [(DAY,)]


def test_the_indexes_of_the_active_chunks_are_set_against_shared_buffers(chunks: Chunks) -> None:
    output = chunks("interval").output

    assert "The indexes of the active chunks take " in output
    assert "set-interval" not in output


@pytest.mark.usefixtures("chunks")
def test_indexes_that_do_not_fit_are_advised_a_shorter_interval(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = app.extensions["fleetwatt"]
    taken = chunk_advice.advise(database).taken
    real = database.query_one
    small = {"shared_buffers": taken * 0.3}
    monkeypatch.setattr(
        database,
        "query_one",
        lambda query, **given: small if query == "server" else real(query, **given),
    )

    fitting = chunk_advice.advise(database).fitting

    # 0.3 of a day is 7.2 hours; chunks shall begin where days do.
    assert fitting["meter_telemetry"] == timedelta(hours=6)
    assert "meter_hourly" not in fitting
