"""Questions whose clients are gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.database import abandoned
from fleetwatt.database.client import Database
from fleetwatt.database.errors import Abandoned
from fleetwatt.database.pool import connect
from tests.conftest import rows

WINDOW = {"start": "2026-01-01", "end": "2026-01-02"}


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    with closing(Database(config)) as database:
        yield database


@pytest.fixture
def connection(config: Config) -> Iterator[Connection]:
    with closing(connect(config)) as connection:
        yield connection


def test_what_is_analytic_is_not_asked_for_a_client_that_is_gone(database: Database) -> None:
    with abandoned.client(lambda: True):
        with pytest.raises(Abandoned):
            database.query_one("exact_until", **WINDOW)
        assert database.query_one("takes_writes") == {"takes_writes": True}

    assert database.query_one("exact_until", **WINDOW)


def test_a_connection_that_was_to_be_cancelled_is_asked_nothing_else(
    connection: Connection,
) -> None:
    """The server may cancel late, and would hit what comes next: perhaps a write."""
    gone: list[bool] = []

    with abandoned.client(lambda: bool(gone)), abandoned.watched(connection):
        gone.append(True)
        abandoned.cancel()

    assert connection.closed


def test_a_question_that_has_ended_is_not_cancelled(connection: Connection) -> None:
    gone: list[bool] = []

    with abandoned.client(lambda: bool(gone)):
        with abandoned.watched(connection):
            abandoned.cancel()
        gone.append(True)
        abandoned.cancel()

    assert rows(connection, "SELECT 1") == [(1,)]
