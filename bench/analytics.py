"""What the analytics cost in the database: `python -m bench.analytics`.

Loads a fleet into a database of its own, on FLEETWATT_DATABASE_URL or a native server, and drops
it again; prints each question's time on one connection, when it has it, and a table in the end;
writes the plans to a file. Of what takes a millisecond it is the database's own time, to plan and
to execute (EXPLAIN ANALYZE); of all else the client's. CPU time is that of the backend and of the
workers that ended meanwhile, counted in hundredths of a second: its mean says something on a busy
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection

from bench import database
from bench.history import HOUR, LOAD, connected, load, map_all, materialize
from fleetwatt.analytics.energy import LOW_COVERAGE
from fleetwatt.database import queries
from fleetwatt.database.schema import migrations
from tests.native.server import NativeServer

NAME = "fleetwatt_bench_analytics"
AIM = 1.0  # milliseconds of one vehicle's day
MAX_KW = 1000.0
# What it costs to count the steps from raw, of so many devices of each stream.
RAW_DEVICES = 1_000
RAW = """
    SELECT {grouping}, sum(kwh) FILTER (WHERE kwh > 0) FROM (
        SELECT meter_id AS device, time, kwh_consumed_ac - lag(kwh_consumed_ac) OVER device AS kwh
        FROM meter_telemetry
        WHERE time > %(start)s AND time <= %(end)s AND meter_id = ANY (%(meters)s)
        WINDOW device AS (PARTITION BY meter_id ORDER BY time)
        UNION ALL
        SELECT vehicle_id, time, kwh_delivered_dc - lag(kwh_delivered_dc) OVER device
        FROM vehicle_telemetry
        WHERE time > %(start)s AND time <= %(end)s AND vehicle_id = ANY (%(vehicles)s)
        WINDOW device AS (PARTITION BY vehicle_id ORDER BY time)
    ) AS step GROUP BY 1"""
# meter_hourly (db/migrations) without what is our own: what shows glitches and resets.
PLAIN = """
    CREATE MATERIALIZED VIEW plain_hourly
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT
        meter_id, time_bucket(INTERVAL '1 hour', time) AS bucket, count(*) AS readings,
        min(time) AS first_time, max(time) AS last_time,
        first(kwh_consumed_ac, time) AS first_kwh, last(kwh_consumed_ac, time) AS last_kwh,
        min(kwh_consumed_ac) AS min_kwh, max(kwh_consumed_ac) AS max_kwh,
        min(voltage), max(voltage), sum(voltage), count(voltage)
    FROM meter_telemetry GROUP BY meter_id, bucket WITH NO DATA"""


@dataclass(frozen=True)
class Question:
    """What is asked, how often, and what it may take in milliseconds, where that is bounded.

    Attributes:
        inside: Whether its time is the database's own.
    """

    name: str
    statement: str
    given: dict[str, Any]
    runs: int
    target: str = ""
    inside: bool = False


@dataclass(frozen=True)
class Answer:
    """Elapsed milliseconds, and the backend's mean CPU milliseconds."""

    name: str
    least: float
    median: float
    p95: float
    cpu: float
    target: str


def one_vehicle(end: datetime, history: str, runs: int, target: str) -> Question:
    """Its day cuts hours at both ends."""
    until = end - timedelta(minutes=17)
    given = {
        "vehicle_id": "V-1",
        "start": until - 24 * HOUR,
        "end": until,
        "closed": True,
        "max_kw": MAX_KW,
    }
    name = f"one vehicle's 24 hours, {history}"
    return Question(name, queries.load()["vehicle_summary"], given, runs, target, inside=True)


def questions(end: datetime, runs: int) -> list[Question]:
    """The fleet's day has readings on its very start and end, and more on either side."""
    statements = queries.load()
    day = {"start": end - 25 * HOUR, "end": end - HOUR}
    hours = {"boundaries": [day["start"] + number * HOUR for number in range(25)]}
    asked = {"max_kw": MAX_KW, "site": None}
    page = {
        "sorted_by": "efficiency",
        "direction": 1,
        "low_coverage": LOW_COVERAGE,
        "efficiency_below": None,
        "warning": None,
        "after_key": None,
        "after_id": None,
        "limit": 101,
    }
    few = {
        f"{kind}s": [f"{kind[0].upper()}-{n}" for n in range(1, RAW_DEVICES + 1)] for kind in LOAD
    }
    raw = f"{RAW_DEVICES:,} vehicles and meters, from raw"
    fleet = max(runs // 20, 3)
    return [
        Question(
            "status by id", statements["vehicle.status"], {"id": "V-1"}, runs, "0.1", inside=True
        ),
        Question(
            "every vehicle's 24 hours, first page",
            statements["performance_page"],
            day | page | asked,
            fleet,
            "800",
        ),
        Question(f"24 hours of {raw}", RAW.format(grouping="device"), day | few, 1),
        Question("the fleet's 24 hours", statements["fleet_buckets"], hours | asked, fleet, "500"),
        Question(
            f"totals by the hour of {raw}",
            RAW.format(grouping="time_bucket('1 hour', time)"),
            day | few,
            1,
        ),
    ]


def refreshes(connection: Connection, end: datetime, rounds: int = 3) -> list[Answer]:
    """Refresh a day of meters with and without what shows glitches and resets, in turn."""
    statement = "CALL refresh_continuous_aggregate('{}', %(start)s, %(end)s, force => true)"
    with connection.cursor() as cursor:
        cursor.execute(PLAIN)
    day = {"start": end - 24 * HOUR, "end": end}
    found: dict[str, list[tuple[float, float]]] = {"plain_hourly": [], "meter_hourly": []}
    for _ in range(rounds):
        for aggregate, times in found.items():
            once, busy = measure(connection, statement.format(aggregate), day, 1, before=0)
            times.append((once[0], busy[0]))
    ratio = [
        ours[0] / plain[0]
        for plain, ours in zip(found["plain_hourly"], found["meter_hourly"], strict=True)
    ]
    names = (
        "refresh of a day of meters, plain",
        f"the same with what shows glitches and resets: {statistics.median(ratio):.2f} times",
    )
    return [
        answer(name, [times[0] for times in runs], [times[1] for times in runs], target)
        for name, runs, target in zip(names, found.values(), ("", "1.35 times"), strict=True)
    ]


def answer(name: str, elapsed: list[float], busy: list[float], target: str) -> Answer:
    top = sorted(elapsed)[round(0.95 * (len(elapsed) - 1))]
    found = Answer(
        name, min(elapsed), statistics.median(elapsed), top, statistics.mean(busy), target
    )
    _say(_line(found))
    return found


def ask(connection: Connection, question: Question) -> Answer:
    elapsed, busy = measure(
        connection, question.statement, question.given, question.runs, inside=question.inside
    )
    return answer(question.name, elapsed, busy, question.target)


def measure(
    connection: Connection,
    statement: str,
    given: dict[str, Any],
    runs: int,
    *,
    before: int = 1,
    inside: bool = False,
) -> tuple[list[float], list[float]]:
    """Return the elapsed and the CPU milliseconds of each run, after some that don't count."""
    elapsed, busy = [], []
    if inside:
        statement = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
    with connection.cursor() as cursor:
        for _ in range(before + runs):
            used, start = _cpu(connection), time.perf_counter()
            cursor.execute(statement, given)
            took = (time.perf_counter() - start) * 1000
            busy.append(_cpu(connection) - used)
            if inside:
                [[[plan]]] = cursor.fetchall()
                took = plan["Planning Time"] + plan["Execution Time"]
            elapsed.append(took)
    return elapsed[before:], busy[before:]


def _cpu(connection: Connection) -> float:
    own = _stat(connection.info.backend_pid)
    # Workers are children of the postmaster, which counts them once they have ended.
    ticks = sum(map(int, own[11:13])) + sum(map(int, _stat(int(own[1]))[13:15]))
    return ticks / os.sysconf("SC_CLK_TCK") * 1000


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


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
            # Workers would not show what they do.
            ("max_parallel_workers_per_gather", "0"),
        ):
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.notices.clear()
        cursor.execute(statement, given)
        told = [notice for notice in connection.notices if " plan:" in notice]
        cursor.execute("RESET max_parallel_workers_per_gather")
        cursor.execute("SET client_min_messages = notice")
        cursor.execute("SET auto_explain.log_min_duration = -1")
    # What was asked stands in the queries' own files, and a fleet's ids fill the page.
    bare = [re.sub(r"(?s)^.*?plan:\n.*?\n(?=\S[^\n]*\(cost=)", "", plan) for plan in told]
    return re.sub(r"'\{[^}]{200,}\}'", "'{…}'", "\n".join(bare))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def run(url: str, arguments: argparse.Namespace) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours, devices, runs = arguments.hours, arguments.devices, arguments.runs
    with closing(connected(url)) as connection:
        list(migrations.upgrade(connection))
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs"
            )
        _say("loading")
        load(url, end, devices, range(hours), empty=True)
        map_all(connection, end, devices)
        materialize(connection, end)
        asked = [one_vehicle(end, f"{hours} hours stored", runs, str(AIM)), *questions(end, runs)]
        answers = [ask(connection, question) for question in asked]
        if arguments.explain:
            explain(
                connection, [question for question in asked if question.runs > 1], arguments.explain
            )
        answers += refreshes(connection, end)
        _say("loading what lies behind")
        load(url, end, max(devices // 100, 1), range(hours, 10 * hours))
        materialize(connection, end)
        target = f"{1.3 * AIM:.2f} (1.3 times)"
        answers.insert(
            1, ask(connection, one_vehicle(end, f"{10 * hours} hours stored", runs, target))
        )
        title = f"{devices} vehicles and {devices} meters, {hours} hours"
        sys.stdout.write(f"{title}\n\n{table(answers)}")
        if arguments.json:
            figures = {"fleet": title, "answers": [asdict(measured) for measured in answers]}
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def table(answers: list[Answer]) -> str:
    """Return the figures in Markdown."""
    lines = [
        "| question | least ms | median ms | p95 ms | mean CPU ms | target ms |",
        "|---|---:|---:|---:|---:|---:|",
        *map(_line, answers),
    ]
    return "\n".join(lines) + "\n"


def _line(found: Answer) -> str:
    times = (found.least, found.median, found.p95, found.cpu)
    return f"| {found.name} | {' | '.join(f'{figure:.2f}' for figure in times)} | {found.target} |"


def explain(connection: Connection, asked: list[Question], file: Path) -> None:
    """Write the plans."""
    told = [
        f"## {question.name}\n\n```\n{plans(connection, question.statement, question.given)}\n```\n"
        for question in asked
    ]
    file.write_text(
        "# Plans\n\nWritten by `make bench-analytics EXPLAIN=bench/plans.md`: what each "
        "question's statements do, innermost first, in one process.\n\n" + "\n".join(told)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.analytics", description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000, help="vehicles, and meters")
    parser.add_argument("--hours", type=int, default=30)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--explain", type=Path, help="file for the plans")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    given = os.environ.get("FLEETWATT_DATABASE_URL")
    with (
        nullcontext() if given else NativeServer({"max_wal_size": "8GB"}) as server,
        database.empty(given or (server.url if server else ""), NAME) as url,
    ):
        run(url, arguments)


if __name__ == "__main__":
    main()
