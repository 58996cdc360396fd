"""`accept=queued`: 202 once the stream has the readings, and what becomes of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.config import Config
from tests.conftest import rows
from tests.examples import meter, vehicle
from tests.messaging.conftest import Broker, Consume
from tests.waiting import eventually

QUEUED = "/v1/ingestion/meter?accept=queued"


def close(app: Flask) -> None:
    app.extensions["fleetwatt.link"].close()
    app.extensions["fleetwatt"].close()


@pytest.fixture
def queueing(config: Config, broker: Broker) -> Iterator[FlaskClient]:
    app = create_app(replace(config, nats_url=broker.url))
    yield app.test_client()
    close(app)


def ids(sql: Connection) -> list[str]:
    return [name for (name,) in rows(sql, "SELECT meter_id FROM meter_telemetry ORDER BY 1")]


def test_without_a_nats_it_is_a_problem_that_says_so(client: FlaskClient) -> None:
    answer = client.post(QUEUED, json=meter())

    assert answer.status_code == 409
    assert answer.json
    assert answer.json["type"] == "urn:fleetwatt:problem:no-stream"
    assert "FLEETWATT_NATS_URL" in answer.json["detail"]


def test_what_is_queued_is_stored_by_the_consumer_later(
    queueing: FlaskClient, consume: Consume, sql: Connection
) -> None:
    consumer = consume()
    consumer.stop()
    answer = queueing.post(QUEUED, json=[meter(), meter(meterId="M-2")])

    assert answer.status_code == 202
    assert answer.json == {"queued": 2, "rejected": 0, "errors": [], "errorsOmitted": 0}
    assert ids(sql) == []
    consume()
    eventually(lambda: ids(sql) == ["M-123", "M-2"], "they are not stored")


def test_without_the_argument_the_answer_is_that_of_the_commit(
    queueing: FlaskClient, sql: Connection
) -> None:
    assert queueing.post("/v1/ingestion/meter", json=meter()).status_code == 201
    assert ids(sql) == ["M-123"]


def test_invalid_readings_are_named_at_once_and_the_others_queued(
    queueing: FlaskClient, consume: Consume, sql: Connection
) -> None:
    consume()
    lines = [meter(voltage=-1), meter(), vehicle()]
    body = gzip.compress("\n".join(map(json.dumps, lines)).encode())
    answer = queueing.post(
        "/v1/ingestion?accept=queued",
        data=body,
        content_type="application/x-ndjson",
        headers={"Content-Encoding": "gzip"},
    )

    assert answer.status_code == 202
    assert answer.json
    assert (answer.json["queued"], answer.json["rejected"]) == (2, 1)
    assert [error["index"] for error in answer.json["errors"]] == [0]
    eventually(lambda: ids(sql) == ["M-123"], "the valid one is not stored")


@pytest.mark.parametrize("body", [[meter(voltage=-1)], [meter(), meter(voltage=-1)]])
def test_nothing_is_queued_where_all_is_invalid_or_has_to_be_valid(
    queueing: FlaskClient, body: list[object]
) -> None:
    answer = queueing.post(f"{QUEUED}&atomic=true", json=body)

    assert answer.status_code == 422


def test_while_nats_is_away_the_answer_is_503(config: Config) -> None:
    app = create_app(replace(config, nats_url="nats://127.0.0.1:1"))

    answer = app.test_client().post(QUEUED, json=meter())

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json
    assert answer.json["type"] == "urn:fleetwatt:problem:stream-unavailable"
    close(app)


def test_readings_are_queued_while_the_database_is_away(broker: Broker, consume: Consume) -> None:
    consume()
    app = create_app(Config(database_url="postgresql://127.0.0.1:1/none", nats_url=broker.url))

    assert app.test_client().post(QUEUED, json=meter()).status_code == 202
    assert app.test_client().post("/v1/ingestion/meter", json=meter()).status_code == 503
    close(app)
