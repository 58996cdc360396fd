"""`fleetwatt db upgrade` beside others, and on databases that are not what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from fleetwatt.config import Config
from fleetwatt.database.errors import Busy, UnsupportedServer
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import migrations, turns
from tests.native.server import NativeServer

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)
AT_ONCE = 3


@pytest.fixture(scope="module")
def server() -> Iterator[NativeServer]:
    with NativeServer({"shared_buffers": "64MB"}) as server:
        yield server


def database(server: NativeServer, name: str, options: str = "") -> str:
    """Create a database and return its URL."""
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
    return re.sub("/postgres$", f"/{name}", server.url)


def test_several_upgrades_of_a_fresh_database_at_once_all_end_well(server: NativeServer) -> None:
    url = database(server, "fresh")
    command = [sys.executable, "-m", "fleetwatt", "db", "upgrade"]
    environment = os.environ | {"FLEETWATT_DATABASE_URL": url}

    upgrades = [
        subprocess.Popen(command, env=environment, stdout=-1, stderr=-2, text=True)
        for _ in range(AT_ONCE)
    ]
    said = [upgrade.communicate()[0] for upgrade in upgrades]

    assert [upgrade.returncode for upgrade in upgrades] == [0] * AT_ONCE, said
    with closing(connect(Config(database_url=url))) as connection:
        migrations.check(connection)


def test_an_upgrade_says_who_holds_the_lock_that_it_waits_for(
    server: NativeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database(server, "held")
    monkeypatch.setattr(turns, "PATIENCE", "200ms")
    with (
        closing(psycopg2.connect(url, application_name="forgotten")) as holder,
        closing(connect(Config(database_url=url))) as upgrading,
    ):
        holder.cursor().execute(turns._LOCK)

        with pytest.raises(Busy) as refused:
            list(migrations.upgrade(upgrading))

        assert f"process {holder.info.backend_pid} of the role postgres (forgotten)" in str(
            refused.value
        )
        holder.rollback()
        assert "migrations" in "".join(migrations.upgrade(upgrading))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_can_not_hold_every_name_is_refused(
    server: NativeServer, encoding: str
) -> None:
    url = database(server, encoding.lower(), f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")

    with (
        closing(connect(Config(database_url=url))) as connection,
        pytest.raises(UnsupportedServer, match=f"encoding is {encoding}; fleetwatt needs UTF8"),
    ):
        list(migrations.upgrade(connection))
