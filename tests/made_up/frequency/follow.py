"""A made-up field, from a reading to every answer. Run by tests/made_up/test_made_up.py."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.database import queries
from fleetwatt.simulation.fleet import Fleet
from fleetwatt.simulation.plan import Plan
from fleetwatt.streams import METER
from tests.conftest import rows
from tests.examples import NOW, ago, meter


def post(client: FlaskClient, *readings: dict[str, Any], route: str = "/meter") -> None:
    response = client.post(f"/v1/ingestion{route}", json=list(readings))
    assert response.status_code == 201, response.text


def status(client: FlaskClient, device: str = "M-123") -> Any:
    return client.get(f"/v1/status/meters/{device}").json


@pytest.mark.parametrize("route", ["/meter", ""])
def test_a_reading_has_it_or_leaves_it_out(client: FlaskClient, route: str) -> None:
    post(client, meter(), meter(meterId="M-2", frequency=49.98), route=route)

    assert (status(client)["frequency"], status(client)["voltage"]) == (None, 230)
    assert (status(client, "M-2")["frequency"], status(client, "M-2")["voltage"]) == (49.98, 230)


def test_it_is_not_null(client: FlaskClient) -> None:
    response = client.post("/v1/ingestion/meter", json=meter(frequency=None))

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "frequency"


def test_what_is_older_has_none(client: FlaskClient, sql: Connection) -> None:
    """As an older release stores it, which may serve on for a while."""
    rows(
        sql,
        """
        SELECT store_meter(
            ARRAY['M-123'], ARRAY[now()], '{1}'::double precision[], '{230}'::double precision[],
            NULL
        )
        """,
    )

    assert status(client)["frequency"] is None
    assert status(client)["kwhConsumedAc"] == 1


def test_a_view_that_others_are_made_of_has_it_behind_what_it_had(sql: Connection) -> None:
    columns = rows(
        sql,
        "SELECT attname FROM pg_attribute "
        "WHERE attrelid = 'meter_status'::regclass ORDER BY attnum",
    )

    assert [name for (name,) in columns] == [
        "meter_id",
        "time",
        "kwh_consumed_ac",
        "voltage",
        "received_at",
        "age_seconds",
        "frequency",
    ]
    assert rows(sql, "SELECT count(*) FROM of_a_dba") == [(0,)]


def test_the_mean_of_a_window_is_still_that_of_the_voltage(
    client: FlaskClient, sql: Connection
) -> None:
    post(client, meter(timestamp=ago(minutes=2), frequency=49.9), meter(voltage=240))

    assert METER.measures[1].name == "frequency"
    assert queries.of_stream("$mean", METER) == "voltage"
    span = "tstzrange(now() - INTERVAL '1 hour', now())"
    assert rows(sql, f"SELECT avg_voltage FROM meter_energy('M-123', {span})") == [(235,)]


def test_a_correction_that_is_older_is_still_listed(client: FlaskClient, sql: Connection) -> None:
    time = ago(minutes=1)
    post(client, meter(timestamp=time))
    client.put(
        f"/v1/readings/meters/M-123/{time}",
        json={"kwhConsumedAc": 1, "voltage": 1, "reason": "misread"},
    )
    rows(sql, "UPDATE corrected_readings SET before = before - 'frequency' RETURNING correction")

    [correction] = client.get("/v1/readings/corrections").get_json()["items"]

    assert correction["changes"][0]["before"]["frequency"] is None


def test_the_simulator_sends_it(client: FlaskClient) -> None:
    fleet = Fleet(Plan(vehicles=200, meters=200, start=NOW.replace(second=0)))
    fleet.advance()
    readings = [reading for second in range(60) for reading in fleet.readings(METER, second)]

    sent = json.loads(msgspec.json.encode(readings))
    post(client, *sent)

    assert 0 < sum("frequency" in reading for reading in sent) < 200
