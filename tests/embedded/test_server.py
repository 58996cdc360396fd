"""The embedded server as PostgreSQL's clients see it."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Barrier

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection as Connection

from fleetwatt.embedded.database import EmbeddedDatabase
from tests.conftest import copied, rows

STARTUP = b"user\0postgres\0\0"


@pytest.fixture(scope="module")
def server(
    embedded_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedDatabase]:
    folder = copied(embedded_template, tmp_path_factory.mktemp("embedded"))
    with EmbeddedDatabase(folder) as database:
        yield database


@pytest.fixture
def db(server: EmbeddedDatabase) -> Iterator[Connection]:
    yield from session(server)


def session(server: EmbeddedDatabase) -> Iterator[Connection]:
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


def pipeline(statement: bytes) -> bytes:
    return (
        message(b"P", b"\0" + statement + b"\0\0\0")
        + message(b"B", b"\0\0\0\0\0\0\0\0")
        + message(b"E", b"\0\0\0\0\0")
        + message(b"S")
    )


def until_ready(sock: socket.socket) -> list[bytes]:
    """Return the kinds of the messages up to the next ReadyForQuery."""
    kinds: list[bytes] = []
    stream = sock.makefile("rb")
    while not kinds or kinds[-1] != b"Z":
        kind = stream.read(1)
        if not kind:
            raise ConnectionResetError("the server closed the connection")
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


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR, None])
def test_a_connection_that_breaks_in_a_transaction_leaves_nothing(
    server: EmbeddedDatabase, db: Connection, how: int | None
) -> None:
    with dial(server) as sock:
        startup(sock)
        sock.sendall(message(b"Q", b"BEGIN; INSERT INTO noted VALUES (1, 'lost')\0"))
        until_ready(sock)
        if how is not None:
            sock.shutdown(how)

    assert rows(db, "SELECT * FROM noted") == []


@pytest.mark.parametrize("statement", [b"INSERT INTO noted VALUES (1, 'lost')", b"nonsense"])
def test_a_connection_that_breaks_before_its_sync_leaves_nothing(
    server: EmbeddedDatabase, db: Connection, statement: bytes
) -> None:
    with dial(server) as sock:
        startup(sock)
        whole = pipeline(statement)
        sock.sendall(whole.removesuffix(message(b"S")) + message(b"H"))
        assert sock.recv(1)

    assert rows(db, "SELECT * FROM noted") == []
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO noted VALUES (2, 'kept')")
    assert rows(db, "SELECT who FROM noted") == [(2,)]


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
    with dial(server) as sock:
        startup(sock)
        for statement, expected in (
            (b"SELECT 1", [b"1", b"2", b"D", b"C", b"Z"]),
            (b"SELECT nonsense", [b"E", b"Z"]),
            (b"SELECT 2", [b"1", b"2", b"D", b"C", b"Z"]),
        ):
            sent = pipeline(statement)
            for part in [sent] if at_once else [bytes([byte]) for byte in sent]:
                sock.sendall(part)
            assert until_ready(sock) == expected


def test_statements_are_prepared_and_executed(db: Connection) -> None:
    with db.cursor() as cursor:
        cursor.execute("PREPARE double (int) AS SELECT 2 * $1")
    assert rows(db, "EXECUTE double (21)") == [(42,)]
    with pytest.raises(errors.DatatypeMismatch):
        rows(db, "EXECUTE double (point '(1,1)')")
    assert rows(db, "EXECUTE double (4)") == [(8,)]


def test_a_message_of_many_megabytes_arrives_and_returns_whole(db: Connection) -> None:
    text = "copy from stdin " * 1_000_000

    assert rows(db, "SELECT %(text)s", text=text) == [(text,)]


@pytest.mark.parametrize(
    "statement",
    [
        "COPY noted FROM STDIN",
        "copy noted (who, what) from stdin with (format csv)",
        "COPY noted FROM STDOUT",
        "copy/**/noted from /* ; */ stdin",
        "/* don't /* nest */ ; */ COPY noted FROM -- here\n STDIN",
        'SELECT \';\' AS "from"; COPY "noted"FROM STDIN',
        "SELECT $a$ it's $a$, E'\\''; COPY noted FROM STDIN",
        "-- a comment ends here\rCOPY noted FROM STDIN",
        "SELECT E'a'\n'it\\''; COPY noted FROM STDIN",
        "SELECT E'a' -- goes on\n\n'it\\''; COPY noted FROM STDIN",
        "SELECT U&'\\005C'; COPY U&\"n!006Fted\" UESCAPE '!' FROM STDIN",
    ],
)
def test_copy_from_stdin_is_refused_and_the_session_goes_on(db: Connection, statement: str) -> None:
    with (
        db.cursor() as cursor,
        pytest.raises(errors.FeatureNotSupported, match="COPY FROM STDIN"),
    ):
        cursor.copy_expert(statement, io.StringIO())
    assert rows(db, "SELECT 1") == [(1,)]


def test_copy_from_stdin_is_refused_in_the_extended_protocol(server: EmbeddedDatabase) -> None:
    with dial(server) as sock:
        startup(sock)
        sock.sendall(pipeline(b"COPY noted FROM STDIN"))
        assert until_ready(sock) == [b"1", b"2", b"E", b"Z"]
        sock.sendall(pipeline(b"SELECT 1"))
        assert until_ready(sock) == [b"1", b"2", b"D", b"C", b"Z"]


@pytest.mark.parametrize(
    "literal",
    [
        "'copy noted from stdin'",
        "'; copy noted from stdin'",
        "'it''s; copy noted from stdin'",
        "E'\\'; copy noted from stdin'",
        "E'a'\n'\\'; copy noted from stdin'",
        "$$; copy noted from stdin$$",
        "$a$ $$ ; copy noted from stdin $a$",
        "/* ; copy noted from stdin */ ''",
    ],
)
def test_text_that_mentions_copy_from_stdin_is_stored(db: Connection, literal: str) -> None:
    with db.cursor() as cursor:
        cursor.execute(f"INSERT INTO noted VALUES (1, {literal})")
    assert len(rows(db, "SELECT * FROM noted")) == 1


def test_copy_to_stdout_works(db: Connection) -> None:
    output = io.StringIO()
    with db.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT 'from stdin') TO STDOUT", output)
    assert output.getvalue() == "from stdin\n"


@pytest.mark.parametrize(
    "garbage",
    [
        Random(1).randbytes(200),
        b"\0\0\0\x08",
        struct.pack("!ii", 200, 3 << 16) + b"user\0",
        b"\x7f\xff\xff\xff" + b"x" * 100,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["random", "short", "truncated", "huge", "http"],
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

    assert rows(db, "SELECT 1") == [(1,)]


def test_many_sockets_of_garbage_leave_a_well_behaved_client_alone(
    server: EmbeddedDatabase, db: Connection
) -> None:
    kinds = [b"Q", b"P", b"B", b"D", b"E", b"C", b"H", b"S", b"F", b"X", b"d", b"\xff"]

    def pester(number: int) -> None:
        random = Random(number)
        with dial(server) as sock, contextlib.suppress(OSError):
            if random.random() < 0.8:
                startup(sock)
            for _ in range(5):
                body = random.randbytes(random.randrange(40))
                sock.sendall(message(random.choice(kinds), body))
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65_536):
                pass

    with ThreadPoolExecutor(8) as pool:
        pestering = pool.map(pester, range(200))
        for number in range(100):
            with db.cursor() as cursor:
                cursor.execute("INSERT INTO noted VALUES (1, %s)", (str(number),))
        list(pestering)

    assert rows(db, "SELECT count(*), count(DISTINCT what) FROM noted") == [(100, 100)]


@pytest.fixture(scope="module")
def impatient(
    embedded_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedDatabase]:
    options = ("--wait-timeout", "200", "--idle-timeout", "60000")
    folder = copied(embedded_template, tmp_path_factory.mktemp("impatient"))
    with EmbeddedDatabase(folder, 0, *options) as database:
        yield database


def test_waiting_for_another_transaction_is_bounded(impatient: EmbeddedDatabase) -> None:
    with (
        closing(psycopg2.connect(impatient.url)) as first,
        closing(psycopg2.connect(impatient.url)) as second,
    ):
        second.autocommit = True
        rows(first, "SELECT 1")
        with pytest.raises(errors.TooManyConnections):
            rows(second, "SELECT 2")
        first.rollback()
        assert rows(second, "SELECT 2") == [(2,)]


def test_a_pipeline_that_waited_too_long_is_skipped_up_to_its_sync(
    impatient: EmbeddedDatabase,
) -> None:
    with closing(psycopg2.connect(impatient.url)) as first, dial(impatient) as sock:
        startup(sock)
        rows(first, "SELECT 1")
        sock.sendall(pipeline(b"SELECT 2"))
        assert until_ready(sock) == [b"E", b"Z"]
        first.rollback()
        sock.sendall(pipeline(b"SELECT 2"))
        assert until_ready(sock) == [b"1", b"2", b"D", b"C", b"Z"]


@pytest.fixture(scope="module")
def brisk(
    embedded_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedDatabase]:
    """A server on which a transaction may not idle for long."""
    options = ("--wait-timeout", "60000", "--idle-timeout", "3000")
    folder = copied(embedded_template, tmp_path_factory.mktemp("brisk"))
    with EmbeddedDatabase(folder, 0, *options) as database:
        yield database


@pytest.fixture
def brisk_db(brisk: EmbeddedDatabase) -> Iterator[Connection]:
    yield from session(brisk)


def test_a_transaction_that_idles_is_ended(brisk: EmbeddedDatabase, brisk_db: Connection) -> None:
    with closing(psycopg2.connect(brisk.url)) as idler:
        with idler.cursor() as cursor:
            cursor.execute("INSERT INTO noted VALUES (1, 'idle')")

        assert rows(brisk_db, "SELECT * FROM noted") == []
        with pytest.raises(psycopg2.OperationalError):
            rows(idler, "SELECT 1")


def test_a_client_is_told_that_it_idled(brisk: EmbeddedDatabase, brisk_db: Connection) -> None:
    with dial(brisk) as sock:
        startup(sock)
        sock.sendall(message(b"Q", b"BEGIN\0"))
        assert until_ready(sock) == [b"C", b"Z"]
        with sock.makefile("rb") as stream:
            assert b"C25P03\0" in stream.read()

    assert rows(brisk_db, "SELECT 1") == [(1,)]


def test_a_client_that_reads_no_answers_does_not_keep_the_database(
    brisk: EmbeddedDatabase, brisk_db: Connection
) -> None:
    with dial(brisk) as sock:
        startup(sock)
        # More than the buffers of both sockets take.
        flood = b"BEGIN; INSERT INTO noted VALUES (1, 'idle'); SELECT repeat('x', 30000000)\0"
        sock.sendall(message(b"Q", flood))
        assert sock.recv(1) == b"C"

        assert rows(brisk_db, "SELECT * FROM noted") == []
