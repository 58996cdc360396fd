"""`fleetwatt retention` shows what it will do, does it when told to, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import Result
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.conftest import refresh, rows
from tests.examples import NOW, at, meter
from tests.storage import DAY, do, load, put_back, run, run_guard, run_refreshes, today

Retention = Callable[..., Result]
HOURLY = "SELECT bucket, readings, max_kwh FROM meter_hourly WHERE bucket < %(day)s ORDER BY 1"
KEPT = "SELECT drop_after FROM retention WHERE table_name = 'meter_telemetry'"


@pytest.fixture
def retention(database_url: str, sql: Connection) -> Iterator[Retention]:
    """The command, on default policies that are put back afterwards."""
    put_back(sql)
    yield lambda *arguments, **kwargs: run(database_url, "retention", *arguments, **kwargs)
    put_back(sql)


def stored(connection: Connection, days: int) -> int:
    """Return how many raw readings are older than so many days."""
    ((count,),) = rows(
        connection,
        "SELECT count(*) FROM meter_telemetry WHERE time < %(time)s",
        time=today() - days * DAY,
    )
    return int(count)


@pytest.mark.community
def test_thirty_of_forty_days_stay_raw_and_all_forty_stay_hourly(
    retention: Retention, client: FlaskClient, sql: Connection
) -> None:
    load(sql, 40)
    refresh(sql)
    hours = rows(sql, HOURLY, day=today() - 31 * DAY)
    assert len(hours) == 9 * 24

    result = retention("set", "meter_telemetry", "30d", "--yes")
    assert result.exit_code == 0, result.output
    assert "The refresh of meter_hourly reaches back 29d then, 1094d now." in result.output
    run_guard(sql)
    assert stored(sql, 31) == 0
    assert stored(sql, 29) > 0
    assert rows(sql, HOURLY, day=today() - 31 * DAY) == hours

    for _ in range(2):
        run_refreshes(sql)
        assert rows(sql, HOURLY, day=today() - 31 * DAY) == hours
    for days, status in ((31, 422), (29, 201)):
        reading = meter(meterId="M-1", timestamp=at(NOW - days * DAY))
        assert client.post("/v1/ingestion", json=reading).status_code == status
    run_refreshes(sql)
    run_guard(sql)
    assert rows(sql, HOURLY, day=today() - 31 * DAY) == hours


@pytest.mark.community
def test_what_will_be_dropped_is_shown_first(retention: Retention, sql: Connection) -> None:
    load(sql, 12)

    result = retention("set", "meter_telemetry", "10d", "--dry-run")

    dropped = (
        f"2 chunks of {today() - 12 * DAY:%Y-%m-%d} 00:00Z to {today() - 10 * DAY:%Y-%m-%d} 00:00Z"
    )
    assert f"The next run drops {dropped}, about " in result.output
    assert "meter_telemetry: kept 1095d now, 10d then." in result.output


def test_a_dry_run_and_a_no_change_nothing(retention: Retention, sql: Connection) -> None:
    before = rows(sql, KEPT)

    dry = retention("set", "meter_telemetry", "30d", "--dry-run")
    no = retention("set", "meter_telemetry", "30d", answer="n\n")

    assert (dry.exit_code, no.exit_code) == (0, 1)
    assert "Nothing was changed." in dry.output
    assert rows(sql, KEPT) == before


def test_a_yes_changes_it(retention: Retention, sql: Connection) -> None:
    assert retention("set", "meter_telemetry", "2w", answer="y\n").exit_code == 0

    assert rows(sql, KEPT) == [(14 * DAY,)]
    assert "meter_telemetry" in retention("show").output
    assert "14d" in retention("show").output


def test_unset_keeps_a_table_for_ever(retention: Retention, sql: Connection) -> None:
    # An aggregate may not end before its raw readings; where it is a view, it can't.
    retention("unset", "meter_hourly", "--yes")
    assert retention("set", "meter_telemetry", "30d", "--yes").exit_code == 0

    assert retention("unset", "meter_telemetry", "--yes").exit_code == 0

    assert rows(sql, KEPT) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "meter_telemetry", "90"), "'90' is not a duration"),
        (("set", "meters", "90d"), "'meters' is not one of"),
        (("set", "meter_telemetry"), "Missing argument"),
    ],
)
def test_bad_arguments_are_named(database_url: str, arguments: list[str], said: str) -> None:
    result = run(database_url, "retention", *arguments)

    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.community
def test_what_a_policy_made_in_sql_keeps_is_shown(retention: Retention, sql: Connection) -> None:
    do(sql, "SELECT remove_retention_policy('vehicle_telemetry')")

    assert "vehicle_telemetry  for ever" in retention("show").output
