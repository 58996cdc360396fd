from __future__ import annotations

import logging
import re

import pytest
from flask import Flask

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.observability import logs

NOW_AND_THEN = Config(log_requests=2, log_slow=1000)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    """The lines of requests, and how many had been left out before each."""
    return [
        (record.getMessage(), getattr(record, "left_out", 0))
        for record in caplog.records
        if record.name == "fleetwatt.http.request_log"
    ]


@pytest.fixture
def app(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Flask:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logs, "Sample", logs_sample)
    return create_app(NOW_AND_THEN)


REAL = logs.Sample


def logs_sample(limit: int) -> logs.Sample:
    """All in one second."""
    return REAL(limit, clock=lambda: 1.0)


def test_of_requests_that_went_well_some_are_logged(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        app.test_client().get("/healthz")

    assert logged(caplog) == [("GET /healthz 200", 0)] * 2


def test_an_error_is_always_logged_and_says_how_many_were_left_out(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        app.test_client().get("/healthz")
    app.test_client().get("/nothing")
    app.test_client().get("/nothing")

    assert logged(caplog)[2:] == [("GET /nothing 404", 3), ("GET /nothing 404", 0)]


def test_a_slow_request_is_always_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client = create_app(Config(log_requests=0, log_slow=0)).test_client()

    client.get("/healthz")

    assert logged(caplog) == [("GET /healthz 200", 0)]


def test_another_second_logs_again() -> None:
    seconds = iter([1.0, 1.2, 1.9, 2.0, 2.1])
    sample = logs.Sample(1, clock=lambda: next(seconds))

    assert [sample.take(always=False) for _ in range(5)] == [0, None, None, 2, None]


def test_a_path_can_not_end_its_line(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.test_client().get("/nothing%0A2026-11-29 ERROR forged")

    assert logged(caplog) == [("GET /nothing%0A2026-11-29%20ERROR%20forged 404", 0)]


def test_a_line_names_the_request(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.test_client().get("/healthz", headers={"X-Request-Id": "abc-1"})

    (record,) = (record for record in caplog.records if record.name == "fleetwatt.http.request_log")
    assert record.__dict__["request_id"] == "abc-1"
    assert record.__dict__["ms"] >= 0


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "a\tb", "é", "a%0Ab", '"', "a/b"])
def test_an_id_that_could_be_mistaken_for_something_else_is_replaced(
    app: Flask, given: str
) -> None:
    named = app.test_client().get("/healthz", headers={"X-Request-Id": given.encode()})

    assert re.fullmatch("[0-9a-f]{32}", named.headers["X-Request-Id"])


@pytest.mark.parametrize("given", ["a", "a" * 64, "a_b.c:d-1"])
def test_an_id_of_the_client_s_own_is_kept(app: Flask, given: str) -> None:
    named = app.test_client().get("/healthz", headers={"X-Request-Id": given})

    assert named.headers["X-Request-Id"] == given
