"""The rules between what the database does by itself, and how raw readings are dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.database.client import Database
from fleetwatt.database.errors import NotInEdition, PolicyRejected
from fleetwatt.database.schema import migrations
from fleetwatt.lifecycle import policies
from fleetwatt.lifecycle.policies import Policies
from fleetwatt.streams import METER
from tests.conftest import refresh, rows
from tests.examples import NOW, at, meter
from tests.storage import DAY, do, load, put_back, run_guard, run_jobs, run_refreshes, today

WEEK = 7 * DAY
HOUR = timedelta(hours=1)
GOOD = Policies(
    stream=METER,
    keep_raw=30 * DAY,
    keep_hourly=365 * DAY,
    compress_after=WEEK,
    refreshed=True,
    refresh_from=29 * DAY,
    refresh_to=HOUR,
)


def broken(**changes: Any) -> list[str]:
    """Return the rules that policies break when they are changed from good ones."""
    return [breach.rule for breach in policies.breaches(replace(GOOD, **changes), WEEK, NOW)]


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({}, []),
        ({"keep_raw": None, "keep_hourly": None, "refresh_from": None}, []),
        ({"keep_hourly": 29 * DAY}, ["aggregate-outlives-raw"]),
        ({"keep_raw": None}, ["aggregate-outlives-raw"]),
        ({"refresh_from": 29 * DAY + HOUR}, ["refresh-inside-raw"]),
        ({"refresh_from": None}, ["refresh-inside-raw"]),
        ({"keep_raw": 27 * HOUR, "refresh_from": 3 * HOUR}, []),
        ({"keep_raw": 26 * HOUR, "refresh_from": 2 * HOUR}, ["materialized-before-dropped"]),
        ({"refreshed": False}, ["refreshed"]),
        ({"guarded": False}, ["refreshed-before-dropped"]),
        ({"compress_after": WEEK - HOUR}, ["compressed-after-lateness"]),
        ({"compress_after": None}, []),
        ({"gone_before": NOW - 29 * DAY}, []),
        ({"gone_before": NOW - 28 * DAY}, ["refresh-after-dropped"]),
        ({"materialized": False, "keep_hourly": DAY, "refreshed": False}, []),
    ],
)
def test_a_rule_that_does_not_hold_is_named(changes: dict[str, Any], rules: list[str]) -> None:
    assert broken(**changes) == rules


@pytest.mark.parametrize(
    ("keep", "gone_before", "reach"),
    [
        (10 * DAY, None, 9 * DAY),
        (90 * DAY, None, 89 * DAY),
        (90 * DAY, NOW - 31 * DAY, 31 * DAY),
        (90 * DAY, NOW - DAY, 29 * DAY),
        (10 * DAY, NOW - 31 * DAY, 9 * DAY),
        (None, None, 29 * DAY),
    ],
    ids=["shorter", "longer", "longer after a drop", "dropped to now", "shorter again", "unset"],
)
def test_the_refresh_window_follows_retention_and_never_grows_into_what_was_dropped(
    keep: timedelta | None, gone_before: datetime | None, reach: timedelta
) -> None:
    before = replace(GOOD, gone_before=gone_before)

    assert before.with_retention("meter_telemetry", keep, NOW).refresh_from == reach


def test_the_retention_of_an_aggregate_leaves_its_refresh_as_it_is() -> None:
    after = GOOD.with_retention("meter_hourly", 40 * DAY, NOW)

    assert after == replace(GOOD, keep_hourly=40 * DAY)


@pytest.fixture
def database(app: Flask, sql: Connection) -> Iterator[Database]:
    """The store, on default policies that are put back afterwards."""
    put_back(sql)
    yield app.extensions["fleetwatt"]
    put_back(sql)


def keep(database: Database, table: str, duration: timedelta | None) -> None:
    _, plan = policies.plan_retention(database, table, duration)
    policies.set_retention(database, table, plan)


def count(connection: Connection, table: str, condition: str, **parameters: Any) -> int:
    ((found,),) = rows(connection, f"SELECT count(*) FROM {table} WHERE {condition}", **parameters)
    return int(found)


def readings_of(connection: Connection, hour: datetime) -> int:
    """Return how many readings the aggregate counts of an hour."""
    ((found,),) = rows(
        connection,
        "SELECT coalesce(sum(readings), 0)::integer FROM meter_hourly WHERE bucket = %(hour)s",
        hour=hour,
    )
    return int(found)


def insert_late(connection: Connection, time: datetime) -> None:
    """Store a reading that was accepted before it became too old."""
    do(connection, "INSERT INTO meter_telemetry VALUES ('M-1', %(time)s, 1, 230)", time=time)


@pytest.mark.community
def test_the_default_policies_break_no_rule(database: Database) -> None:
    for in_force in policies.read(database).values():
        assert list(policies.breaches(in_force, WEEK, NOW)) == []


@pytest.mark.community
def test_policies_that_were_changed_in_sql_are_seen_at_once(
    database: Database, sql: Connection
) -> None:
    do(sql, "SELECT remove_retention_policy('meter_telemetry')")
    do(sql, "CALL remove_columnstore_policy('meter_telemetry')")

    changed = policies.read(database)[METER]

    assert (changed.keep_raw, changed.compress_after) == (None, None)
    assert database.oldest_accepted(METER).year == 2


@pytest.mark.community
def test_a_late_reading_in_what_is_dropped_is_in_the_aggregate_first(
    database: Database, sql: Connection
) -> None:
    load(sql, 40)
    refresh(sql)
    keep(database, "meter_telemetry", 30 * DAY)
    hour = today() - 35 * DAY + 5 * HOUR
    insert_late(sql, hour + timedelta(minutes=1))
    assert readings_of(sql, hour) == 2

    run_guard(sql)

    assert count(sql, "meter_telemetry", "time < %(day)s", day=today() - 31 * DAY) == 0
    assert readings_of(sql, hour) == 3


@pytest.mark.community
def test_what_was_never_materialized_is_materialized_before_it_is_dropped(
    database: Database, sql: Connection
) -> None:
    load(sql, 40)
    keep(database, "meter_telemetry", 30 * DAY)
    run_guard(sql)

    assert count(sql, "meter_telemetry", "time < %(day)s", day=today() - 31 * DAY) == 0
    assert count(sql, "meter_hourly", "bucket < %(day)s", day=today() - 31 * DAY) == 9 * 24


@pytest.mark.community
def test_nothing_is_dropped_when_the_refresh_fails(database: Database, sql: Connection) -> None:
    load(sql, 40)
    keep(database, "meter_telemetry", 30 * DAY)
    insert_late(sql, today() - 35 * DAY + timedelta(minutes=1))
    before = count(sql, "meter_telemetry", "true")
    do(
        sql,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'disk full'; END$$",
    )
    ((aggregated,),) = rows(
        sql,
        "SELECT format('%%I.%%I', materialization_hypertable_schema,"
        " materialization_hypertable_name) FROM timescaledb_information.continuous_aggregates"
        " WHERE view_name = 'meter_hourly'",
    )
    do(
        sql,
        f"CREATE TRIGGER refuse BEFORE INSERT ON {aggregated}"
        " FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    try:
        # TimescaleDB 2.29 says the latter of whatever fails a refresh.
        with pytest.raises(psycopg2.Error, match=r"disk full|invalid transaction termination"):
            run_guard(sql)
        assert count(sql, "meter_telemetry", "true") == before
    finally:
        do(sql, f"DROP TRIGGER refuse ON {aggregated}; DROP FUNCTION refuse()")
    run_guard(sql)
    assert readings_of(sql, today() - 35 * DAY) == 3


@pytest.mark.community
def test_a_plain_retention_policy_loses_late_readings_and_is_warned_of_until_it_is_taken_over(
    database: Database, sql: Connection
) -> None:
    load(sql, 40)
    refresh(sql)
    do(sql, "SELECT remove_retention_policy('meter_telemetry')")
    do(sql, "SELECT add_retention_policy('meter_telemetry', INTERVAL '36 days')")
    do(
        sql,
        'SELECT alter_job(job_id, config => config || \'{"start_offset": "35 days"}\')'
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_refresh_continuous_aggregate'"
        " AND hypertable_name = 'meter_hourly'",
    )

    (warned,) = policies.breaches(policies.read(database)[METER], WEEK, NOW)
    assert warned.rule == "refreshed-before-dropped"
    assert "fleetwatt retention set meter_telemetry 36d" in warned.message

    lost, saved = today() - 39 * DAY, today() - 34 * DAY
    insert_late(sql, lost + timedelta(minutes=1))
    run_jobs(sql, "proc_name = 'policy_retention' AND hypertable_name = 'meter_telemetry'")
    assert readings_of(sql, lost) == 2

    run_guard(sql)
    assert policies.read(database)[METER].guarded
    assert policies.read(database)[METER].keep_raw == 36 * DAY
    insert_late(sql, saved + timedelta(minutes=1))
    do(
        sql,
        'SELECT alter_job(job_id, config => config || \'{"drop_after": "32 days"}\')'
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention' AND hypertable_name = 'meter_telemetry'",
    )
    run_guard(sql)
    assert count(sql, "meter_telemetry", "time < %(day)s", day=today() - 33 * DAY) == 0
    assert readings_of(sql, saved) == 3


@pytest.mark.community
def test_longer_retention_after_a_drop_brings_nothing_back_and_erases_nothing(
    database: Database, sql: Connection, client: FlaskClient
) -> None:
    load(sql, 40)
    refresh(sql)
    keep(database, "meter_telemetry", 30 * DAY)
    run_guard(sql)

    keep(database, "meter_telemetry", 90 * DAY)
    run_refreshes(sql)
    late = client.post("/v1/ingestion", json=meter(timestamp=at(today() - 35 * DAY)))

    assert late.status_code == 422
    assert count(sql, "meter_hourly", "bucket < %(day)s", day=today() - 31 * DAY) == 9 * 24
    changed = policies.read(database)[METER]
    assert changed.refresh_from is not None
    now = datetime.now(UTC)
    assert now - changed.refresh_from > today() - 31 * DAY
    assert list(policies.breaches(changed, WEEK, now)) == []


def drop_both(database: Database, sql: Connection) -> None:
    """Drop what raw has of both streams before the last 30 days."""
    keep(database, "vehicle_telemetry", 30 * DAY)
    keep(database, "meter_telemetry", 30 * DAY)
    run_guard(sql)
    for table in ("vehicle_telemetry", "meter_telemetry"):
        assert count(sql, table, "time < %(day)s", day=today() - 31 * DAY) == 0


def answers(client: FlaskClient, start: datetime, end: datetime) -> dict[str, Any]:
    """Return what every route says of a window."""
    window = f"start={at(start)}&end={at(end)}"
    routes = [
        f"performance/V-1?{window}&edges=interpolated",
        f"performance?{window}",
        f"fleet?{window}",
        *(
            f"{device}/series?bucket={bucket}&{window}"
            for device in ("vehicles/V-1", "meters/M-1")
            for bucket in ("1h", "1d")
        ),
    ]
    found = {}
    for route in routes:
        response = client.get(f"/v1/analytics/{route}")
        assert response.status_code == 200, response.json
        found[route] = response.json
    return found


def warnings_of(answer: dict[str, Any]) -> list[str]:
    """Take an answer's warnings out of it, those of its only item where it has none itself."""
    holder = answer if "warnings" in answer else answer["items"][0]
    return list(holder.pop("warnings"))


@pytest.mark.community
@pytest.mark.parametrize("hours", [1, 24])
@pytest.mark.parametrize("minutes", [0, 20])
def test_what_is_said_of_whole_hours_is_the_same_once_raw_is_dropped_but_for_a_warning(
    database: Database, sql: Connection, client: FlaskClient, hours: int, minutes: int
) -> None:
    load(sql, 40)
    for table in ("vehicle_telemetry", "meter_telemetry"):
        do(sql, f"UPDATE {table} SET time = time + {minutes} * INTERVAL '1 minute'")
    do(sql, "INSERT INTO vehicle_meter_mapping VALUES ('V-1', 'M-1', '(,)')")
    refresh(sql)
    end = today() - 35 * DAY
    before = answers(client, end - hours * HOUR, end)
    first = next(iter(before.values()))
    assert (first["kwhConsumedAc"], first["kwhDeliveredDc"]) == (hours, hours)

    drop_both(database, sql)

    after = answers(client, end - hours * HOUR, end)
    for route, answer in before.items():
        told = warnings_of(answer)
        assert "history_dropped" not in told
        assert warnings_of(after[route]) == [*told, "history_dropped"], route
        assert after[route] == answer, route


@pytest.mark.community
def test_what_is_said_of_parts_of_hours_whose_raw_is_dropped_has_a_warning_and_is_near(
    database: Database, sql: Connection, client: FlaskClient
) -> None:
    load(sql, 40)
    do(sql, "INSERT INTO vehicle_meter_mapping VALUES ('V-1', 'M-1', '(,)')")
    refresh(sql)
    end = today() - 35 * DAY + timedelta(minutes=40)
    start = end - 5 * HOUR

    drop_both(database, sql)

    series = client.get(f"/v1/analytics/meters/M-1/series?start={at(start)}&end={at(end)}").json
    one = f"/v1/analytics/performance/V-1?start={at(start)}&end={at(end)}"
    summaries = [client.get(f"{one}&edges={name}").json for name in ("readings", "interpolated")]
    assert series
    for answer in (series, *summaries):
        assert answer
        assert "history_dropped" in answer["warnings"]
    assert sum(item["kwhConsumedAc"] for item in series["items"]) == pytest.approx(5, abs=1)
    for answer in summaries:
        assert answer
        assert answer["kwhConsumedAc"] == pytest.approx(5, abs=1)


@pytest.mark.community
def test_where_one_stream_lost_raw_efficiency_stays_what_it_was(
    database: Database, sql: Connection, client: FlaskClient
) -> None:
    load(sql, 40)
    do(sql, "INSERT INTO vehicle_meter_mapping VALUES ('V-1', 'M-1', '(,)')")
    refresh(sql)
    end = today() - 35 * DAY
    before = client.get(f"/v1/analytics/fleet?end={at(end)}").json

    keep(database, "meter_telemetry", 30 * DAY)
    run_guard(sql)

    after = client.get(f"/v1/analytics/fleet?end={at(end)}").json
    assert before
    assert after
    assert after["efficiency"] == before["efficiency"] == 1
    assert "history_dropped" in after["warnings"]


@pytest.mark.community
def test_a_reading_that_comes_when_its_hour_was_dropped_changes_no_answer_and_no_aggregate(
    database: Database, sql: Connection
) -> None:
    load(sql, 40)
    refresh(sql)
    keep(database, "meter_telemetry", 30 * DAY)
    run_guard(sql)
    hour = today() - 35 * DAY

    # It was accepted just before, and committed just after.
    insert_late(sql, hour + timedelta(minutes=1))

    stale = "SELECT stale_hours('meter_hourly', tstzrange(%(start)s, %(end)s)) = '{}'"
    assert rows(sql, stale, start=hour, end=hour + HOUR) == [(True,)]
    run_guard(sql)
    assert count(sql, "meter_telemetry", "time < %(day)s", day=today() - 31 * DAY) == 0
    assert readings_of(sql, hour) == 2


@pytest.mark.community
def test_in_a_schema_of_its_own_raw_is_dropped_by_a_scheduler_that_does_not_know_of_it(
    sql: Connection,
) -> None:
    ((path,),) = rows(sql, "SHOW search_path")
    do(sql, "CREATE SCHEMA of_its_own")
    do(sql, f"SET search_path = of_its_own, {path}")
    list(migrations.upgrade(sql))
    load(sql, 40)
    refresh(sql)
    do(sql, "SELECT set_retention('meter_telemetry', '30 days', '29 days')")
    do(sql, f"SET search_path = {path}")

    run_guard(sql)

    old = "time < %(day)s"
    assert count(sql, "of_its_own.meter_telemetry", old, day=today() - 31 * DAY) == 0
    assert count(sql, "of_its_own.meter_telemetry", "true") > 0
    assert rows(sql, "SELECT to_regclass('meter_telemetry')::text") == [("meter_telemetry",)]
    do(sql, "DROP SCHEMA of_its_own CASCADE")


@pytest.mark.community
def test_whoever_empties_history_starts_anew(database: Database, sql: Connection) -> None:
    load(sql, 40)
    keep(database, "meter_telemetry", 30 * DAY)
    run_guard(sql)
    recorded = "SELECT dropped_before FROM retention WHERE table_name = 'meter_telemetry'"
    assert rows(sql, recorded) != [(None,)]

    do(sql, "TRUNCATE meter_telemetry")

    assert rows(sql, recorded) == [(None,)]


@pytest.mark.community
def test_a_change_is_made_as_a_whole_or_not_at_all(database: Database, sql: Connection) -> None:
    before = policies.read(database)[METER]

    with pytest.raises(psycopg2.Error):
        # TimescaleDB refuses so small a refresh window, after retention has been changed.
        do(sql, "SELECT set_retention('meter_telemetry', '30 days', '1 minute')")

    assert policies.read(database)[METER] == before


@pytest.mark.parametrize(
    ("table", "duration", "nearest"),
    [
        ("meter_telemetry", 3651 * DAY, "3650d at most for meter_telemetry"),
        ("meter_telemetry", None, "3650d at most for meter_telemetry"),
        ("meter_telemetry", 26 * HOUR, "27h at least"),
        ("meter_hourly", 1094 * DAY, "1095d at least for meter_hourly"),
    ],
)
@pytest.mark.community
def test_a_change_that_breaks_a_rule_is_refused_with_the_nearest_legal_value(
    database: Database, table: str, duration: timedelta | None, nearest: str
) -> None:
    with pytest.raises(PolicyRejected, match=nearest):
        policies.plan_retention(database, table, duration)


@pytest.mark.community
def test_compression_inside_the_lateness_is_refused(database: Database) -> None:
    with pytest.raises(PolicyRejected, match="7d at least"):
        policies.plan_compression(database, "meter_telemetry", 6 * DAY)


def test_where_there_are_no_policies_retention_is_a_row_that_ingestion_heeds(
    database: Database, sql: Connection, client: FlaskClient
) -> None:
    if policies.read(database)[METER].materialized:
        pytest.skip("there are policies")
    keep(database, "meter_telemetry", 30 * DAY)

    assert rows(sql, "SELECT table_name, drop_after FROM fleetwatt_retention") == [
        ("meter_telemetry", 30 * DAY)
    ]
    for days, status in ((31, 422), (29, 201)):
        reading = meter(timestamp=at(NOW - days * DAY))
        assert client.post("/v1/ingestion", json=reading).status_code == status
    with pytest.raises(NotInEdition, match="meter_hourly is a view"):
        policies.plan_retention(database, "meter_hourly", 30 * DAY)
    with pytest.raises(NotInEdition, match="no columnstore"):
        policies.plan_compression(database, "meter_telemetry", 30 * DAY)
    keep(database, "meter_telemetry", None)
    assert rows(sql, "SELECT * FROM fleetwatt_retention") == []
