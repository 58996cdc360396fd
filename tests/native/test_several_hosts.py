"""A database of several hosts: writes follow the primary, and get 503 until there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from tests.conftest import rows
from tests.examples import ago, meter
from tests.native.faults import prepare
from tests.native.replica import NativeReplica
from tests.native.server import NativeServer
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    os.environ.get("FLEETWATT_NATIVE") != "1", reason="needs FLEETWATT_NATIVE=1"
)
POOL_SIZE = 4


@pytest.fixture
def primary() -> Iterator[NativeServer]:
    with NativeServer({"shared_buffers": "64MB"}) as server:
        prepare(server)
        yield server


@pytest.fixture
def standby(primary: NativeServer) -> Iterator[NativeReplica]:
    with NativeReplica(primary) as replica:
        yield replica


@pytest.fixture
def url(primary: NativeServer, standby: NativeReplica) -> str:
    """Names the standby first, so that it is passed over."""
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    own = primary.url.replace(f"127.0.0.1:{primary.port}", hosts)
    return f"{own}?target_session_attrs=read-write"


@pytest.fixture
def client(url: str) -> Iterator[FlaskClient]:
    app = create_app(Config(database_url=url, pool_size=POOL_SIZE))
    yield app.test_client()
    app.extensions["fleetwatt"].close()


def post(client: FlaskClient, minutes: int) -> int:
    return client.post("/v1/ingestion", json=meter(timestamp=ago(minutes=minutes))).status_code


def serving(client: FlaskClient) -> str | None:
    answer = client.get("/readyz")
    return answer.json["database"]["server"] if answer.status_code == 200 and answer.json else None


def promote(standby: NativeReplica) -> None:
    with closing(connect(Config(database_url=standby.url))) as there:
        eventually(
            lambda: (
                rows(there, "SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()")
                == [(True,)]
            ),
            "the standby does not catch up",
        )
        rows(there, "SELECT pg_promote()")


def caught_up(primary: NativeServer) -> bool:
    with closing(connect(Config(database_url=primary.url))) as connection:
        return rows(
            connection, "SELECT replay_lsn = pg_current_wal_lsn() FROM pg_stat_replication"
        ) == [(True,)]


def test_writes_go_to_the_primary_and_follow_it_when_it_is_killed_and_the_standby_promoted(
    client: FlaskClient, primary: NativeServer, standby: NativeReplica
) -> None:
    assert post(client, minutes=3) == 201
    assert serving(client) == f"127.0.0.1:{primary.port}"
    eventually(lambda: caught_up(primary), "the standby lacks the reading")

    primary.kill9()

    response = client.post("/v1/ingestion", json=meter(timestamp=ago(minutes=2)))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert client.get("/readyz").status_code == 503

    promote(standby)

    # No restart of the service, and the first request is served.
    assert post(client, minutes=2) == 201
    assert post(client, minutes=3) == 200
    assert serving(client) == f"127.0.0.1:{standby.port}"


def test_a_write_that_finds_its_server_demoted_is_stored_by_the_new_primary_at_once(
    client: FlaskClient, primary: NativeServer, standby: NativeReplica
) -> None:
    """The sessions live on, as with a primary that was only told to take no writes."""
    assert post(client, minutes=3) == 201
    eventually(lambda: caught_up(primary), "the standby lacks the reading")
    with closing(connect(Config(database_url=primary.url))) as old:
        rows(old, "SELECT 1")
        old.cursor().execute("ALTER SYSTEM SET default_transaction_read_only = on")
        rows(old, "SELECT pg_reload_conf()")
        eventually(
            lambda: rows(old, "SHOW default_transaction_read_only") == [("on",)], "it is not set"
        )
    promote(standby)

    assert post(client, minutes=2) == 201
    assert serving(client) == f"127.0.0.1:{standby.port}"
    with closing(connect(Config(database_url=standby.url))) as new:
        assert rows(new, "SELECT count(*) FROM meter_telemetry") == [(2,)]


@pytest.mark.parametrize("command", ["doctor", "db upgrade", "db status", "keys list"])
def test_commands_find_the_primary_too(url: str, command: str) -> None:
    done = CliRunner().invoke(
        fleetwatt, command.split(), env={"FLEETWATT_DATABASE_URL": url}, catch_exceptions=False
    )

    assert done.exit_code == 0, done.output


def test_a_replica_of_several_hosts_is_whichever_is_a_standby(
    url: str, standby: NativeReplica
) -> None:
    of_standbys = url.replace("read-write", "standby")
    app = create_app(Config(database_url=url, replica_url=of_standbys, pool_size=2))
    client = app.test_client()

    def found() -> bool:
        client.get("/v1/analytics/fleet?hours=1")
        answer = client.get("/readyz").json
        return bool(answer and answer["replica"]["status"] == "ok")

    eventually(found, "the replica is not found")
    with closing(connect(Config(database_url=standby.url))) as there:
        [(count,)] = rows(
            there,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fleetwatt' "
            "AND pid <> pg_backend_pid()",
        )
        assert count > 0
    app.extensions["fleetwatt"].close()
