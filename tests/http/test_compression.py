"""Answers are compressed for those who accept it."""

from __future__ import annotations

import gzip

import pytest
from flask.testing import FlaskClient

from tests.examples import meter

LIST = "/v1/status/meters"


@pytest.fixture
def many(client: FlaskClient) -> None:
    client.post("/v1/ingestion", json=[meter(meterId=f"M-{number}") for number in range(50)])


@pytest.mark.usefixtures("many")
def test_a_long_answer_is_compressed_for_a_client_that_accepts_gzip(client: FlaskClient) -> None:
    response = client.get(LIST, headers={"Accept-Encoding": "gzip"})

    assert response.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in response.headers["Vary"]
    assert b'"M-49"' in gzip.decompress(response.data)


@pytest.mark.usefixtures("many")
def test_it_goes_as_it_is_to_any_other(client: FlaskClient) -> None:
    response = client.get(LIST)

    assert "Content-Encoding" not in response.headers
    assert "Accept-Encoding" in response.headers["Vary"]
    assert response.json


def test_a_short_answer_goes_as_it_is(client: FlaskClient) -> None:
    response = client.get("/healthz", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in response.headers


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("route", [LIST, "/v1/analytics/fleet"])
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_who_has_the_compressed_answer_gets_304(
    client: FlaskClient, route: str, encoding: str
) -> None:
    accepted = {"Accept-Encoding": encoding}
    first = client.get(route, headers=accepted)
    assert first.headers["Content-Encoding"] == encoding

    again = client.get(route, headers={**accepted, "If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")
