"""gunicorn as it is set up here, and clients that are slow or send what is no request."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import flask_swagger_ui
import pytest

from tests.conftest import serving
from tests.examples import meter
from tests.waiting import eventually

OTHER_ADDRESS = "127.0.0.2"
THREADS = 2
PATIENCE = 60.0  # seconds; generous, since no test is about how fast a machine is
BODY = json.dumps(meter()).encode()
JSON = {"Content-Type": "application/json"}
HEAD = (
    b"POST /v1/ingestion/meter HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
)


@pytest.fixture(scope="module")
def server(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """A worker with two threads whose requests have to arrive within a second."""
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    yield from addresses(database_url, log, FLEETWATT_READ_TIMEOUT="1")


@pytest.fixture(scope="module")
def unhurried(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """A worker with two threads that gives requests all the time a slow machine may take."""
    yield from addresses(database_url, tmp_path_factory.mktemp("gunicorn") / "log")


def addresses(database_url: str, log: Path, **settings: str) -> Iterator[tuple[str, int]]:
    with serving(database_url, 1, log, FLEETWATT_THREADS=str(THREADS), **settings) as url:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        yield parts.hostname, parts.port


def connect(server: tuple[str, int]) -> socket.socket:
    return socket.create_connection(server, PATIENCE)


def everything(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes the connection."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


def is_served(server: tuple[str, int], address: str = "127.0.0.1") -> bool:
    """Whether a client of this address gets an answer."""
    client = http.client.HTTPConnection(*server, timeout=PATIENCE, source_address=(address, 0))
    client.request("GET", "/healthz")
    with closing(client):
        return client.getresponse().status == 200


def test_clients_that_stop_within_the_body_free_their_threads_and_are_told(
    server: tuple[str, int],
) -> None:
    slow = [connect(server) for _ in range(2 * THREADS)]
    for client in slow:
        client.sendall(HEAD + BODY[:10])

    assert is_served(server)
    for client in slow:
        with closing(client):
            answer = everything(client)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"urn:fleetwatt:problem:cut-short" in answer


def test_clients_that_stop_within_the_head_free_their_threads(server: tuple[str, int]) -> None:
    slow = [connect(server) for _ in range(2 * THREADS)]
    for client in slow:
        client.sendall(HEAD[:20])

    assert is_served(server)
    for client in slow:
        with closing(client):
            assert b"HTTP/1.1 2" not in everything(client)


@pytest.mark.parametrize("start", [HEAD + BODY[:10], HEAD[:-2] + b"X-Slow: "])
def test_a_client_that_sends_a_byte_now_and_then_is_cut_off_all_the_same(
    server: tuple[str, int], start: bytes
) -> None:
    with closing(connect(server)) as slow:
        slow.sendall(start)
        slow.settimeout(0.1)
        answer = None
        for _ in range(round(PATIENCE / 0.1)):
            try:
                slow.sendall(b" ")
                answer = slow.recv(65_536)
                break
            except TimeoutError:
                continue
            except ConnectionError:
                answer = b""
                break

    assert answer is not None
    assert not answer.startswith(b"HTTP/1.1 2")


def test_clients_that_do_not_take_their_answers_free_their_threads(
    server: tuple[str, int],
) -> None:
    request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    slow = [connect(server) for _ in range(THREADS)]
    for client in slow:
        client.sendall(20 * request)

    for client in slow:
        with closing(client):
            assert is_cut(client)
    assert is_served(server)


def is_cut(connection: socket.socket) -> bool:
    """Whether the other side gives a connection up before patience ends; nothing is read."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            connection.sendall(b" ")
        except ConnectionError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def whole(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A worker as it serves by default."""
    with serving(database_url, 1, tmp_path_factory.mktemp("gunicorn") / "log") as url:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        yield parts.hostname, parts.port


def test_clients_that_pipeline_unread_and_silent_ones_keep_nobody_from_being_served(
    whole: tuple[str, int],
) -> None:
    request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(closing(connect(whole)))
        for _ in range(140):
            client = stack.enter_context(closing(connect(whole)))
            with suppress(ConnectionError):  # it made room already
                client.sendall(20 * request)

        # The bound on their own address closes new connections while all that it has are busy.
        assert is_served(whole, OTHER_ADDRESS)
        assert is_served(whole, OTHER_ADDRESS)


def test_a_client_that_waits_after_its_last_answer_keeps_nobody_from_being_served(
    whole: tuple[str, int],
) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(closing(connect(whole)))
            client.sendall(b"NONSENSE\r\n\r\n")

        assert is_served(whole)


def test_a_connection_that_asks_for_nothing_is_closed(whole: tuple[str, int]) -> None:
    with closing(connect(whole)) as silent:
        assert everything(silent) == b""


def test_one_connection_more_than_an_address_may_have_closes_a_silent_one(
    few: tuple[str, int],
) -> None:
    def answers(client: http.client.HTTPConnection) -> bool:
        try:
            client.request("GET", "/healthz")
            answer = client.getresponse()
            answer.read()
        except (ConnectionError, http.client.HTTPException):
            return False
        return answer.status == 200

    kept = [http.client.HTTPConnection(*few, timeout=PATIENCE) for _ in range(3)]
    assert all(map(answers, kept))
    # A connection is silent from a moment after its answer on: until then there is no room.
    eventually(lambda: is_served(few), "nothing makes room")

    assert sum(map(answers, kept)) == 2
    for client in kept:
        client.close()


@pytest.fixture
def few(database_url: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A worker that keeps three connections of an address."""
    yield from addresses(database_url, tmp_path / "log", FLEETWATT_ADDRESS_CONNECTIONS="3")


def _answered(log: Path) -> int:
    return log.read_text().count("/openapi.json")


def test_a_request_is_served_once_the_answer_before_was_taken(
    database_url: str, tmp_path: Path
) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with serving(database_url, 1, tmp_path / "log", FLEETWATT_LOG_REQUESTS="1000") as url:
        parts = urlsplit(url)
        answered = partial(_answered, tmp_path / "log")
        with closing(socket.socket()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.settimeout(PATIENCE)
            client.connect((parts.hostname, parts.port))
            client.sendall(4 * request + last)
            eventually(lambda: answered() == 1, "the first request is not answered")
            for _ in range(5):
                assert is_served((str(parts.hostname), int(parts.port or 0)))

            assert answered() == 1
            assert everything(client).count(b"HTTP/1.1 200") == 5


def test_a_request_that_arrives_in_parts_but_in_time_is_served(server: tuple[str, int]) -> None:
    with closing(connect(server)) as patient:
        patient.sendall(HEAD[:30])
        patient.sendall(HEAD[30:] + BODY[:5])
        patient.sendall(BODY[5:])

        assert patient.recv(65_536).startswith(b"HTTP/1.1 201")


def test_a_connection_serves_more_than_one_request(unhurried: tuple[str, int]) -> None:
    client = http.client.HTTPConnection(*unhurried, timeout=PATIENCE)
    with closing(client):
        client.connect()
        first = client.sock
        for _ in range(3):
            client.request("GET", "/healthz")
            client.getresponse().read()
            assert client.sock is first


def test_the_server_says_its_name_and_no_version(server: tuple[str, int]) -> None:
    client = http.client.HTTPConnection(*server, timeout=PATIENCE)
    with closing(client):
        client.request("GET", "/healthz")
        assert client.getresponse().headers["Server"] == "fleetwatt"


def test_an_address_that_another_server_has_is_refused(
    server: tuple[str, int], database_url: str
) -> None:
    environment = {"FLEETWATT_DATABASE_URL": database_url, "FLEETWATT_PORT": str(server[1])}

    second = subprocess.run(
        [str(Path(sys.executable).with_name("gunicorn")), "wsgi:app"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert second.returncode != 0
    assert f"Connection in use: ('127.0.0.1', {server[1]})" in second.stderr


def assert_problem(answer: bytes, status: bytes) -> None:
    head, body = answer.split(b"\r\n\r\n")
    assert head.split(b" ")[1] == status
    assert b"\r\nContent-Type: application/problem+json" in head
    problem = json.loads(body)
    assert problem["status"] == int(status)
    assert problem["type"].startswith("urn:fleetwatt:problem:")
    assert problem["detail"]


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: 1\r\n" * 70 + b"\r\n", b"431"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 9_000 + b"\r\n\r\n", b"431"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", b"400"),
    ],
    ids=["a long path", "many fields", "a long field", "nonsense", "two lengths"],
)
def test_a_head_beyond_all_measure_is_refused(
    server: tuple[str, int], request_head: bytes, status: bytes
) -> None:
    with closing(connect(server)) as client:
        client.sendall(request_head)

        answer = everything(client)
        assert_problem(answer, status)


@pytest.mark.parametrize("path", [b"/v1/ingestion/meter", b"/v1/ingestion/mapping"])
@pytest.mark.parametrize("body", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}zz0\r\n\r\n", b"-1\r\n\r\n"])
def test_a_body_in_chunks_that_are_none_is_refused(
    server: tuple[str, int], path: bytes, body: bytes
) -> None:
    with closing(connect(server)) as client:
        client.sendall(
            b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + body
        )

        assert_problem(everything(client), b"400")


def test_a_mapping_that_did_not_arrive_whole_is_not_stored(server: tuple[str, int]) -> None:
    mapping = b'{"vehicleId":"V-cut","meterId":"M-cut"}'
    with closing(connect(server)) as client:
        client.sendall(
            b"POST /v1/ingestion/mapping HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n" + mapping
        )
        client.shutdown(socket.SHUT_WR)

        assert_problem(everything(client), b"408")


def test_a_body_in_chunks_that_ends_too_early_is_refused(server: tuple[str, int]) -> None:
    with closing(connect(server)) as client:
        client.sendall(
            HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
        )
        client.sendall(b"%x\r\n%b" % (len(BODY), BODY[:10]))
        client.shutdown(socket.SHUT_WR)

        assert_problem(everything(client), b"408")


def test_an_answer_to_head_has_the_length_of_its_body_and_no_body(server: tuple[str, int]) -> None:
    with closing(connect(server)) as client:
        client.sendall(
            b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        first, second, body = everything(client).split(b"\r\n\r\n")

    assert b"content-length: %d\r\n" % len(body) in first.lower() + b"\r\n"
    assert second.startswith(b"HTTP/1.1 200")


def test_a_file_is_served_whole(server: tuple[str, int]) -> None:
    client = http.client.HTTPConnection(*server, timeout=PATIENCE)
    with closing(client):
        client.request("GET", "/docs/swagger-ui-bundle.js")
        served = client.getresponse().read()
    bundle = Path(flask_swagger_ui.__file__).with_name("dist") / "swagger-ui-bundle.js"

    assert served == bundle.read_bytes()


def test_a_stream_of_unknown_length_arrives_in_chunks(unhurried: tuple[str, int]) -> None:
    client = http.client.HTTPConnection(*unhurried, timeout=PATIENCE)
    with closing(client):
        reading = meter()
        client.request("POST", "/v1/ingestion/meter", json.dumps(reading), JSON)
        assert client.getresponse().read()
        path = f"/v1/analytics/meters/{reading['meterId']}/series?bucket=raw"
        client.request("GET", path, headers={"Accept": "text/csv"})
        answer = client.getresponse()

        assert answer.getheader("Transfer-Encoding") == "chunked"
        assert str(reading["voltage"]) in answer.read().decode()


def test_one_connection_may_send_request_after_request(unhurried: tuple[str, int]) -> None:
    client = http.client.HTTPConnection(*unhurried, timeout=PATIENCE)
    with closing(client):
        for _ in range(20):
            client.request("POST", "/v1/ingestion/meter", json.dumps(meter()), JSON)
            answer = client.getresponse()
            assert answer.status in {200, 201}
            assert answer.read()


def test_busy_connections_leave_threads_to_others(unhurried: tuple[str, int]) -> None:
    busy = [http.client.HTTPConnection(*unhurried, timeout=PATIENCE) for _ in range(2 * THREADS)]
    for _ in range(20):
        for client in busy:
            client.request("GET", "/healthz")
        for client in busy:
            assert client.getresponse().read()
    for client in busy:
        client.close()


@pytest.mark.parametrize(
    ("kind", "size", "status"),
    [("application/json", 30_000_000, 413), ("text/plain", 9_000_000, 415)],
)
def test_a_client_that_is_still_sending_sees_why_it_is_refused(
    server_url: str, kind: str, size: int, status: int
) -> None:
    """As the standard library's sends: all of it, before it looks for an answer."""
    address = urlsplit(server_url)
    client = http.client.HTTPConnection(address.netloc, timeout=PATIENCE)
    with closing(client):
        headers = {"Content-Type": kind, "Connection": "close"}
        client.request("POST", "/v1/ingestion/meter", b" " * size, headers)

        assert client.getresponse().status == status
