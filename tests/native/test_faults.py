"""What fleetwatt does when something breaks, told by clients that count what was acknowledged."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import empty, rows
from tests.examples import at, meter, vehicle
from tests.native.clients import Books, Clients, discrepancies, from_the_future, reading
from tests.native.faults import (
    OF_GUNICORN,
    OF_THE_DATABASE,
    POOL_SIZE,
    WORKERS,
    CannotMount,
    Fault,
    Service,
    frozen,
    full,
    history_on_a_small_disk,
    locked,
    prepare,
    running,
)
from tests.native.server import NativeServer
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    os.environ.get("FLEETWATT_NATIVE") != "1", reason="needs FLEETWATT_NATIVE=1"
)

CLIENTS = 12
QUESTION = "/v1/analytics/fleet?hours=1"
RATE = 2_000  # readings a second
CHANCE = random.Random(6)


@pytest.fixture(scope="module")
def server() -> Iterator[NativeServer]:
    """A server of these tests' own: they kill it."""
    with NativeServer({"shared_buffers": "64MB"}) as server:
        prepare(server)
        yield server


Serving = Callable[..., Service]


@pytest.fixture
def serving(server: NativeServer, tmp_path: Path) -> Iterator[Serving]:
    """Serve on the emptied database, with settings by their variables."""
    with ExitStack() as stack:

        def serve(**settings: str) -> Service:
            service = Service(server, tmp_path, **settings)
            with service.database() as connection:
                empty(connection)
            return stack.enter_context(service)

        yield serve


@contextmanager
def load(service: Service) -> Iterator[Clients]:
    """Post all the while, before and after what the block does; then check that all is well."""
    with Clients(service.url, CLIENTS, RATE) as clients:
        answers_more(clients)
        yield clients
        answers_more(clients)
    eventually(lambda: not service.leaks(), "connections or threads leak")


def answers_more(clients: Clients) -> None:
    """Wait until requests are answered that were sent from now on."""
    wanted = clients.answered() + 3 * CLIENTS
    eventually(lambda: clients.answered() >= wanted, "requests are not answered again")


def check(service: Service, books: Books, *, exact: bool = False) -> None:
    assert discrepancies(service.server.url, books, exact=exact) == []
    assert books.totals["accepted"] > 0
    assert not books.unconfirmed


def post(service: Service, *readings: dict[str, Any], path: str = "") -> tuple[int, dict[str, Any]]:
    return request(service, "POST", f"/v1/ingestion{path}", list(readings))


def request(
    service: Service, method: str, path: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_without_a_fault_every_reading_is_new_once_and_no_request_fails(serving: Serving) -> None:
    service = serving()

    with load(service) as clients:
        time.sleep(2)

    books = clients.books()
    check(service, books, exact=True)
    assert books.totals["duplicates"] > 0
    assert books.totals["rejected"] > 0
    assert books.totals["unavailable"] == books.totals["unanswered"] == 0


@pytest.mark.parametrize(
    "fault", [*OF_THE_DATABASE, *OF_GUNICORN], ids=lambda fault: fault.__name__
)
def test_what_was_acknowledged_is_stored_once_after(fault: Fault, serving: Serving) -> None:
    service = serving()

    with load(service) as clients:
        fault(service, CHANCE)

    check(service, clients.books())


def test_what_was_acknowledged_is_stored_once_after_the_database_was_away_for_30_s(
    serving: Serving,
) -> None:
    service = serving()

    with load(service) as clients:
        service.server.halt()
        time.sleep(30)
        service.server.restart()

    books = clients.books()
    # No client lost patience, nor its connection: each was told to come again.
    assert books.totals["unavailable"] > 0
    check(service, books)


def test_a_stop_in_order_answers_every_request_under_way(serving: Serving) -> None:
    service = serving()
    requests = 40
    workers = service.workers()

    with ThreadPoolExecutor(requests) as clients:
        with locked(service):
            answers = [clients.submit(post, service, reading(f"M-{n}", n)) for n in range(requests)]
            eventually(lambda: under_way(service) == requests, "requests did not arrive")
            service.master.terminate()
            time.sleep(1)
        statuses = [answer.result(60)[0] for answer in answers]

    assert statuses == [201] * requests
    service.master.wait(60)
    assert not running(workers)
    with service.database() as connection:
        assert rows(connection, "SELECT count(*) FROM meter_telemetry") == [(requests,)]


def under_way(service: Service) -> int:
    """How many connections gunicorn's workers hold."""
    return sum(
        connection.status == "ESTABLISHED" and f":{connection.laddr.port}" in service.url
        for worker in service.workers()
        for connection in worker.net_connections("tcp")
    )


def test_a_lock_on_latest_fails_requests_in_time_and_stores_none_of_them(serving: Serving) -> None:
    service = serving(FLEETWATT_STATEMENT_TIMEOUT="1", FLEETWATT_WRITE_TIMEOUT="10")

    with load(service) as clients:
        before = clients.unavailable()
        with locked(service):
            eventually(
                lambda: clients.unavailable() > before + 3 * CLIENTS,
                "requests hang behind the lock",
            )

    books = clients.books()
    # No client waited until its patience ended.
    assert books.totals["unanswered"] == 0
    check(service, books, exact=True)


def test_a_write_that_takes_too_long_is_answered_and_found_stored_by_the_retry(
    serving: Serving,
) -> None:
    service = serving(FLEETWATT_WRITE_TIMEOUT="1")

    with locked(service):
        status, problem = post(service, reading("M-1", 1))

    assert (status, problem["title"]) == (503, "The database is busy")
    assert problem["detail"] == "not written within 1 s"
    eventually(lambda: post(service, reading("M-1", 1))[0] == 200, "it was never stored")


def test_a_question_that_finds_no_free_connection_in_time_is_told_so(serving: Serving) -> None:
    service = serving(FLEETWATT_WORKERS="1", FLEETWATT_POOL_SIZE="1", FLEETWATT_POOL_TIMEOUT="0.5")
    assert post(service, reading("M-1", 1))[0] == 201

    with ThreadPoolExecutor(1) as client:
        with locked(service):
            writing = client.submit(post, service, reading("M-1", 2))
            eventually(lambda: waiting_for_locks(service) == 1, "nothing waits for the lock")
            status, problem = request(service, "GET", "/v1/status/meters/M-1")
        assert writing.result(60)[0] == 201

    assert status == 503
    assert problem["detail"] == "no database connection came free within 0.5 s"
    assert request(service, "GET", "/v1/status/meters/M-1")[0] == 200


def test_a_question_whose_client_is_gone_is_cancelled_and_a_write_never_is(
    serving: Serving,
) -> None:
    service = serving(FLEETWATT_WORKERS="1", FLEETWATT_STATEMENT_TIMEOUT="600")
    store(service, reading("M-1", 1))
    at_service = urlsplit(service.url)
    question = f"GET {QUESTION} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = json.dumps(reading("M-1", 2))
    write = (
        "POST /v1/ingestion HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )

    with service.database() as holder, ExitStack() as clients:
        holder.autocommit = False
        rows(holder, "SELECT 1")
        holder.cursor().execute("LOCK TABLE meter_telemetry IN ACCESS EXCLUSIVE MODE")
        for request_of_one in (question, write):
            client = clients.enter_context(
                socket.create_connection((at_service.hostname, at_service.port), 60)
            )
            client.sendall(request_of_one.encode())
        eventually(lambda: waiting_for_locks(service) == 2, "they don't wait for the lock")
        clients.close()
        eventually(lambda: waiting_for_locks(service) == 1, "the question is not cancelled")
        holder.rollback()

    eventually(lambda: post(service, reading("M-1", 2))[1]["duplicates"] == 1, "it was cancelled")


def store(service: Service, reading: dict[str, Any]) -> None:
    """Post until it is stored, which may take longer than a service of little patience waits."""
    eventually(lambda: post(service, reading)[0] in {200, 201}, "it is not stored")


def waiting_for_locks(service: Service) -> int:
    with service.database() as connection:
        [(count,)] = rows(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(count)


def test_while_the_database_stands_still_nobody_waits_for_it_to_move(serving: Serving) -> None:
    service = serving(
        FLEETWATT_STATEMENT_TIMEOUT="1",
        FLEETWATT_WRITE_TIMEOUT="2",
        FLEETWATT_CONNECT_TIMEOUT="2",
        FLEETWATT_POOL_TIMEOUT="1",
    )
    store(service, reading("M-1", 1))
    # More than there are connections, so that some wait for the database and some for those.
    asked = 4 * WORKERS * POOL_SIZE

    with ThreadPoolExecutor(asked) as clients, frozen(service):
        writing = clients.submit(post, service, reading("M-1", 2))
        answers = [
            clients.submit(request, service, "GET", "/v1/status/meters/M-1")
            for _ in range(asked - 1)
        ]
        assert [answer.result()[0] for answer in answers] == [503] * len(answers)
        assert writing.result()[0] == 503
        # So it is for those who come later, and find no connection to be had.
        assert request(service, "GET", "/v1/status/meters/M-1")[0] == 503

    eventually(
        lambda: request(service, "GET", "/v1/status/meters/M-1")[0] == 200, "it is not asked again"
    )
    store(service, reading("M-1", 3))
    eventually(lambda: not service.leaks(), "connections or threads leak")


def test_a_primary_that_takes_no_writes_is_a_database_that_is_away(serving: Serving) -> None:
    service = serving()

    with load(service) as clients:
        before = clients.unavailable()
        with read_only(service):
            eventually(
                lambda: clients.unavailable() > before + CLIENTS,
                "requests are not told that nothing is written",
            )

    check(service, clients.books(), exact=True)


@contextmanager
def read_only(service: Service) -> Iterator[None]:
    with service.database() as connection, connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        cursor.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute("ALTER SYSTEM RESET default_transaction_read_only")
            cursor.execute("SELECT pg_reload_conf()")


def test_a_full_disk_stores_nothing_by_halves_and_writing_goes_on_once_there_is_room(
    serving: Serving,
) -> None:
    service = serving()
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(history_on_a_small_disk(service))
        except CannotMount as error:
            pytest.skip(f"no file system can be mounted here: {error}")
        with load(service) as clients:
            before = clients.unavailable()
            with full(disk):
                eventually(
                    lambda: clients.unavailable() > before + CLIENTS,
                    "the disk is not full",
                )

        check(service, clients.books(), exact=True)


def test_a_clock_that_steps_ahead_does_not_freeze_latest(serving: Serving) -> None:
    service = serving()
    now = datetime.now(UTC).replace(microsecond=0)
    assert post(service, meter(timestamp=at(now - timedelta(minutes=1))))[0] == 201

    status, problem = post(service, from_the_future("M-123"))
    assert status == 422
    assert problem["errors"][0]["field"] == "timestamp"
    # Back in step, and a step back, which is a late reading.
    assert post(service, meter(timestamp=at(now), voltage=231))[0] == 201
    assert post(service, meter(timestamp=at(now - timedelta(hours=1)), voltage=1))[0] == 201

    status, latest = request(service, "GET", "/v1/status/meters/M-123")
    assert (status, latest["timestamp"], latest["voltage"]) == (200, at(now), 231)


def test_of_a_batch_with_a_clock_ahead_the_other_readings_are_stored(serving: Serving) -> None:
    service = serving()

    status, answer = post(service, vehicle(), from_the_future("V-999"), from_the_future("M-123"))

    assert (status, answer["accepted"], answer["rejected"]) == (207, 1, 2)
    with service.database() as connection:
        assert rows(connection, "SELECT * FROM meter_telemetry") == []
        assert rows(connection, "SELECT count(*) FROM vehicle_telemetry") == [(1,)]
