"""A late reading shows at once in every answer about its device, whatever became of its hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.streams import STREAMS
from tests.conftest import refresh, rows
from tests.examples import NOW, Reading, at, meter, vehicle

MINUTE = timedelta(minutes=1)
LATE = {
    "1 minute": MINUTE,
    "3 hours": timedelta(hours=3),
    "2 days": timedelta(days=2),
    "100 days": timedelta(days=100),
}


def leave(_: Connection) -> None:
    """Nothing has happened to the chunks and hours."""


def compress(connection: Connection) -> None:
    """Refresh the aggregates and turn every chunk of history into columnstore."""
    refresh(connection)
    for stream in STREAMS:
        for (chunk,) in rows(connection, f"SELECT show_chunks('{stream.history}')::text"):
            with connection.cursor() as cursor:
                cursor.execute(
                    f"CALL convert_to_columnstore('{chunk}', if_not_columnstore => true)"
                )
    compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
    assert rows(connection, compressed) != [(0,)]


def post(client: FlaskClient, *readings: Reading) -> None:
    response = client.post("/v1/ingestion", json=readings)
    assert response.json
    assert response.json["accepted"] == len(readings)


def summary(client: FlaskClient, late: timedelta) -> dict[str, Any]:
    response = client.get(
        "/v1/analytics/performance/V-999", query_string={"end": at(NOW - late + 2 * MINUTE)}
    )
    assert response.json
    return dict(response.json)


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(leave, id="never refreshed"),
        pytest.param(refresh, id="refreshed"),
        pytest.param(compress, id="compressed", marks=pytest.mark.community),
    ],
)
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_a_late_reading_shows_at_once_and_after_the_next_refresh(
    client: FlaskClient, sql: Connection, prepare: Callable[[Connection], None], late: timedelta
) -> None:
    taken = NOW - late
    around = [taken - 90 * MINUTE, taken - 30 * MINUTE, taken + MINUTE]
    for time, kwh in zip(around, [10, 15, 3], strict=True):
        post(
            client,
            meter(kwhConsumedAc=kwh, timestamp=at(time)),
            vehicle(kwhDeliveredDc=kwh, batteryTemp=20, timestamp=at(time)),
        )
    client.post("/v1/ingestion/mapping", json={"vehicleId": "V-999", "meterId": "M-123"})
    prepare(sql)
    before = summary(client, late)
    assert (before["kwhConsumedAc"], before["kwhDeliveredDc"]) == (5, 5)

    # What both registers rose by before they fell, so that energy changes and not just its path.
    post(
        client,
        meter(kwhConsumedAc=18, timestamp=at(taken)),
        vehicle(kwhDeliveredDc=19, batteryTemp=60, timestamp=at(taken)),
    )

    after = summary(client, late)
    assert (after["vehicleReadings"], after["meterReadings"]) == (4, 4)
    assert (after["kwhConsumedAc"], after["kwhDeliveredDc"]) == (5 + 3, 5 + 4)
    assert (after["avgBatteryTemp"], after["counterResets"]) == (30, 2)
    refresh(sql)
    assert summary(client, late) == after
