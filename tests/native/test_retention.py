"""Dropping raw readings while they still come in, which the embedded database can't show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from tests.conftest import refresh, rows
from tests.storage import DAY, do, load, put_back, run_guard, today
from tests.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"),
    pytest.mark.community,
]
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'meter_telemetry'::regclass"
)


@pytest.fixture
def history(sql: Connection) -> Iterator[Connection]:
    """Forty days, refreshed, of which thirty are to be kept."""
    put_back(sql)
    load(sql, 40)
    refresh(sql)
    do(sql, "SELECT set_retention('meter_telemetry', '30 days', '29 days')")
    yield sql
    put_back(sql)


def test_a_reading_that_is_being_stored_is_waited_for_and_refreshed(
    history: Connection, database_url: str
) -> None:
    with (
        closing(psycopg2.connect(database_url)) as writer,
        closing(psycopg2.connect(database_url)) as dropper,
        ThreadPoolExecutor(1) as thread,
    ):
        dropper.autocommit = True
        hour = today() - 35 * DAY
        late = hour + timedelta(minutes=1)
        do(writer, "INSERT INTO meter_telemetry VALUES ('M-1', %(time)s, 1, 230)", time=late)
        dropping = thread.submit(run_guard, dropper)
        eventually(
            lambda: rows(history, WAITING) != [(0,)], "the guard does not wait for the writer"
        )
        writer.commit()
        dropping.result()

    raw = "SELECT count(*) FROM meter_telemetry WHERE time < %(day)s"
    assert rows(history, raw, day=today() - 31 * DAY) == [(0,)]
    refreshed = "SELECT readings FROM meter_hourly WHERE bucket = %(hour)s"
    assert rows(history, refreshed, hour=hour) == [(3,)]
