"""A short run of what `make fuzz` does a million times."""

from __future__ import annotations

import random

import pytest
from flask.testing import FlaskClient

from tests.fuzz import decoder, protocol, requests
from tests.scale import scaled

pytestmark = pytest.mark.scaled


def test_the_decoder_answers_as_the_rules_say_whatever_comes() -> None:
    answers = decoder.run(scaled(100_000), seed=3_002)

    # Each kind of answer was among them, or the inputs would show little. Too many readings are
    # rarer than that, and have a test of their own.
    assert set(answers) - {"TooManyReadings"} == {
        "accepted",
        "accepted in part",
        "refused",
        "NotJson",
        "NoReading",
    }


def test_the_embedded_server_cuts_any_bytes_into_the_same_messages() -> None:
    done = protocol.run(scaled(25_000), seed=1_000)

    assert done.returncode == 0, done.stdout


def test_an_odd_request_is_no_fault_of_the_service(client: FlaskClient) -> None:
    chance = random.Random(2_027)
    cursors = requests.seed(client)
    known = requests.operations(client.get("/openapi.json").get_json())
    sent = iter(requests.Requests(chance, known, cursors))

    assert requests.wrong(client, sent, scaled(20_000)) == []
