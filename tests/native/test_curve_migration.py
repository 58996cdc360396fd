"""From the aggregates of steps to those of the curve: nothing is lost, and old answers go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import editions, migrations
from tests.conftest import rows
from tests.native.server import NativeServer
from tests.storage import do

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)
DAY = timedelta(days=1)
LAST_OF_STEPS, CURVE = 12, 13


def upgrade(url: str, until: int | None = None) -> None:
    with closing(connect(Config(database_url=url))) as connection:
        connection.autocommit = False
        list(migrations.upgrade(connection, until))


@pytest.fixture
def before() -> Iterator[tuple[str, Connection, datetime]]:
    """A database of the release before: six days of a meter, of which raw has the last three."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with NativeServer() as server:
        upgrade(server.url, LAST_OF_STEPS)
        with closing(psycopg2.connect(server.url)) as sql:
            sql.autocommit = True
            if editions.edition(sql) == "apache":
                pytest.skip("the Apache edition has no aggregates")
            do(
                sql,
                "INSERT INTO meter_telemetry"
                " SELECT 'M', time, row_number() OVER (ORDER BY time), 230"
                " FROM generate_series("
                "%(start)s::timestamptz, %(end)s, INTERVAL '10 minutes') AS time",
                start=today - 6 * DAY,
                end=today,
            )
            do(sql, "CALL refresh_continuous_aggregate('meter_hourly', NULL, NULL)")
            do(
                sql,
                f"SELECT drop_chunks('meter_telemetry', '{today - 3 * DAY:%Y-%m-%d}'::timestamptz)",
            )
            do(
                sql,
                "INSERT INTO fleetwatt_dropped VALUES ('meter_telemetry', %(until)s)",
                until=today - 3 * DAY,
            )
            yield server.url, sql, today


def test_what_raw_no_longer_has_is_kept(before: tuple[str, Connection, datetime]) -> None:
    url, sql, today = before

    upgrade(url)

    energy = "SELECT energy_kwh, readings FROM meter_energy('M', tstzrange(%(start)s, %(end)s))"
    for start, end in ((5, 4), (4, 2), (2, 1)):
        window = {"start": today - start * DAY, "end": today - end * DAY}
        [(kwh, readings)] = rows(sql, energy, **window)
        assert kwh == pytest.approx(144 * (start - end))
        assert readings == 144 * (start - end)


def test_the_aggregates_of_before_stay_until_the_new_ones_are_filled(
    before: tuple[str, Connection, datetime],
) -> None:
    url, sql, _ = before
    old = "SELECT count(*), sum(energy_kwh) FROM meter_hourly"
    told = rows(sql, old)

    upgrade(url, CURVE)

    assert rows(sql, old) == told
    do(sql, "CALL refresh_continuous_aggregate('meter_hours', NULL, now())")
    assert rows(sql, "SELECT count(*) > 70 FROM meter_hours") == [(True,)]
    upgrade(url)
    assert rows(sql, "SELECT count(*) FROM meter_hourly_kept") == [(72,)]
    # One row for each hour, of whichever the hour is known.
    [(hours, _)] = told
    assert rows(sql, "SELECT count(*) FROM meter_known_hours") == [(hours,)]
