"""ops/nginx/fleetwatt.conf in a real nginx on this machine."""

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.native.server import free_port

CONFIG = Path(__file__).parents[2] / "ops" / "nginx" / "fleetwatt.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
OPENSSL = shutil.which("openssl")

needed = pytest.mark.skipif(
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


def written(folder: Path, *upstreams: str) -> tuple[Path, int, int]:
    """Write the configuration with the names, ports and paths of this machine."""
    tls, plain = free_port(), free_port()
    text = CONFIG.read_text()
    for pattern, instead in (
        (
            r"( *server )127\.0\.0\.1:8000(.*\n)",
            "".join(rf"\g<1>{upstream}\g<2>" for upstream in upstreams),
        ),
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


def certify(folder: Path) -> None:
    """Put a certificate for localhost into a folder."""
    folder.chmod(0o755)
    assert OPENSSL is not None
    command = f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += " -keyout fleetwatt.key -out fleetwatt.pem -addext subjectAltName=DNS:localhost"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


@contextmanager
def running(folder: Path, *upstreams: str) -> Iterator[Proxy]:
    """Run nginx in front of some addresses, with the certificate that the folder holds."""
    file, tls, plain = written(folder, *upstreams)
    assert NGINX is not None
    # As one process in the foreground and without another user, so that it may write to the folder.
    process = subprocess.Popen(
        [NGINX, "-e", folder / "error.log", "-c", file, "-g", "master_process off;"]
    )
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", tls), 5):
                break
            time.sleep(0.05)
        trust = ssl.create_default_context(cafile=str(folder / "fleetwatt.pem"))
        url = f"https://localhost:{tls}"
        yield Proxy(url, tls, f"http://127.0.0.1:{plain}", trust, folder / "fleetwatt.log")
    finally:
        process.terminate()
        process.wait(30)
