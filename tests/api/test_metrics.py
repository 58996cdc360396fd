from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database import gauges
from fleetwatt.observability import exposition, metrics
from tests.api.test_health import NOBODY
from tests.conftest import rows
from tests.examples import NOW, at, meter, vehicle
from tests.observability.test_metrics import samples


@pytest.fixture(autouse=True)
def _a_slow_machine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "PATIENCE", 60.0)


def scrape(client: FlaskClient) -> dict[tuple[str, ...], float]:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.content_type == exposition.MEDIA_TYPE
    return samples(response.data)


def test_a_scrape_names_the_version(client: FlaskClient) -> None:
    assert scrape(client)["fleetwatt_build_info", version("fleetwatt")] == 1


def test_readings_are_counted_by_stream_and_outcome(client: FlaskClient) -> None:
    before = scrape(client)
    client.post("/v1/ingestion", json=[meter(), vehicle(), vehicle(soc=101)])
    client.post("/v1/ingestion/meter", json=[meter(), meter(meterId="M-2")])
    after = scrape(client)

    def counted(*series: str) -> float:
        return after[series] - before.get(series, 0)

    assert counted("fleetwatt_readings_total", "accepted", "meter") == 2
    assert counted("fleetwatt_readings_total", "duplicate", "meter") == 1
    assert counted("fleetwatt_readings_total", "accepted", "vehicle") == 1
    assert counted("fleetwatt_readings_rejected_total", "soc", "vehicle") == 1
    assert counted("fleetwatt_batch_readings_count") == 2
    assert counted("fleetwatt_batch_readings_sum") == 4
    assert counted("fleetwatt_commit_seconds_count") == 2


def test_the_lag_of_a_reading_is_counted(client: FlaskClient) -> None:
    series = ("fleetwatt_reading_lag_seconds_sum", "meter")
    before = scrape(client)[series]
    client.post("/v1/ingestion/meter", json=meter(timestamp=at(NOW - timedelta(hours=2))))

    assert scrape(client)[series] - before >= 7_200


def test_a_large_batch_is_looked_at_in_part(client: FlaskClient) -> None:
    series = ("fleetwatt_reading_lag_seconds_count", "meter")
    before = scrape(client)[series]
    batch = [meter(timestamp=at(NOW - timedelta(seconds=n))) for n in range(95)]
    client.post("/v1/ingestion/meter", json=batch)

    assert scrape(client)[series] - before == 10


def test_requests_are_counted_by_rule_not_by_path(client: FlaskClient) -> None:
    client.get("/v1/status/meters/M-made-up")
    shown = client.get("/metrics").text

    assert 'route="/v1/status/meters/<device_id:meterId>",status="404"' in shown
    assert "M-made-up" not in shown


def test_queue_and_pool_are_told(client: FlaskClient, config: Config) -> None:
    client.get("/readyz")
    shown = scrape(client)

    assert shown["fleetwatt_queue_readings",] == 0
    assert shown["fleetwatt_queue_oldest_seconds",] == 0
    assert shown["fleetwatt_queue_limit_readings",] == config.queue_size
    assert shown["fleetwatt_pool_connections", "idle"] == 1
    assert shown["fleetwatt_pool_connections", "used"] == 0
    assert shown["fleetwatt_pool_limit_connections",] == config.pool_size


def test_devices_are_reporting_or_silent(client: FlaskClient) -> None:
    # The tests may have begun long ago.
    now = datetime.now(UTC)
    client.post(
        "/v1/ingestion/meter",
        json=[
            meter(meterId="M-1", timestamp=at(now)),
            meter(meterId="M-2", timestamp=at(now)),
            meter(meterId="M-3", timestamp=at(now - timedelta(minutes=6))),
        ],
    )
    shown = scrape(client)

    assert shown["fleetwatt_database_up",] == 1
    assert shown["fleetwatt_devices", "reporting", "meter"] == 2
    assert shown["fleetwatt_devices", "silent", "meter"] == 1
    assert shown["fleetwatt_devices", "silent", "vehicle"] == 0


def test_a_device_reports_by_its_own_interval(client: FlaskClient) -> None:
    now = datetime.now(UTC)
    for device, entry in (("M-1", {"intervalSeconds": 900}), ("M-2", {}), ("M-3", {})):
        client.put(f"/v1/devices/meters/{device}", json=entry)
    client.post(
        "/v1/ingestion/meter",
        json=[
            meter(meterId=device, timestamp=at(now - timedelta(minutes=70)))
            for device in ("M-1", "M-2")
        ],
    )
    shown = scrape(client)

    assert shown["fleetwatt_devices", "reporting", "meter"] == 1
    assert shown["fleetwatt_devices", "silent", "meter"] == 2
    assert shown["fleetwatt_database_bytes",] > 1_000_000


def test_chunks_and_jobs_are_the_databases_own(client: FlaskClient, sql: Connection) -> None:
    client.post("/v1/ingestion/meter", json=meter())
    shown = scrape(client)
    chunks = rows(
        sql,
        "SELECT hypertable_name, count(*) FROM timescaledb_information.chunks "
        "WHERE hypertable_name = 'meter_telemetry' GROUP BY 1",
    )
    # The Apache edition has one that can't run there.
    jobs = rows(
        sql,
        "SELECT job_id::text FROM timescaledb_information.jobs"
        " WHERE current_setting('timescaledb.license') <> 'apache'",
    )

    assert [
        ("meter_telemetry", shown["fleetwatt_chunks", "uncompressed", "meter_telemetry"])
    ] == chunks
    assert {series[1] for series in shown if series[0] == "fleetwatt_job_failing"} == {
        job for (job,) in jobs
    }


def test_a_database_that_is_away_takes_its_own_gauges_along_and_no_more() -> None:
    shown = scrape(create_app(NOBODY).test_client())

    assert shown["fleetwatt_database_up",] == 0
    assert not [
        series for series in shown if series[0] in {"fleetwatt_devices", "fleetwatt_chunks"}
    ]
    assert ("fleetwatt_commit_seconds_count",) in shown


def test_a_database_that_hangs_is_waited_for_a_moment_and_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gauges, "PATIENCE", 0.1)
    asked = []
    over = threading.Event()

    def hang() -> list[metrics.GaugeValue]:
        asked.append(1)
        over.wait()
        return []

    hanging = gauges.Gauges(hang)

    assert (
        hanging.latest() == hanging.latest() == [metrics.GaugeValue("fleetwatt_database_up", 0.0)]
    )
    assert asked == [1]
    over.set()


def test_without_a_thread_to_ask_in_the_next_look_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(gauges, "KEPT", 0)
    asked = gauges.Gauges(lambda: [metrics.GaugeValue("fleetwatt_database_bytes", 1)])
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", no_more)
        assert asked.latest() == [metrics.GaugeValue("fleetwatt_database_up", 0.0)]

    assert asked.latest()[0] == metrics.GaugeValue("fleetwatt_database_up", 1.0)


def test_gauges_are_used_again_for_some_seconds() -> None:
    asked = []

    def ask() -> list[metrics.GaugeValue]:
        asked.append(1)
        return [metrics.GaugeValue("fleetwatt_database_bytes", len(asked))]

    kept = gauges.Gauges(ask)

    assert kept.latest() == kept.latest()
    assert kept.latest()[1].value == 1
