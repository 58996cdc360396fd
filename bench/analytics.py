"""What the analytics cost in the database: `python -m bench.analytics`.

Loads a fleet into a database of its own, on FLEETWATT_DATABASE_URL or a native server, and drops
it again; prints a table of each question's time and writes the plans to a file. CPU time is
the backend's own, counted in hundredths of a second: its mean says something on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import sql as composed
from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.energy import LOW_COVERAGE
from fleetwatt.store import migrations, sql
from fleetwatt.store.connections import connect
from tests.native.server import NativeServer

HOUR = timedelta(hours=1)
DATABASE = "fleetwatt_bench_analytics"
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
# What it costs to count the steps of all devices from raw, for comparison.
RAW = """
    SELECT device, sum(kwh) FILTER (WHERE kwh > 0) FROM (
        SELECT meter_id AS device, kwh_consumed_ac - lag(kwh_consumed_ac) OVER device AS kwh
        FROM meter_telemetry WHERE time > %(start)s AND time <= %(end)s
        WINDOW device AS (PARTITION BY meter_id ORDER BY time)
        UNION ALL
        SELECT vehicle_id, kwh_delivered_dc - lag(kwh_delivered_dc) OVER device
        FROM vehicle_telemetry WHERE time > %(start)s AND time <= %(end)s
        WINDOW device AS (PARTITION BY vehicle_id ORDER BY time)
    ) AS step GROUP BY device"""


@contextmanager
def database(url: str) -> Iterator[str]:
    """Create a database on a server, give its URL, and drop it."""
    name = composed.Identifier(DATABASE)
    with closing(psycopg2.connect(url)) as server:
        server.autocommit = True
        drop = composed.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name)
        with server.cursor() as cursor:
            cursor.execute(drop)
            cursor.execute(composed.SQL("CREATE DATABASE {}").format(name))
        try:
            yield urlsplit(url)._replace(path=f"/{DATABASE}").geturl()
        finally:
            with server.cursor() as cursor:
                cursor.execute(drop)


def load(connection: Connection, end: datetime, devices: int, hours: int, behind: int) -> None:
    """Store `hours` of all devices and, before them, `behind` hours of a hundredth of them."""
    with connection.cursor() as cursor:
        for back in range(hours + behind, 0, -1):
            few = max(devices // 100, 1)
            given = {
                "hour": end - back * HOUR,
                "minute": (hours + behind - back) * 60,
                "devices": devices if back <= hours else few,
            }
            for statement in LOAD.values():
                cursor.execute(statement, given)
            _say(f"{back} hours to load")
        cursor.execute(FINISH, {"last": end - HOUR, "devices": devices})
        for aggregate in ("meter_hourly", "vehicle_hourly"):
            cursor.execute(f"CALL refresh_continuous_aggregate('{aggregate}', NULL, %s)", (end,))
        cursor.execute("VACUUM ANALYZE")


def questions(end: datetime) -> dict[str, tuple[str, dict[str, Any]]]:
    queries = sql.load()
    day = {"start": end - 24 * HOUR, "end": end}
    cut = timedelta(minutes=17)
    one = {"vehicle_id": "V-1", "start": day["start"] - cut, "end": end - cut}
    page = {
        "figure": "efficiency",
        "direction": 1,
        "low_coverage": LOW_COVERAGE,
        "efficiency_below": None,
        "warning": None,
        "after_key": None,
        "after_id": None,
        "limit": 101,
    }
    return {
        "one vehicle's 24 hours": (queries["vehicle_window"], one),
        "its meters' 24 hours": (queries["vehicle_mappings"], one),
        "status by id": (queries["vehicle.status"], {"id": "V-1"}),
        "every vehicle's 24 hours, first page": (queries["performance_page"], day | page),
        "the fleet's 24 hours": (queries["fleet_hours"], day),
        "steps of all devices from raw": (RAW, day),
    }


def measure(
    connection: Connection, statement: str, given: dict[str, Any], runs: int
) -> tuple[list[float], list[float]]:
    """Return the elapsed and the backend's CPU milliseconds of each run after the first."""
    elapsed, busy = [], []
    with connection.cursor() as cursor:
        for _ in range(runs + 1):
            before, start = _cpu(connection), time.perf_counter()
            cursor.execute(statement, given)
            elapsed.append((time.perf_counter() - start) * 1000)
            busy.append(_cpu(connection) - before)
    return elapsed[1:], busy[1:]


def _cpu(connection: Connection) -> float:
    stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") * 1000


def plans(connection: Connection, statement: str, given: dict[str, Any]) -> str:
    """Return the plans of a statement and of what the functions in it ask."""
    connection.notices.clear()
    with connection.cursor() as cursor:
        cursor.execute("LOAD 'auto_explain'")
        for name, value in (
            ("auto_explain.log_nested_statements", "on"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_timing", "off"),
            ("auto_explain.log_min_duration", "0"),
            ("client_min_messages", "log"),
        ):
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.notices.clear()
        cursor.execute(statement, given)
        told = [each for each in connection.notices if " plan:" in each]
        cursor.execute("SET client_min_messages = notice")
        cursor.execute("SET auto_explain.log_min_duration = -1")
    # What was asked stands in the queries' own files.
    bare = [re.sub(r"(?s)^.*?plan:\n.*?\n(?=\S[^\n]*\(cost=)", "", each) for each in told]
    return "\n".join(bare)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def run(url: str, arguments: argparse.Namespace) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with closing(connect(Config(database_url=url, statement_timeout=0))) as connection:
        list(migrations.upgrade(connection))
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs"
            )
        load(connection, end, arguments.devices, arguments.hours, arguments.behind)
        sys.stdout.write(
            f"{arguments.devices} vehicles and meters, {arguments.hours} hours, "
            f"{arguments.behind} hours of a hundredth of them before.\n\n"
        )
        report(connection, end, arguments.runs, arguments.explain)


def report(connection: Connection, end: datetime, runs: int, explain: Path | None) -> None:
    """Print the table, and write the plans."""
    sys.stdout.write("| question | median ms | p95 ms | mean CPU ms |\n|---|---|---|---|\n")
    explained = []
    for name, (statement, given) in questions(end).items():
        elapsed, busy = measure(connection, statement, given, 1 if "raw" in name else runs)
        middle, top = statistics.median(elapsed), sorted(elapsed)[round(0.95 * (len(elapsed) - 1))]
        sys.stdout.write(f"| {name} | {middle:.2f} | {top:.2f} | {statistics.mean(busy):.1f} |\n")
        sys.stdout.flush()
        if "raw" not in name:
            explained.append(f"## {name}\n\n```\n{plans(connection, statement, given)}\n```\n")
    if explain:
        explain.write_text(
            "# Plans\n\nWritten by `python -m bench.analytics --explain`: what each question's "
            "statements do, innermost first.\n\n" + "\n".join(explained)
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.analytics", description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000, help="vehicles, and meters")
    parser.add_argument("--hours", type=int, default=26)
    parser.add_argument("--behind", type=int, default=0, help="hours of history before these")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--explain", type=Path, help="file for the plans")
    arguments = parser.parse_args()
    given = os.environ.get("FLEETWATT_DATABASE_URL")
    with (
        nullcontext() if given else NativeServer() as server,
        database(given or (server.url if server else "")) as url,
    ):
        run(url, arguments)


if __name__ == "__main__":
    main()
