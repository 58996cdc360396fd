"""The service as the role fleetwatt_app, and what each role may not do."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from psycopg2 import errors

from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import editions
from tests.conftest import refresh, rows
from tests.examples import ago, meter, vehicle
from tests.native.server import NativeServer

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)
ROLES = ("owner", "app", "dashboard")
Urls = dict[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[NativeServer]:
    with NativeServer({"shared_buffers": "64MB"}) as server:
        yield server


@pytest.fixture(scope="module", params=["roles first", "schema first"])
def urls(request: pytest.FixtureRequest, server: NativeServer) -> Urls:
    """The URL of each role, in a database of its own."""
    database = "fresh" if request.param == "roles first" else "grown"
    execute(server.url, f"CREATE DATABASE {database}")
    superuser = re.sub("/postgres$", f"/{database}", server.url)
    if request.param == "schema first":
        run(superuser, "db", "upgrade")
    run(superuser, "db", "roles")
    for role in ROLES:
        execute(superuser, f"ALTER ROLE fleetwatt_{role} PASSWORD 'secret-{role}'")
    if request.param == "schema first":
        # As if it came from an earlier release: the owner has something to replace.
        execute(superuser, "UPDATE fleetwatt_schema SET checksum = '' WHERE file ~ '^repeatable'")
    urls = {
        role: re.sub("//.*@", f"//fleetwatt_{role}:secret-{role}@", superuser) for role in ROLES
    }
    run(urls["owner"], "db", "upgrade")
    return urls


@pytest.fixture
def client(urls: Urls) -> Iterator[FlaskClient]:
    app = create_app(Config(database_url=urls["app"]))
    yield app.test_client()
    app.extensions["fleetwatt"].close()


@pytest.fixture
def service(client: FlaskClient) -> FlaskClient:
    """With a reading of each device, a minute and three hours ago, and a mapping."""
    for hours in (0, 3):
        batch = [
            meter(timestamp=ago(hours=hours, minutes=1)),
            vehicle(timestamp=ago(hours=hours, minutes=1)),
        ]
        assert client.post("/v1/ingestion", json=batch).status_code in {200, 201}
    client.post("/v1/ingestion/mapping", json={"vehicleId": "V-999", "meterId": "M-123"})
    return client


def run(url: str, *command: str) -> str:
    done = CliRunner().invoke(fleetwatt, command, env={"FLEETWATT_DATABASE_URL": url})
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_the_roles_can_be_created_again(urls: Urls) -> None:
    run(urls["owner"], "db", "roles")

    assert run(urls["owner"], "db", "upgrade") == "The schema is up to date.\n"


def test_all_of_the_schema_is_the_owner_s(urls: Urls) -> None:
    owners = execute(
        urls["owner"],
        """
        SELECT DISTINCT relowner::regrole::text FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, '_timescaledb_internal'::regnamespace)
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
          AND relkind IN ('r', 'v', 'm')
        UNION
        SELECT proowner::regrole::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        UNION
        SELECT owner::text FROM timescaledb_information.jobs
        WHERE hypertable_name IS NOT NULL OR proc_schema = 'public'
        """,
    )

    assert owners == [("fleetwatt_owner",)]


def test_the_whole_service_works_as_the_app(service: FlaskClient) -> None:
    assert service.post("/v1/ingestion/meter", json=meter()).status_code in {200, 201}
    assert service.post("/v1/ingestion/vehicle", json=vehicle()).status_code in {200, 201}
    old = meter(timestamp=ago(days=40))
    assert service.post("/v1/ingestion?atomic=true", json=[old]).status_code in {200, 201}
    moved = {"vehicleId": "V-1", "meterId": "M-1"}
    assert service.post("/v1/ingestion/mapping", json=moved).status_code in {200, 201}
    later = {"vehicleId": "V-1", "meterId": "M-2", "validFrom": ago(hours=-1)}
    assert service.post("/v1/ingestion/mapping", json=later).status_code == 201
    assert service.delete("/v1/ingestion/mapping/V-1").status_code == 200
    assert service.put("/v1/sites/S-1", json={}).status_code in {200, 201}
    assert service.put("/v1/devices/meters/M-1", json={"site": "S-1"}).status_code in {200, 201}
    assert service.delete("/v1/sites/S-1").status_code == 409
    assert service.delete("/v1/devices/meters/M-1").status_code == 200
    assert service.delete("/v1/sites/S-1").status_code == 200
    for route in (
        "/readyz",
        "/v1/mappings",
        "/v1/devices/meters",
        "/v1/sites",
        "/v1/status/vehicles",
        "/v1/status/vehicles/V-999",
        "/v1/status/meters",
        "/v1/status/meters/M-123",
        "/v1/analytics/performance/V-999?hours=24",
    ):
        response = service.get(route)
        assert response.status_code == 200, (route, response.text)


def test_a_late_reading_is_stored_in_a_compressed_chunk_as_the_app(
    service: FlaskClient, urls: Urls
) -> None:
    with closing(connect(Config(database_url=urls["owner"]))) as owner:
        if editions.edition(owner) == "apache":
            pytest.skip("the Apache edition has no columnstore")
        refresh(owner)
        rows(owner, "SELECT count(compress_chunk(c)) FROM show_chunks('meter_telemetry') AS c")

    late = meter(timestamp=ago(hours=2, minutes=30))
    assert service.post("/v1/ingestion/meter", json=late).status_code == 201
    assert service.post("/v1/ingestion/meter", json=late).status_code == 200
    summary = service.get("/v1/analytics/performance/V-999?hours=24").json

    assert summary
    assert summary["meterReadings"] == 3


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM meter_telemetry",
        "UPDATE vehicle_telemetry SET kwh_delivered_dc = 0",
        "TRUNCATE meter_telemetry",
        "DROP TABLE meter_telemetry",
        "ALTER TABLE meter_telemetry ADD COLUMN more text",
        "CREATE INDEX ON meter_telemetry (voltage)",
        "SELECT drop_chunks('meter_telemetry', older_than => now())",
        "SELECT set_chunk_time_interval('meter_telemetry', INTERVAL '1 hour')",
        "DELETE FROM meters_latest",
        "DROP FUNCTION meter_energy",
        "UPDATE fleetwatt_schema SET checksum = ''",
        "CREATE TABLE own ()",
        "CREATE ROLE friend",
    ],
)
def test_the_app_changes_neither_history_nor_schema(urls: Urls, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        execute(urls["app"], statement)


def test_the_service_changes_history_by_recorded_corrections_alone(
    service: FlaskClient, urls: Urls
) -> None:
    time = ago(hours=3, minutes=1)
    body = {"kwhConsumedAc": 1, "voltage": 231, "reason": "a typing error"}
    replaced = service.put(f"/v1/readings/meters/M-123/{time}", json=body)
    assert replaced.status_code == 200, replaced.text
    undone = service.post(f"/v1/readings/corrections/{replaced.get_json()['id']}/undo")
    assert undone.status_code == 200
    span = {"start": time, "end": ago(hours=3), "reason": "nonsense"}
    removed = service.delete("/v1/readings/meters/M-123", query_string=span)
    assert removed.get_json() == {"removed": 1}

    for table in ("reading_corrections", "corrected_readings", "removed_readings"):
        for role in ("app", "dashboard"):
            with pytest.raises(errors.InsufficientPrivilege):
                execute(
                    urls[role], "SET default_transaction_read_only = off", f"DELETE FROM {table}"
                )
    newest = service.get("/v1/readings/corrections?limit=1").get_json()["items"][0]
    assert service.post(f"/v1/readings/corrections/{newest['id']}/undo").status_code == 200


@pytest.mark.usefixtures("service")
def test_the_app_changes_no_mapping_without_a_record(urls: Urls) -> None:
    for statement in (
        "DELETE FROM mapping_changes",
        "UPDATE mapping_changes SET author = 'somebody else'",
        "INSERT INTO mapping_changes (author, vehicle_id, meter_id) VALUES ('', 'V', 'M')",
        "ALTER TABLE vehicle_meter_mapping DISABLE TRIGGER ALL",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            execute(urls["app"], statement)

    counted = "SELECT count(*) FROM public.mapping_changes"
    before = execute(urls["app"], counted)
    changed, diverted = execute(
        urls["app"],
        # It would take the rows instead, and its owner could have a trigger run on them.
        "CREATE TEMPORARY TABLE mapping_changes (LIKE public.mapping_changes)",
        "DELETE FROM vehicle_meter_mapping",
        f"{counted} UNION ALL SELECT count(*) FROM mapping_changes",
    )
    assert changed > before[0]
    assert diverted == (0,)


@pytest.mark.usefixtures("service")
def test_the_app_does_not_change_chunks(urls: Urls) -> None:
    [(chunk,), *_] = execute(urls["owner"], "SELECT show_chunks('meter_telemetry')::text")

    for statement in ("DROP TABLE", "TRUNCATE", "DELETE FROM"):
        with pytest.raises(errors.InsufficientPrivilege):
            execute(urls["app"], f"{statement} {chunk}")


@pytest.mark.usefixtures("service")
def test_the_app_does_not_change_policies(urls: Urls) -> None:
    jobs = execute(
        urls["app"],
        "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL",
    )
    if not jobs:
        pytest.skip("the Apache edition has no policies")
    for (job,) in jobs:
        with pytest.raises(errors.InsufficientPrivilege):
            execute(urls["app"], f"SELECT delete_job({job})")


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    "view", ["meter_hourly", "vehicle_hourly", "meter_status", "vehicle_status"]
)
def test_a_dashboard_reads_views(urls: Urls, view: str) -> None:
    assert execute(urls["dashboard"], f"SELECT count(*) > 0 FROM {view}") == [(True,)]


GRAFANA = json.loads(
    (Path(__file__).parents[2] / "ops/grafana/dashboards/fleetwatt-energy.json").read_text()
)
PANELS = {
    panel["title"]: target["rawSql"] for panel in GRAFANA["panels"] for target in panel["targets"]
}


def drawn(urls: Urls, sql: str, site: str = "") -> list[tuple[Any, ...]]:
    """Run a panel's SQL as Grafana does: over the last six hours, as the dashboard's role."""
    for macro, value in (
        ("$__timeFrom()", f"'{ago(hours=6)}'"),
        ("$__timeTo()", f"'{ago(hours=0)}'"),
        ("${site:sqlstring}", f"'{site}'"),
    ):
        sql = sql.replace(macro, value)
    assert "$" not in sql
    return execute(urls["dashboard"], sql)


@pytest.fixture
def charged(client: FlaskClient) -> FlaskClient:
    """A vehicle that charged for two hours, on a meter that counted the same."""
    for minute in range(120):
        register = 900 + 0.2 * minute
        time = ago(minutes=290 - minute)
        reading = vehicle(vehicleId="V-7", kwhDeliveredDc=register, timestamp=time)
        batch = [meter(meterId="M-7", kwhConsumedAc=register, timestamp=time), reading]
        assert client.post("/v1/ingestion", json=batch).status_code in {200, 201}
    return client


@pytest.mark.usefixtures("charged")
@pytest.mark.parametrize("title", PANELS)
def test_a_panel_of_grafana_s_is_drawn_by_the_dashboard_s_role(urls: Urls, title: str) -> None:
    assert drawn(urls, PANELS[title])
    drawn(urls, PANELS[title], site="S-1")


def test_grafana_draws_what_the_api_answers(urls: Urls, charged: FlaskClient) -> None:
    window = {"start": ago(hours=6), "end": ago(hours=0)}
    fleet = charged.get("/v1/analytics/fleet", query_string=window).json
    sessions = charged.get("/v1/analytics/sessions", query_string=window).json
    assert fleet
    assert sessions
    energy = {
        time.isoformat(): (ac, dc) for time, ac, dc in drawn(urls, PANELS["Energy by the hour"])
    }
    for bucket in fleet["items"]:
        told = energy[datetime.fromisoformat(bucket["start"]).isoformat()]
        assert told == pytest.approx((bucket["kwhConsumedAc"], bucket["kwhDeliveredDc"]))
    told_sessions = {row[0]: row for row in drawn(urls, PANELS["Sessions"])}
    [session] = [item for item in sessions["items"] if item["vehicleId"] == "V-7"]
    _, _, start, end, kwh, *_ = told_sessions["V-7"]
    assert (start, end) == tuple(datetime.fromisoformat(session[name]) for name in ("start", "end"))
    assert kwh == pytest.approx(session["kwhDeliveredDc"])
    assert drawn(urls, PANELS["Sessions"], site="elsewhere") == []


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM meter_telemetry",
        "SELECT * FROM fleetwatt_schema",
        "INSERT INTO meters_latest VALUES ('M-1', now(), 1, 1)",
        "INSERT INTO meter_telemetry VALUES ('M-1', now(), 1, 1)",
        "UPDATE vehicles_latest SET soc = 0",
        "DELETE FROM vehicle_meter_mapping",
        "INSERT INTO sites VALUES ('S-9')",
        "DELETE FROM devices",
        "SELECT map_vehicle('V-1', 'M-2', NULL, NULL, true, 'me')",
        "SELECT unplug_vehicle('V-999', NULL, 'me')",
        "SELECT replace_meter('M-123', now(), '{}', 'why', 'who')",
        "SELECT remove_meter('M-123', '-infinity', 'infinity', 'why', 'who')",
        "SELECT undo_vehicle(1, 'who')",
        "DROP VIEW meter_status",
        "CREATE TABLE own ()",
    ],
)
def test_a_dashboard_changes_nothing_even_when_it_wants_to(urls: Urls, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        execute(urls["dashboard"], "SET default_transaction_read_only = off", statement)


def test_a_dashboard_s_transactions_are_read_only_and_bounded(urls: Urls) -> None:
    assert execute(urls["dashboard"], "SHOW transaction_read_only") == [("on",)]
    assert execute(urls["dashboard"], "SHOW statement_timeout") == [("1min",)]
    idle = "SHOW idle_in_transaction_session_timeout"
    assert execute(urls["dashboard"], idle) == [("1min",)]


@pytest.mark.parametrize("role", ["app", "dashboard"])
def test_neither_the_app_nor_a_dashboard_adds_jobs(
    urls: Urls, server: NativeServer, role: str
) -> None:
    superuser = re.sub("/postgres$", "/" + urls["app"].rpartition("/")[2], server.url)
    # Where the owner made the extension, its functions are the superuser's nevertheless.
    run(superuser, "db", "roles")

    with pytest.raises(errors.InsufficientPrivilege, match="function add_job"):
        execute(
            urls[role],
            "SET default_transaction_read_only = off",
            "SELECT add_job('pg_catalog.pg_sleep', INTERVAL '1 hour')",
        )


def test_a_table_of_a_later_migration_is_the_owner_s_and_the_app_reads_it(
    server: NativeServer, urls: Urls
) -> None:
    superuser = re.sub("/postgres$", "/" + urls["app"].rpartition("/")[2], server.url)
    execute(superuser, "CREATE TABLE added (one int)", "CREATE VIEW shown AS SELECT * FROM added")

    run(superuser, "db", "upgrade")

    assert execute(urls["app"], "SELECT * FROM added") == []
    assert execute(urls["dashboard"], "SELECT * FROM shown") == []
    execute(urls["owner"], "DROP VIEW shown", "DROP TABLE added")


def test_a_job_that_is_another_s_keeps_no_other_from_being_run(
    urls: Urls, server: NativeServer
) -> None:
    superuser = re.sub("//.*/", f"//{server.url.split('/')[2]}/", urls["owner"])
    with closing(connect(Config(database_url=superuser))) as connection:
        if editions.edition(connection) == "apache":
            pytest.skip("there are no jobs")
    execute(
        superuser,
        "CREATE PROCEDURE never_well(job_id integer, config jsonb) LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'never well'; END $$",
        "SELECT alter_job(add_job('never_well', INTERVAL '1 day'), next_start => now() + '1 day')",
        "UPDATE _timescaledb_internal.bgw_job_stat"
        " SET last_run_success = false, last_finish = now()"
        " WHERE job_id = (SELECT job_id FROM timescaledb_information.jobs"
        " WHERE proc_name = 'never_well')",
    )

    for role in ("owner", "app"):
        said = run(urls[role], "maintain")
        assert re.search(r"left job \d+ \(never_well\) to postgres, whose it is\n", said)
