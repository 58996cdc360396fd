"""What questions can't take from ingestion."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest
from flask import Flask

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.database.errors import PoolExhausted
from fleetwatt.database.pool import Pool, Share, connect
from tests.conftest import rows
from tests.examples import meter
from tests.waiting import eventually

FLEET = "/v1/analytics/performance?hours=744"
STATUS = "/v1/status/meters"
TIMEOUT = 0.2
HANDFUL = 5  # more than any service of these tests has connections


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    """A service that has four connections, and half of its eight threads to wait for them."""
    app = create_app(replace(config, pool_size=4, threads=8, pool_timeout=TIMEOUT))
    yield app
    app.extensions["fleetwatt"].close()


@contextmanager
def asking(database: Database, query: str) -> Iterator[int]:
    """Ask as often at once as a service may, and yield how often that is."""
    shares = database._shares_of(query)
    with ExitStack() as taken:
        with suppress(PoolExhausted):
            for _ in range(HANDFUL):
                taken.enter_context(database._pool.connection(*shares, timeout=0))
        yield shares[-1].taken


def test_while_analytic_questions_take_all_they_may_the_rest_of_the_service_goes_on(
    app: Flask,
) -> None:
    client = app.test_client()

    with asking(app.extensions["fleetwatt"], "exact_until") as questions:
        refused = client.get(FLEET)

        assert questions == 2
        assert client.post("/v1/ingestion/meter", json=meter()).status_code == 201
        assert client.get(STATUS).status_code == 200
        assert client.get("/readyz").status_code == 200
    assert refused.status_code == 503
    assert refused.json
    assert refused.json["type"] == "urn:fleetwatt:problem:busy"
    assert int(refused.headers["Retry-After"]) > 0
    assert client.get(FLEET).status_code == 200


def test_while_questions_take_all_they_may_readings_are_stored_and_health_is_told(
    app: Flask,
) -> None:
    client = app.test_client()

    with asking(app.extensions["fleetwatt"], "meter.status_page") as questions:
        assert questions == 3
        assert client.get(STATUS).status_code == 503
        assert client.post("/v1/ingestion/meter", json=meter()).status_code == 201
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(("connections", "questions"), [(1, 1), (2, 1), (3, 2), (8, 3)])
def test_analytic_questions_leave_half_of_the_connections_or_what_the_setting_says(
    config: Config, connections: int, questions: int
) -> None:
    database = Database(replace(config, pool_size=connections, analytic_queries=3))

    with asking(database, "exact_until") as asked:
        assert asked == questions
    database.close()


def test_a_reading_waits_longer_for_a_connection_than_a_question_does(app: Flask) -> None:
    database: Database = app.extensions["fleetwatt"]
    client = app.test_client()
    assert client.get("/readyz").status_code == 200

    with ThreadPoolExecutor(1) as threads:
        with ExitStack() as taken:
            for _ in range(4):
                taken.enter_context(database._pool.connection())
            posting = threads.submit(client.post, "/v1/ingestion/meter", json=meter())
            # Until after the time that questions have.
            assert app.test_client().get(STATUS).status_code == 503
            assert not posting.done()
        assert posting.result().status_code == 201


def test_where_too_many_wait_already_one_more_is_refused_at_once(config: Config) -> None:
    pool = Pool(lambda: connect(config), size=2, timeout=60)
    share = Share(most=1, may_wait=1)

    def ask() -> list[tuple[int]]:
        with pool.connection(share) as connection:
            return rows(connection, "SELECT 1")

    with ThreadPoolExecutor(1) as threads:
        with pool.connection(share):
            waiting = threads.submit(ask)
            eventually(lambda: share.waiting == 1, "nothing waits")
            with pytest.raises(PoolExhausted, match="too many"), pool.connection(share):
                pass
        assert waiting.result() == [(1,)]
    pool.drop_idle()


def test_a_connection_that_can_not_be_opened_takes_nothing_of_a_share(config: Config) -> None:
    away = replace(config, database_url="postgresql://postgres@127.0.0.1:1/postgres")
    pool = Pool(lambda: connect(away), size=2, timeout=TIMEOUT)
    share = Share(most=1, may_wait=1)

    for _ in range(2):
        with pytest.raises(Exception, match="refused"), pool.connection(share):
            pass

    assert share.taken == 0
