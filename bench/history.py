"""A fleet's history, hour by hour, for the questions of bench.analytics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.streams import STREAMS

HOUR = timedelta(hours=1)
# Every other device reports on the minute, so that readings meet the ends of hours.
LOAD = {
    "meter": """
        INSERT INTO meter_telemetry
        SELECT 'M-' || n,
            %(hour)s::timestamptz + m * interval '1 min' + n %% 2 * (n %% 60) * interval '1 s',
            100 + 0.01 * (%(minute)s + m), 230
        FROM generate_series(0, 59) AS m, generate_series(1, %(devices)s) AS n""",
    "vehicle": """
        INSERT INTO vehicle_telemetry
        SELECT 'V-' || n,
            %(hour)s::timestamptz + m * interval '1 min' + n %% 2 * (n %% 60) * interval '1 s',
            50, 100 + 0.009 * (%(minute)s + m), 20 + n %% 15
        FROM generate_series(0, 59) AS m, generate_series(1, %(devices)s) AS n""",
}
FINISH = """
    INSERT INTO meters_latest SELECT DISTINCT ON (meter_id) * FROM meter_telemetry
    WHERE time >= %(last)s ORDER BY meter_id, time DESC;
    INSERT INTO vehicles_latest SELECT DISTINCT ON (vehicle_id) * FROM vehicle_telemetry
    WHERE time >= %(last)s ORDER BY vehicle_id, time DESC;
    INSERT INTO vehicle_meter_mapping
    SELECT 'V-' || n, 'M-' || n, '(,)' FROM generate_series(1, %(devices)s) AS n"""
INDEX = "CREATE UNIQUE INDEX {0}_telemetry_id_time ON {0}_telemetry ({0}_id, time)"


def load(url: str, end: datetime, devices: int, hours: range, *, empty: bool = False) -> None:
    """Database these hours before `end` of so many devices, a connection a stream.

    Where nothing is stored yet the index is built afterwards: that takes a third of the time.
    """
    first = max(hours) + 1

    def load_stream(stream: str) -> None:
        with closing(connected(url)) as connection, connection.cursor() as cursor:
            if empty:
                cursor.execute(f"DROP INDEX {stream}_telemetry_id_time")
            for back in reversed(hours):
                given = {"hour": end - (back + 1) * HOUR, "minute": (first - back - 1) * 60}
                cursor.execute(LOAD[stream], given | {"devices": devices})
            if empty:
                cursor.execute("SET maintenance_work_mem = '512MB'")
                cursor.execute(INDEX.format(stream))

    with ThreadPoolExecutor() as pool:
        list(pool.map(load_stream, LOAD))


def map_all(connection: Connection, end: datetime, devices: int) -> None:
    """Set latest, and put each vehicle on a meter of its own, from the beginning."""
    with connection.cursor() as cursor:
        cursor.execute(FINISH, {"last": end - HOUR, "devices": devices})


def materialize(connection: Connection, end: datetime) -> None:
    """Materialize hour after hour, as the policy does, and let the planner know of them."""
    with connection.cursor() as cursor:
        for stream in STREAMS:
            cursor.execute(f"SELECT time_bucket('1 hour', min(time)) FROM {stream.history}")
            ((hour,),) = cursor.fetchall()
            while hour < end:
                for aggregate in stream.aggregates:
                    cursor.execute(
                        f"CALL refresh_continuous_aggregate('{aggregate}', %s, %s)",
                        (hour, hour + HOUR),
                    )
                hour += HOUR
        cursor.execute("VACUUM ANALYZE")


def connected(url: str) -> Connection:
    return connect(Config(database_url=url, statement_timeout=0))
