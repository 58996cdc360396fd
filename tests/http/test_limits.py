"""Limits by key and by address, counted in the process or in Redis."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from limits import parse

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.http import limits
from fleetwatt.http.addresses import client_of
from fleetwatt.http.limits import Limits, ProcessMemory
from fleetwatt.http.problems import RateLimited
from fleetwatt.security import keys
from tests.native.server import free_port

Serve = Callable[..., FlaskClient]
ALL_ELSE_OFF = {"key_limit": "", "address_limit": "", "failure_limit": ""}


@pytest.fixture
def serve(config: Config) -> Iterator[Serve]:
    """Starts an app with these limits and no others."""
    apps = []

    def started(**settings: Any) -> FlaskClient:
        app = create_app(replace(config, auth="required", **(ALL_ELSE_OFF | settings)))
        apps.append(app)
        return app.test_client()

    yield started
    for app in apps:
        app.extensions["fleetwatt"].close()


def key_for(client: FlaskClient, scope: str = "read") -> dict[str, str]:
    prefix, whole, hashed = keys.generate()
    client.application.extensions["fleetwatt"].query_one(
        "create_key",
        prefix=prefix,
        hash=hashed,
        name="",
        scopes=[scope],
        devices=None,
        lifetime=None,
    )
    return {"Authorization": f"Bearer {whole}"}


def test_a_key_past_its_limit_is_429_which_names_the_limit_and_when_to_try_again(
    serve: Serve,
) -> None:
    client = serve(key_limit="2/day")
    key = key_for(client)
    assert [client.get("/v1/mappings", headers=key).status_code for _ in range(2)] == [200, 200]

    response = client.get("/v1/mappings", headers=key)

    assert response.status_code == 429
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:rate-limited"
    assert "key limit of 2 requests a day" in response.json["detail"]
    assert 0 < int(response.headers["Retry-After"]) <= 86_400
    assert client.get("/v1/mappings", headers=key_for(client)).status_code == 200


def test_an_address_past_its_limit_is_429_whatever_its_keys(serve: Serve) -> None:
    client = serve(address_limit="2/day")
    first, second = key_for(client), key_for(client)

    statuses = [client.get("/v1/mappings", headers=key).status_code for key in (first, second)]
    assert statuses == [200, 200]
    response = client.get("/v1/mappings", headers=key_for(client))
    assert response.status_code == 429
    assert "address limit" in response.text
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    assert client.get("/v1/mappings", headers=first, environ_base=elsewhere).status_code == 200


def test_behind_a_proxy_the_address_is_the_clients(serve: Serve) -> None:
    client = serve(address_limit="1/day", proxies=1)
    key = key_for(client)

    def status(forwarded: str) -> int:
        headers = key | {"X-Forwarded-For": forwarded}
        return client.get("/v1/mappings", headers=headers).status_code

    assert [status("192.0.2.1"), status("192.0.2.2"), status("192.0.2.1")] == [200, 200, 429]
    # What a client writes into the header itself stands before what the proxy appends.
    assert status("192.0.2.99, 192.0.2.1") == 429


def test_without_a_proxy_the_header_is_not_believed(serve: Serve) -> None:
    client = serve(address_limit="1/day")
    key = key_for(client)

    statuses = [
        client.get("/v1/mappings", headers=key | {"X-Forwarded-For": f"192.0.2.{n}"}).status_code
        for n in (1, 2)
    ]
    assert statuses == [200, 429]


def test_who_guesses_keys_is_stopped_before_each_guess_costs_a_query(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(failure_limit="2/day")
    known = key_for(client)
    assert client.get("/v1/mappings", headers=known).status_code == 200
    database = client.application.extensions["fleetwatt"]
    asked: list[str] = []
    one = database.query_one

    def spied(query: str, **parameters: Any) -> Any:
        asked.append(query)
        return one(query, **parameters)

    monkeypatch.setattr(database, "query_one", spied)

    def guess() -> int:
        headers = {"Authorization": f"Bearer {keys.generate()[1]}"}
        return client.get("/v1/mappings", headers=headers).status_code

    assert [guess() for _ in range(4)] == [401, 401, 429, 429]
    assert asked.count("key") == 2
    # A neighbour behind the same address, whose key this process knows, is let in.
    assert client.get("/v1/mappings", headers=known).status_code == 200


def test_who_sends_no_key_is_stopped_too(serve: Serve) -> None:
    client = serve(failure_limit="1/day")

    assert [client.get("/v1/mappings").status_code for _ in range(2)] == [401, 429]


def test_who_sends_no_key_or_junk_locks_nobody_else_out(serve: Serve) -> None:
    client = serve(failure_limit="1/day")
    known = key_for(client)
    junk = {"Authorization": known["Authorization"][:-1] + "x"}
    statuses = [client.get("/v1/mappings", headers=headers).status_code for headers in (None, junk)]
    assert statuses == [401, 429]

    # A key that this process has never seen before.
    assert client.get("/v1/mappings", headers=key_for(client)).status_code == 200


def test_a_known_key_is_looked_up_again_although_its_neighbours_guess(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(failure_limit="1/day")
    known = key_for(client)
    assert client.get("/v1/mappings", headers=known).status_code == 200
    guesses = [{"Authorization": f"Bearer {keys.generate()[1]}"} for _ in range(3)]
    statuses = [client.get("/v1/mappings", headers=guess).status_code for guess in guesses]
    assert statuses == [401, 429, 429]

    # Some key changes: what the process remembers of keys is thrown away.
    key_for(client)
    later = time.monotonic() + keys.KEPT
    monkeypatch.setattr("fleetwatt.security.keys.monotonic", lambda: later)

    assert client.get("/v1/mappings", headers=known).status_code == 200


def test_junk_costs_no_query(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(failure_limit="9/day")
    whole = keys.generate()[1]
    forged = whole[:-1] + ("0" if whole[-1] != "0" else "1")
    asked: list[str] = []
    monkeypatch.setattr(
        client.application.extensions["fleetwatt"],
        "query_one",
        lambda query, **_: asked.append(query),
    )

    response = client.get("/v1/mappings", headers={"Authorization": f"Bearer {forged}"})

    assert response.status_code == 401
    assert asked == []


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        (None, ""),
        ("a socket", "a socket"),
    ],
)
def test_an_ipv6_client_counts_by_its_network(address: str | None, client: str) -> None:
    assert client_of(address) == client


def test_by_default_a_gateway_can_flush_hours_of_backlog_at_once() -> None:
    devices, hours, batch = 1_000, 12, 1_000
    limit = parse(Config().key_limit)

    assert devices * hours * 60 / batch < limit.amount
    assert limit.GRANULARITY.name == "minute"


def test_with_keys_off_nothing_is_limited(config: Config) -> None:
    app = create_app(replace(config, key_limit="1/day", address_limit="1/day"))
    client = app.test_client()

    assert [client.get("/v1/mappings").status_code for _ in range(3)] == [200, 200, 200]
    app.extensions["fleetwatt"].close()


def test_a_window_that_has_ended_counts_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = ProcessMemory()
    assert [memory.incr("a", 60), memory.incr("a", 60)] == [1, 2]

    later = time.time() + 61
    monkeypatch.setattr("fleetwatt.http.limits.time.time", lambda: later)

    assert memory.get("a") == 0
    assert memory.incr("a", 60) == 1


def test_counts_whose_window_has_ended_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = ProcessMemory()
    for number in range(limits.SWEPT_FROM):
        memory.incr(f"old {number}", 60)

    later = time.time() + 61
    monkeypatch.setattr("fleetwatt.http.limits.time.time", lambda: later)
    memory.incr("new", 60)

    assert memory.reset() == 1


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis, from Debian's package, which root installs where it is missing."""
    if not shutil.which("redis-server"):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip("redis-server is not installed, and only root on Debian can install it")
        install = ["apt-get", "-qy", "--no-install-recommends", "install", "redis-server"]
        if subprocess.run(install, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=True)
            subprocess.run(install, capture_output=True, check=True)
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(
        [*command, "--dir", str(folder)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}"
    server.terminate()
    server.wait(60)


def refused(counter: Limits, who: str) -> bool:
    try:
        counter.count("key", who)
    except RateLimited:
        return True
    return False


def test_hosts_that_share_a_redis_count_together(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORAGE_TIMEOUT", 60)
    config = Config(limits_storage=redis_server, key_limit="3/day")
    one, other = Limits(config), Limits(config)

    answers = [refused(app, "fw_shared") for app in (one, other, one, other, one)]

    assert answers == [False, False, False, True, True]


def test_without_redis_each_process_counts_for_itself() -> None:
    config = Config(key_limit="1/day")

    assert [refused(Limits(config), "fw_1") for _ in range(3)] == [False, False, False]


def test_while_redis_is_away_the_process_counts_and_nobody_is_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = Config(limits_storage="redis://:hush@127.0.0.1:1", key_limit="2/day")
    counter = Limits(config)

    answers = [refused(counter, "fw_1") for _ in range(3)]

    assert answers == [False, False, True]
    assert caplog.text.count("their storage is away") == 1
    assert "hush" not in caplog.text
