from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.errors import MigrationChanged, SchemaBehind
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import migrations
from tests.conftest import rows
from tests.storage import do

DB = Path(__file__).parents[3] / "db"


@pytest.fixture
def upgrading(config: Config) -> Iterator[Connection]:
    with closing(connect(config)) as connection:
        yield connection


@pytest.fixture
def forgotten(sql: Connection) -> Iterator[str]:
    """A file that the database has not been given, as far as it knows."""
    file = "repeatable/meter_status.sql"
    with sql.cursor() as cursor:
        cursor.execute("DELETE FROM fleetwatt_schema WHERE file = %s RETURNING checksum", (file,))
        (checksum,) = cursor.fetchone() or ("",)
        yield file
        cursor.execute(
            "INSERT INTO fleetwatt_schema VALUES (%s, %s) ON CONFLICT DO NOTHING", (file, checksum)
        )


def test_an_upgrade_of_what_is_up_to_date_does_nothing(upgrading: Connection) -> None:
    assert list(migrations.upgrade(upgrading)) == []


def test_a_function_with_its_owners_rights_takes_no_temporary_table_for_ours(
    sql: Connection,
) -> None:
    paths = rows(
        sql,
        """
        SELECT proname, array_to_string(proconfig, ',') FROM pg_proc
        WHERE prosecdef AND pronamespace = current_schema()::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        """,
    )
    assert paths
    for name, path in paths:
        assert path.endswith(", pg_temp"), name


def test_an_upgrade_applies_what_is_missing(upgrading: Connection, forgotten: str) -> None:
    assert list(migrations.upgrade(upgrading)) == [forgotten]
    assert list(migrations.upgrade(upgrading)) == []


def test_an_upgrade_replaces_functions_that_views_of_others_are_made_of(
    sql: Connection, upgrading: Connection
) -> None:
    do(
        sql,
        """
        CREATE VIEW of_others AS
        SELECT vehicle.avg_battery_temp, meter.energy_kwh
        FROM (SELECT tstzrange(now() - INTERVAL '1 day', now())) AS last (day)
        CROSS JOIN vehicle_energy('V-1', day) AS vehicle
        CROSS JOIN meter_energy('M-1', day) AS meter
        """,
    )
    do(sql, "UPDATE fleetwatt_schema SET checksum = 'older' WHERE file LIKE 'repeatable/%'")

    assert len(list(migrations.upgrade(upgrading))) > 10

    assert len(rows(sql, "SELECT * FROM of_others")) == 1
    do(sql, "DROP VIEW of_others")


def test_a_schema_that_is_behind_is_not_served(config: Config, forgotten: str) -> None:
    app = create_app(config)
    response = app.test_client().get("/v1/status/meters")
    app.extensions["fleetwatt"].close()

    assert response.status_code == 503
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:schema-behind"
    assert "fleetwatt db upgrade" in response.json["detail"]
    assert forgotten in response.json["detail"]


def test_a_schema_behind_names_what_is_missing(upgrading: Connection, forgotten: str) -> None:
    with pytest.raises(SchemaBehind, match=forgotten):
        migrations.check(upgrading)


def test_a_migration_that_was_edited_is_refused(
    upgrading: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = migrations.Script("migrations/0001_telemetry.sql", "SELECT 1")
    monkeypatch.setattr(migrations, "scripts", lambda _: [edited])

    with pytest.raises(MigrationChanged, match="0001_telemetry"):
        list(migrations.upgrade(upgrading))


def test_a_file_that_fails_leaves_nothing_behind(
    upgrading: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = migrations.Script(
        "migrations/9999_broken.sql", "CREATE TABLE half (); SELECT nonsense"
    )
    monkeypatch.setattr(migrations, "scripts", lambda _: [broken])

    with pytest.raises(Exception, match="nonsense"):
        list(migrations.upgrade(upgrading))

    assert rows(sql, "SELECT to_regclass('half')") == [(None,)]
    assert rows(sql, "SELECT 1 FROM fleetwatt_schema WHERE file LIKE '%%9999%%'") == []


def test_both_editions_aggregate_by_the_same_select() -> None:
    def selects(edition: str) -> list[str]:
        text = (DB / "migrations" / edition / "0013_hours.sql").read_text()
        return [part.split("GROUP BY")[0] for part in text.split("SELECT\n")[1:3]]

    assert selects("timescale") == selects("apache")


@pytest.mark.community
def test_the_default_policies_are_there(sql: Connection) -> None:
    jobs = rows(
        sql,
        "SELECT proc_name, count(*) FROM timescaledb_information.jobs "
        "WHERE proc_schema = '_timescaledb_functions' AND job_id >= 1000 GROUP BY 1 ORDER BY 1",
    )

    assert jobs == [
        ("policy_compression", 2),
        ("policy_refresh_continuous_aggregate", 2),
        ("policy_retention", 4),
    ]


def test_a_database_without_a_schema_is_behind(upgrading: Connection) -> None:
    """There may be no TimescaleDB in it: nothing else is asked."""
    with upgrading.cursor() as cursor:
        cursor.execute("BEGIN; SET LOCAL search_path = pg_catalog")

        with pytest.raises(SchemaBehind, match="fleetwatt db upgrade"):
            migrations.check(upgrading)

        cursor.execute("ROLLBACK")
