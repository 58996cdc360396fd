"""Numbers at either end of what a double holds cost nobody an answer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from fleetwatt.streams import STREAMS
from tests.api.test_summary import END, MINUTE, START, plug
from tests.conftest import refresh
from tests.examples import Reading, at, meter, vehicle

SMALLEST = math.ulp(0.0)
LARGEST = 1e100
REGISTERS = {
    "largest": (0.0, LARGEST),
    "smallest": (0.0, SMALLEST),
    "small": (0.0, 1e-200),
    "both": (SMALLEST, LARGEST),
}


def readings(ac: tuple[float, float], dc: tuple[float, float]) -> list[Reading]:
    """Two vehicles and their meter, whose registers go up and down between two values."""
    found = []
    for number in range(8):
        time = at(START + number * timedelta(minutes=50) + MINUTE)
        temperature = SMALLEST if number % 2 else 0.0
        drawn = {"kwhConsumedAc": ac[number % 2], "voltage": ac[number % 2]}
        given = {"kwhDeliveredDc": dc[number % 2], "batteryTemp": temperature}
        found += [
            meter(meterId="M", timestamp=time, **drawn),
            vehicle(vehicleId="A", timestamp=time, **given),
            vehicle(vehicleId="B", timestamp=time, **given),
        ]
    return found


def finite(answer: Any) -> bool:
    match answer:
        case dict():
            return all(map(finite, answer.values()))
        case list():
            return all(map(finite, answer))
        case float():
            return math.isfinite(answer)
    return True


def asked(client: FlaskClient) -> Iterator[TestResponse]:
    for route in ("performance", "performance/A", "performance/B", "fleet"):
        yield client.get(f"/v1/analytics/{route}", query_string={"end": at(END)})
    for device, bucket in itertools.product(("vehicles/A", "meters/M"), ("5m", "1h", "1d")):
        window = {"start": at(START), "end": at(END), "bucket": bucket}
        yield client.get(f"/v1/analytics/{device}/series", query_string=window)


@pytest.mark.parametrize("vehicles", ["A", "AB"])
@pytest.mark.parametrize("dc", REGISTERS)
@pytest.mark.parametrize("ac", REGISTERS)
def test_every_answer_is_finite(
    client: FlaskClient, sql: Connection, ac: str, dc: str, vehicles: str
) -> None:
    stored = client.post("/v1/ingestion", json=readings(REGISTERS[ac], REGISTERS[dc]))
    assert stored.status_code == 201
    for name in vehicles:
        plug(client, "M", to=name)

    of_raw = list(asked(client))
    refresh(sql)
    of_hours = list(asked(client))

    for response in of_raw + of_hours:
        assert response.status_code == 200, response.request.path
        assert finite(response.json), response.request.path


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_what_no_sum_could_hold_is_refused(client: FlaskClient, stream: Any) -> None:
    reading = {"meter": meter, "vehicle": vehicle}[stream.name]
    for measure in stream.measures:
        response = client.post(
            f"/v1/ingestion/{stream.name}",
            json=reading(**{measure.name: math.nextafter(1e100, 2e100)}),
        )

        assert response.status_code == 422
        assert response.json
        (error,) = response.json["errors"]
        assert error["field"] == measure.name
        assert error["message"].startswith("Must be from ")
