"""The simulation's client is as well-behaved as a gateway should be."""

from __future__ import annotations

import threading

import pytest

from fleetwatt.simulation.client import Client, SendingFailed
from tests.simulation.conftest import Front


def test_an_answer_is_returned(poster: Client, echo: Front, said: list[str]) -> None:
    answer = poster.post("/v1/ingestion/meter", [1])

    assert (answer.status, answer.body, answer.retries) == (201, {}, 0)
    [request] = echo.requests
    assert request["PATH_INFO"] == "/v1/ingestion/meter"
    assert request["CONTENT_TYPE"] == "application/json"
    assert "HTTP_AUTHORIZATION" not in request
    assert said == []


@pytest.mark.parametrize(
    "fault",
    [("429 Too Many", {}), ("500 Oops", {}), ("502 Bad Gateway", {}), ("503 Busy", {}), "cut"],
    ids=str,
)
def test_what_may_pass_is_tried_again(
    fault: object, poster: Client, echo: Front, said: list[str]
) -> None:
    echo.faults = [fault]

    assert poster.post("/", 1).retries == 1
    assert len(echo.requests) == 2
    assert len(said) == 1
    assert "trying again" in said[0]


@pytest.mark.parametrize("status", ["400 Bad Request", "401 No", "403 No", "404 No", "301 There"])
def test_what_stays_wrong_is_not_tried_again(status: str, poster: Client, echo: Front) -> None:
    echo.faults = [(status, {})]

    with pytest.raises(SendingFailed, match=f"{echo.url}/x answers {status[:3]}"):
        poster.post("/x", 1)
    assert len(echo.requests) == 1


def test_a_retry_after_is_heeded(poster: Client, echo: Front) -> None:
    """20 s of patience are enough for ten tries, and for none after a minute."""
    echo.faults = [("503 Busy", {"Retry-After": "60"})]

    with pytest.raises(SendingFailed, match=r"answers 503 .*gave up after 20 s"):
        poster.post("/", 1)
    assert len(echo.requests) == 1


def test_a_short_retry_after_is_waited_for(poster: Client, echo: Front) -> None:
    echo.faults = [("503 Busy", {"Retry-After": "1"})]

    assert poster.post("/", 1).retries == 1


def test_nobody_there_is_given_up_with_the_reason(said: list[str]) -> None:
    client = Client("http://127.0.0.1:1", patience=1.2, say=said.append)

    with pytest.raises(SendingFailed, match=r"127.0.0.1:1 does not answer .*gave up after 1.2 s"):
        client.post("/", 1)


def test_stopping_ends_what_is_being_tried_again(echo: Front) -> None:
    waiting = threading.Event()
    client = Client(echo.url, patience=3600, say=lambda _: waiting.set())
    echo.faults = [("503 Busy", {"Retry-After": "600"})]
    failures: list[SendingFailed] = []

    def post() -> None:
        try:
            client.post("/", 1)
        except SendingFailed as failure:
            failures.append(failure)

    thread = threading.Thread(target=post)
    thread.start()
    assert waiting.wait(60)
    client.stop()
    thread.join(60)
    client.close()
    assert len(failures) == 1


def test_an_answer_that_is_not_json_is_none_of_this_api(poster: Client, echo: Front) -> None:
    echo.faults = [("200 OK", {})]

    with pytest.raises(SendingFailed, match="isn't JSON"):
        poster.post("/", 1)


def test_an_api_key_is_sent_as_a_bearer_token(echo: Front, said: list[str]) -> None:
    client = Client(echo.url, api_key="secret", patience=20, say=said.append)
    client.post("/", 1)
    client.close()

    assert echo.requests[0]["HTTP_AUTHORIZATION"] == "Bearer secret"
