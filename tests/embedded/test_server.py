"""The embedded server as PostgreSQL's clients see it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection as Connection

from fleetwatt.embedded.database import EmbeddedDatabase
from tests.conftest import rows

STARTUP = b"user\0postgres\0\0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedDatabase]:
    folder = tmp_path_factory.mktemp("embedded")
    options = ("--wait-timeout", "4000", "--idle-timeout", "1500")
    with EmbeddedDatabase(folder, 0, *options) as database:
        yield database


@pytest.fixture
def db(server: EmbeddedDatabase) -> Iterator[Connection]:
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS noted; CREATE TABLE noted (who int, what text)")
        yield connection


def dial(server: EmbeddedDatabase) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def startup(sock: socket.socket) -> None:
    sock.sendall(struct.pack("!ii", len(STARTUP) + 8, 3 << 16) + STARTUP)
    until_ready(sock)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def until_ready(sock: socket.socket) -> list[bytes]:
    """Return the kinds of the messages up to the next ReadyForQuery."""
    kinds: list[bytes] = []
    stream = sock.makefile("rb")
    while not kinds or kinds[-1] != b"Z":
        kind = stream.read(1)
        assert kind, "the server closed the connection"
        (length,) = struct.unpack("!i", stream.read(4))
        stream.read(length - 4)
        kinds.append(kind)
    return kinds


def test_transactions_of_eight_connections_do_not_mix(
    server: EmbeddedDatabase, db: Connection
) -> None:
    together = Barrier(8)

    def write(who: int) -> None:
        with closing(psycopg2.connect(server.url)) as own, own.cursor() as cursor:
            together.wait(60)
            for number in range(10):
                cursor.execute("INSERT INTO noted VALUES (%s, %s)", (who, f"{number} first"))
                cursor.execute("INSERT INTO noted VALUES (%s, %s)", (who, f"{number} second"))
                if number % 2:
                    own.commit()
                else:
                    own.rollback()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    assert rows(db, "SELECT who, count(*) FROM noted GROUP BY 1 ORDER BY 1") == [
        (who, 10) for who in range(8)
    ]


def test_what_a_killed_client_had_not_committed_is_gone_and_others_go_on(
    server: EmbeddedDatabase, db: Connection
) -> None:
    script = (
        "import psycopg2, sys\n"
        "c = psycopg2.connect(sys.argv[1])\n"
        "c.cursor().execute(\"INSERT INTO noted VALUES (1, 'lost')\")\n"
        "print('inserted', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as client:
        assert client.stdout
        client.stdout.readline()
        client.kill()

    assert rows(db, "SELECT * FROM noted") == []


def test_an_error_and_a_rollback_leave_the_connection_usable(server: EmbeddedDatabase) -> None:
    with closing(psycopg2.connect(server.url)) as own:
        with pytest.raises(errors.DivisionByZero):
            rows(own, "SELECT 1 / 0")
        with pytest.raises(errors.InFailedSqlTransaction):
            rows(own, "SELECT 1")
        own.rollback()
        assert rows(own, "SELECT 1") == [(1,)]


def test_psycopg2_connects_with_its_default_settings(server: EmbeddedDatabase) -> None:
    with closing(psycopg2.connect(server.url.partition("?")[0])) as own:
        assert rows(own, "SELECT 1") == [(1,)]


@pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")
def test_psql_connects_with_its_default_settings(server: EmbeddedDatabase) -> None:
    url = server.url.partition("?")[0]
    answer = subprocess.run(
        ["psql", "--no-psqlrc", "-At", url, "-c", "SELECT 1 + 1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "2\n"


@pytest.mark.parametrize("at_once", [True, False], ids=["in one packet", "byte by byte"])
def test_the_extended_protocol_goes_on_after_an_error(
    server: EmbeddedDatabase, at_once: bool
) -> None:
    def pipeline(statement: bytes) -> bytes:
        return (
            message(b"P", b"\0" + statement + b"\0\0\0")
            + message(b"B", b"\0\0\0\0\0\0\0\0")
            + message(b"E", b"\0\0\0\0\0")
            + message(b"S")
        )

    with dial(server) as sock:
        startup(sock)
        for statement, expected in (
            (b"SELECT 1", [b"1", b"2", b"D", b"C", b"Z"]),
            (b"SELECT nonsense", [b"E", b"Z"]),
            (b"SELECT 2", [b"1", b"2", b"D", b"C", b"Z"]),
        ):
            sent = pipeline(statement)
            for part in [sent] if at_once else [bytes([each]) for each in sent]:
                sock.sendall(part)
            assert until_ready(sock) == expected


def test_copy_from_stdin_is_refused_and_the_session_goes_on(db: Connection) -> None:
    with db.cursor() as cursor:
        with pytest.raises(errors.FeatureNotSupported, match="COPY FROM STDIN"):
            cursor.copy_expert("COPY noted FROM STDIN", sys.stdin)
        cursor.execute("INSERT INTO noted VALUES (1, 'then copy noted from stdin')")
    assert len(rows(db, "SELECT * FROM noted")) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        os.urandom(200),
        b"\0\0\0\x08",
        b"\x7f\xff\xff\xff" + b"x" * 100,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["random", "truncated", "huge", "http"],
)
@pytest.mark.parametrize("started", [False, True])
def test_garbage_costs_no_one_else_the_server(
    server: EmbeddedDatabase, db: Connection, garbage: bytes, started: bool
) -> None:
    with dial(server) as sock:
        if started:
            startup(sock)
        sock.sendall(garbage)

    assert rows(db, "SELECT 1") == [(1,)]


def test_waiting_for_another_transaction_is_bounded(tmp_path: Path) -> None:
    options = ("--wait-timeout", "200", "--idle-timeout", "60000")
    with (
        EmbeddedDatabase(tmp_path, 0, *options) as impatient,
        closing(psycopg2.connect(impatient.url)) as first,
        closing(psycopg2.connect(impatient.url)) as second,
    ):
        second.autocommit = True
        rows(first, "SELECT 1")
        with pytest.raises(errors.TooManyConnections):
            rows(second, "SELECT 2")
        first.rollback()
        assert rows(second, "SELECT 2") == [(2,)]


def test_a_transaction_that_idles_is_ended(server: EmbeddedDatabase, db: Connection) -> None:
    with closing(psycopg2.connect(server.url)) as idler:
        with idler.cursor() as cursor:
            cursor.execute("INSERT INTO noted VALUES (1, 'idle')")

        assert rows(db, "SELECT * FROM noted") == []
        with pytest.raises(psycopg2.OperationalError):
            rows(idler, "SELECT 1")


def test_ctrl_c_means_nothing_to_it(server: EmbeddedDatabase, db: Connection) -> None:
    assert server.process
    server.process.send_signal(signal.SIGINT)

    assert rows(db, "SELECT 1") == [(1,)]
