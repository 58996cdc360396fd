"""The database that is measured: one of the bench's own on the server, dropped at the end."""

from __future__ import annotations

import contextlib
import io
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from bench import readings
from fleetwatt.database.schema import migrations
from fleetwatt.streams import STREAMS, Stream

NAME = "fleetwatt_bench"
# What lies in the tables before anything is measured: 2 million readings.
MINUTES_BEFORE = 100


@contextlib.contextmanager
def empty(server_url: str, name: str) -> Iterator[str]:
    """Create a database on a server, give its URL, and drop it."""
    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
    with _connected(server_url) as server:
        _execute(server, drop)
        _execute(server, f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            _execute(server, drop)


@contextlib.contextmanager
def created(server_url: str) -> Iterator[str]:
    """Give the URL of a database with fleetwatt's schema and the first readings."""
    with empty(server_url, NAME) as url:
        with _connected(url) as connection:
            list(migrations.upgrade(connection))
            for minute in range(-MINUTES_BEFORE, 0):
                for stream in STREAMS:
                    _copy(connection, stream, minute)
        reset(url)
        yield url


def reset(url: str) -> None:
    """Remove what was measured, so that each measurement starts on the same tables."""
    last = readings.START - timedelta(minutes=1)
    with _connected(url) as connection:
        for stream in STREAMS:
            names = {
                "history": sql.Identifier(stream.history),
                "latest": sql.Identifier(stream.latest),
                "columns": sql.SQL(", ").join(map(sql.Identifier, stream.columns)),
            }
            _execute(
                connection,
                "SELECT drop_chunks(%(history)s, newer_than => %(start)s::timestamptz)",
                history=stream.history,
                start=readings.START,
            )
            _execute(connection, sql.SQL("TRUNCATE {latest}").format(**names))
            _execute(
                connection,
                sql.SQL(
                    "INSERT INTO {latest} ({columns}) SELECT {columns} FROM {history} "
                    "WHERE time = %(last)s"
                ).format(**names),
                last=last,
            )
            _execute(connection, sql.SQL("VACUUM ANALYZE {latest}").format(**names))
        _execute(connection, "CHECKPOINT")


def stored(url: str) -> int:
    """How many readings were stored since the last reset."""
    statement = sql.SQL("SELECT count(*) FROM {} WHERE time >= %s")
    with _connected(url) as connection, connection.cursor() as cursor:
        total = 0
        for stream in STREAMS:
            cursor.execute(statement.format(sql.Identifier(stream.history)), [readings.START])
            total += cursor.fetchone()[0]  # type: ignore[index]
        return total


def copy_for(url: str, seconds: float) -> float:
    """COPY with one client a stream, a minute of the fleet a transaction; readings a second."""
    ends = time.monotonic() + seconds
    with ThreadPoolExecutor(len(STREAMS)) as clients:
        return sum(clients.map(lambda stream: _copy_until(url, stream, ends), STREAMS))


def _copy_until(url: str, stream: Stream, ends: float) -> float:
    began = time.monotonic()
    with _connected(url) as connection:
        for minute in itertools.count():
            if time.monotonic() >= ends:
                return minute * readings.DEVICES / (time.monotonic() - began)
            _copy(connection, stream, minute)
    raise AssertionError  # count() has no end


def version(url: str) -> str:
    """Name the server and its edition."""
    with _connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('TimescaleDB %s (%s) on PostgreSQL %s', extversion, "
            "current_setting('timescaledb.license'), current_setting('server_version')) "
            "FROM pg_extension WHERE extname = 'timescaledb'"
        )
        return str(cursor.fetchone()[0])  # type: ignore[index]


def server_process(url: str) -> psutil.Process | None:
    """PostgreSQL's postmaster, where it runs on this machine."""
    with _connected(url) as connection:
        backend = connection.info.backend_pid
        with contextlib.suppress(psutil.NoSuchProcess):
            # By what it calls itself: the loader of unpacked programs gets that name.
            if any(
                argument.startswith("postgres:") for argument in psutil.Process(backend).cmdline()
            ):
                return psutil.Process(backend).parent()
    return None


def _copy(connection: Connection, stream: Stream, minute: int) -> None:
    text = io.StringIO(readings.copy_text(stream, minute))
    with connection.cursor() as cursor:
        cursor.copy_from(text, stream.history, columns=stream.columns)


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        yield connection


def _execute(connection: Connection, statement: str | sql.Composed, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
