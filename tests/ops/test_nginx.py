"""ops/nginx/fleetwatt.conf in a real nginx, in front of a real gunicorn."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import serving
from tests.examples import meter, vehicle

CONFIG = Path(__file__).parents[2] / "ops" / "nginx" / "fleetwatt.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(
    not (NGINX and OPENSSL), reason="needs nginx and openssl (Debian's packages)"
)


@dataclass
class Proxy:
    url: str
    port: int
    plain: str
    trust: ssl.SSLContext
    log: Path

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
        """Return the status, the headers and the JSON of an answer."""
        sent = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        request = urllib.request.Request(self.url + path, body, sent)
        try:
            answer = urllib.request.urlopen(request, timeout=60, context=self.trust)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers, json.load(answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def written(folder: Path, upstream: str) -> tuple[Path, int, int]:
    """Write the configuration with the names, ports and paths of this machine."""
    tls, plain = free_port(), free_port()
    text = CONFIG.read_text()
    for pattern, instead in (
        (r"server 127\.0\.0\.1:8000", f"server {upstream}"),
        (r"    listen \[::\]:.*\n", ""),
        (r"listen 443", f"listen 127.0.0.1:{tls}"),
        (r"listen 80", f"listen 127.0.0.1:{plain}"),
        (r"server_name .*;", "server_name localhost;"),
        (r"/etc/ssl/(certs|private)", str(folder)),
        (r"/var/log/nginx", str(folder)),
    ):
        text, found = re.subn(pattern, instead, text)
        assert found, pattern
    (folder / "fleetwatt.conf").write_text(text)
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off; worker_processes 1;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n"
        f"include {folder}/fleetwatt.conf;\n}}\n"
    )
    return file, tls, plain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    assert OPENSSL is not None
    command = f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += " -keyout fleetwatt.key -out fleetwatt.pem -addext subjectAltName=DNS:localhost"
    subprocess.run(
        command.split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


def started(folder: Path, upstream: str) -> tuple[subprocess.Popen[bytes], Proxy]:
    file, tls, plain = written(folder, upstream)
    assert NGINX is not None
    # As one process in the foreground and without another user, so that it may write to the folder.
    process = subprocess.Popen(
        [NGINX, "-e", folder / "error.log", "-c", file, "-g", "master_process off;"]
    )
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", tls), 5):
            break
        time.sleep(0.05)
    trust = ssl.create_default_context(cafile=str(folder / "fleetwatt.pem"))
    url = f"https://localhost:{tls}"
    return process, Proxy(url, tls, f"http://127.0.0.1:{plain}", trust, folder / "fleetwatt.log")


@pytest.fixture
def proxy(folder: Path, database_url: str, tmp_path: Path) -> Iterator[Proxy]:
    with serving(database_url, 1, tmp_path / "log") as url:
        process, proxy = started(folder, url.removeprefix("http://"))
        yield proxy
        process.terminate()
        process.wait(30)


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
    deadline = time.monotonic() + 30
    while given not in proxy.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    logged = {each["request_id"] for each in map(json.loads, proxy.log.read_text().splitlines())}
    assert {"abc-1", given} <= logged


def test_a_body_over_the_limit_is_a_problem(proxy: Proxy) -> None:
    status, headers, answer = proxy.ask("/v1/ingestion", b" " * 10_000_001)

    assert status == answer["status"] == 413
    assert headers["Content-Type"] == "application/problem+json"
    assert answer["type"] == "urn:fleetwatt:problem:too-large"


def test_a_body_of_just_the_limit_reaches_fleetwatt(proxy: Proxy) -> None:
    reading = json.dumps(meter()).encode()

    status, _, answer = proxy.ask("/v1/ingestion", reading.ljust(10_000_000))

    assert (status, answer["accepted"]) == (201, 1)


def test_metrics_are_not_for_everybody(proxy: Proxy) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{proxy.url}/metrics", timeout=60, context=proxy.trust)


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
    process, proxy = started(folder, f"127.0.0.1:{free_port()}")
    try:
        status, headers, answer = proxy.ask("/v1/ingestion", b"{}")
    finally:
        process.terminate()
        process.wait(30)

    assert status == answer["status"] == 503
    assert headers["Retry-After"] == "5"
