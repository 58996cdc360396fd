"""What ops/nginx/fleetwatt.conf does in front of a real gunicorn."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import serving
from tests.examples import meter, vehicle
from tests.native.server import free_port
from tests.ops.nginx import NGINX, Proxy, certify, needed, running, written
from tests.waiting import eventually

pytestmark = needed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nginx")
    certify(folder)
    return folder


@pytest.fixture
def proxy(folder: Path, database_url: str, tmp_path: Path) -> Iterator[Proxy]:
    with (
        serving(database_url, 1, tmp_path / "log") as url,
        running(folder, url.removeprefix("http://")) as proxy,
    ):
        yield proxy


def test_nginx_accepts_the_configuration(folder: Path) -> None:
    file, _, _ = written(folder, "127.0.0.1:8000")
    assert NGINX is not None
    done = subprocess.run(
        [NGINX, "-t", "-e", folder / "error.log", "-c", file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_readings_go_in_and_a_status_comes_out_over_tls(proxy: Proxy) -> None:
    status, _, answer = proxy.ask("/v1/ingestion", json.dumps([meter(), vehicle()]).encode())
    assert (status, answer["accepted"]) == (201, 2)

    status, headers, answer = proxy.ask("/v1/status/meters/M-123")
    assert (status, answer["voltage"]) == (200, 230)
    assert "max-age" in headers["Strict-Transport-Security"]


def test_a_request_keeps_its_id_all_the_way(proxy: Proxy) -> None:
    _, headers, _ = proxy.ask("/healthz", X_Request_Id="abc-1")
    assert headers["X-Request-Id"] == "abc-1"

    _, headers, _ = proxy.ask("/healthz")
    given = headers["X-Request-Id"]
    eventually(lambda: given in proxy.log.read_text(), "it is not logged")
    logged = {line["request_id"] for line in map(json.loads, proxy.log.read_text().splitlines())}
    assert {"abc-1", given} <= logged


def test_a_body_over_the_limit_is_a_problem(proxy: Proxy) -> None:
    status, headers, answer = proxy.ask("/v1/ingestion", b" " * 10_000_001)

    assert status == answer["status"] == 413
    assert headers["Content-Type"] == "application/problem+json"
    assert answer["type"] == "urn:fleetwatt:problem:too-large"


def test_an_address_with_too_many_requests_under_way_is_told_by_a_problem(proxy: Proxy) -> None:
    slow = b"POST /v1/ingestion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    with ExitStack() as under_way:
        for _ in range(100):
            plain = under_way.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 30))
            secure = under_way.enter_context(
                proxy.trust.wrap_socket(plain, server_hostname="localhost")
            )
            secure.sendall(slow)
        eventually(lambda: proxy.ask("/healthz")[0] == 429, "nobody is refused")
        status, headers, answer = proxy.ask("/healthz")

    assert status == answer["status"] == 429
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Retry-After"] == "1"
    assert "max-age" in headers["Strict-Transport-Security"]
    assert answer["type"] == "urn:fleetwatt:problem:rate-limited"


def test_a_body_of_just_the_limit_reaches_fleetwatt(proxy: Proxy) -> None:
    reading = json.dumps(meter()).encode()

    status, _, answer = proxy.ask("/v1/ingestion", reading.ljust(10_000_000))

    assert (status, answer["accepted"]) == (201, 1)


def test_metrics_are_not_for_everybody(proxy: Proxy) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(f"{proxy.url}/metrics", timeout=60, context=proxy.trust)

    refused.value.close()


def test_http_is_sent_to_https(proxy: Proxy) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            urllib.request.Request(f"{proxy.plain}/v1/ingestion", b"{}"), timeout=60
        )

    refused.value.close()
    assert refused.value.status == 308
    assert refused.value.headers["Location"] == "https://127.0.0.1/v1/ingestion"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_speak_http_2(proxy: Proxy, version: ssl.TLSVersion) -> None:
    proxy.trust.minimum_version = proxy.trust.maximum_version = version
    proxy.trust.set_alpn_protocols(["h2", "http/1.1"])

    with (
        socket.create_connection(("127.0.0.1", proxy.port), 30) as plain,
        proxy.trust.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.version() == version.name.replace("TLSv1_", "TLSv1.")
        assert secure.selected_alpn_protocol() == "h2"


def test_without_fleetwatt_a_device_is_told_to_try_again(folder: Path) -> None:
    with running(folder, f"127.0.0.1:{free_port()}") as proxy:
        status, headers, answer = proxy.ask("/v1/ingestion", b"{}")

    assert status == answer["status"] == 503
    assert headers["Retry-After"] == "5"
    assert "max-age" in headers["Strict-Transport-Security"]
