"""Which chunks an answer about one vehicle touches: not one for each day that was ever stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from tests.conftest import rows

DAY = timedelta(days=1)
HALF_AN_HOUR = timedelta(minutes=30)
STORED = (0, 20)  # days ago
# The embedded database is one process, and has no ids for it.
LOCKED = """
    SELECT DISTINCT hypertable_name, range_end FROM timescaledb_information.chunks
    JOIN pg_locks ON pid IS NOT DISTINCT FROM NULLIF(pg_backend_pid(), 0)
        AND relation = to_regclass(format('%%I.%%I', chunk_schema, chunk_name))
    WHERE hypertable_name IN ('meter_telemetry', 'vehicle_telemetry')
"""


@pytest.mark.parametrize("days_ago", STORED)
def test_a_window_locks_no_chunk_that_lies_days_before_or_after_it(
    sql: Connection, days_ago: int
) -> None:
    now = datetime.now(UTC)
    store(sql, [now - days * DAY + n * HALF_AN_HOUR for days in STORED for n in range(-96, 97)])
    until = now - days_ago * DAY
    since = until - DAY

    sql.autocommit = False
    for _ in range(8):
        # Often enough for PostgreSQL to keep plans.
        sql.rollback()
        [(readings, energy)] = rows(
            sql,
            "SELECT readings, energy_kwh"
            " FROM vehicle_summary('V', %(since)s, %(until)s, true, 1000)",
            since=since,
            until=until,
        )
    locked = rows(sql, LOCKED)
    sql.rollback()

    assert (readings, energy) == (49, 0)
    assert {name for name, _ in locked} == {"meter_telemetry", "vehicle_telemetry"}
    assert all(since - 3 * DAY < end <= until + 3 * DAY for _, end in locked)


def store(sql: Connection, times: list[datetime]) -> None:
    with sql.cursor() as cursor:
        for time in times:
            cursor.execute("INSERT INTO meter_telemetry VALUES ('M', %s, 1, 230)", (time,))
            cursor.execute("INSERT INTO vehicle_telemetry VALUES ('V', %s, 50, 1, 20)", (time,))
        cursor.execute("INSERT INTO vehicle_meter_mapping VALUES ('V', 'M', '(,)')")
