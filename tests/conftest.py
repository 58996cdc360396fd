"""The database under test: embedded, or FLEETWATT_TEST_DATABASE_URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt import create_app
from fleetwatt.config import Config
from fleetwatt.embedded.database import EmbeddedDatabase
from fleetwatt.store import migrations
from fleetwatt.store.connections import connect
from fleetwatt.streams import STREAMS


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database with an up-to-date schema, one for the whole run."""
    if given := os.environ.get("FLEETWATT_TEST_DATABASE_URL"):
        _upgrade(given)
        yield given
        return
    with EmbeddedDatabase(tmp_path_factory.mktemp("database")) as database:
        _upgrade(database.url)
        yield database.url


def _upgrade(url: str) -> None:
    with closing(connect(Config(database_url=url))) as connection:
        list(migrations.upgrade(connection))


@pytest.fixture
def config(database_url: str) -> Config:
    return Config(database_url=database_url, pool_size=2)


@pytest.fixture
def sql(database_url: str) -> Iterator[Connection]:
    """A connection of the test's own, in autocommit."""
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    """Let each test that uses the database find it empty."""
    if "database_url" not in request.fixturenames:
        return
    connection: Connection = request.getfixturevalue("sql")
    with connection.cursor() as cursor:
        for stream in STREAMS:
            cursor.execute(f"TRUNCATE {stream.history}, {stream.latest}")
        cursor.execute("TRUNCATE vehicle_meter_mapping")


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    app = create_app(config)
    yield app
    app.extensions["fleetwatt"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def rows(connection: Connection, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return what a statement answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
