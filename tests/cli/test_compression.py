"""`fleetwatt compression` shows and sets when chunks become columnstore."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import Result
from psycopg2.extensions import connection as Connection

from fleetwatt.database.schema import editions
from tests.conftest import rows
from tests.storage import load, put_back, run, run_jobs

Compression = Callable[..., Result]
AFTER = (
    "SELECT config ->> 'compress_after' FROM timescaledb_information.jobs"
    " WHERE proc_name = 'policy_compression' AND hypertable_name = 'meter_telemetry'"
)


@pytest.fixture
def compression(database_url: str, sql: Connection) -> Iterator[Compression]:
    """The command, on default policies that are put back afterwards."""
    put_back(sql)
    yield lambda *arguments, **kwargs: run(database_url, "compression", *arguments, **kwargs)
    put_back(sql)


@pytest.mark.community
def test_what_is_due_is_shown_and_the_next_run_compresses_it(
    compression: Compression, sql: Connection
) -> None:
    load(sql, 12)

    result = compression("set", "meter_telemetry", "10d", "--yes")
    assert "meter_telemetry: compressed after 7d now, 10d then." in result.output
    assert "The next run compresses 2 chunks, about " in result.output
    run_jobs(sql, "proc_name = 'policy_compression' AND hypertable_name = 'meter_telemetry'")

    assert (
        "The next run compresses 1 chunk, about "
        in compression("set", "meter_telemetry", "9d", "--dry-run").output
    )
    packed = "SELECT count(*) FROM stored_chunk WHERE compressed"
    assert rows(sql, packed) == [(2,)]
    assert (
        "The next run compresses nothing."
        in compression("set", "meter_telemetry", "10d", "--dry-run").output
    )
    assert "10d" in compression("show").output


@pytest.mark.community
def test_unset_compresses_no_more_and_set_begins_again(
    compression: Compression, sql: Connection
) -> None:
    assert compression("unset", "meter_telemetry", "--yes").exit_code == 0
    assert rows(sql, AFTER) == []
    assert "never" in compression("show").output

    assert compression("set", "meter_telemetry", "2w", "--yes").exit_code == 0
    assert rows(sql, AFTER) == [("14 days",)]


@pytest.mark.community
def test_a_dry_run_changes_nothing(compression: Compression, sql: Connection) -> None:
    result = compression("set", "meter_telemetry", "30d", "--dry-run")

    assert "Nothing was changed." in result.output
    assert rows(sql, AFTER) == [("7 days",)]


@pytest.mark.community
def test_compression_inside_the_lateness_is_refused(compression: Compression) -> None:
    result = compression("set", "meter_telemetry", "6d", "--yes")

    assert result.exit_code == 1
    assert "(FLEETWATT_LATENESS): 7d at least" in result.stderr


def test_where_there_is_no_columnstore_it_says_so(
    compression: Compression, sql: Connection
) -> None:
    if editions.edition(sql) != "apache":
        pytest.skip("there is one")

    assert "has no columnstore" in compression("set", "meter_telemetry", "30d").stderr
