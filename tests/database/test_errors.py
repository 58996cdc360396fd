"""What callers are told of the database's errors."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.database.errors import (
    Busy,
    DatabaseError,
    NotAllowed,
    SchemaBehind,
    Unavailable,
    translated,
)


@pytest.mark.parametrize(("code", "error"), [("57014", Busy), ("42501", NotAllowed)])
def test_an_error_says_what_happened_and_not_in_which_statement(
    sql: Connection, code: str, error: type[DatabaseError]
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'this   far' USING ERRCODE = '{code}'; END $$"

    with pytest.raises(error) as raised, translated(), sql.cursor() as cursor:
        cursor.execute(raising)

    assert str(raised.value) == "this far"


def test_a_function_that_another_release_has_is_a_schema_that_is_behind(sql: Connection) -> None:
    with pytest.raises(SchemaBehind) as raised, translated(), sql.cursor() as cursor:
        cursor.execute("SELECT oldest_accepted('of', 'the next release')")

    assert "does not exist: run `fleetwatt db upgrade`" in str(raised.value)


def test_a_table_that_is_not_restored_yet_is_a_schema_that_is_behind(sql: Connection) -> None:
    with pytest.raises(SchemaBehind), translated(), sql.cursor() as cursor:
        cursor.execute("SELECT FROM meters_of_tomorrow")


def test_a_database_that_answers_no_connection_is_not_tried_twice() -> None:
    """Nobody waits longer than FLEETWATT_CONNECT_TIMEOUT says."""
    asked: list[str] = []

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                connection, (host, _) = listener.accept()
                connection.close()
                asked.append(host)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=hang_up)
        thread.start()
        port = listener.getsockname()[1]
        url = f"postgresql://127.0.0.1:{port}/fleet?sslmode=disable&gssencmode=disable"
        database = Database(Config(database_url=url))
        with pytest.raises(Unavailable):
            database.query_one("takes_writes")
        database.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()

    assert len(asked) == 1
