from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from fleetwatt import create_app
from fleetwatt.config import Config
from tests.examples import meter

NOBODY = Config(database_url="postgresql://postgres@127.0.0.1:1/postgres", connect_timeout=1)


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
def test_a_service_with_its_database_is_well(client: FlaskClient, route: str) -> None:
    response = client.get(route)

    assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_without_its_database_it_lives_but_is_not_ready() -> None:
    client = create_app(NOBODY).test_client()

    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_without_its_database_a_device_is_told_to_try_again() -> None:
    response = create_app(NOBODY).test_client().post("/v1/ingestion/meter", json=meter())

    assert response.status_code == 503
    assert response.mimetype == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in response.text


@pytest.mark.parametrize("path", ["/", "/v1/nothing", "/v1/status/meters/M 1"])
def test_a_path_that_is_no_route_is_a_problem_that_says_where_the_routes_are(
    client: FlaskClient, path: str
) -> None:
    response = client.get(path)

    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"
    assert response.json
    assert "/docs/ shows the routes" in response.json["detail"]


def test_an_unknown_method_is_a_problem_that_says_which_are_allowed(client: FlaskClient) -> None:
    response = client.delete("/v1/ingestion/meter")

    assert response.status_code == 405
    assert response.mimetype == "application/problem+json"
    assert "POST" in response.headers["Allow"]


def test_a_request_gets_an_id_back(client: FlaskClient) -> None:
    assert client.get("/healthz").headers["X-Request-Id"]
    given = client.get("/healthz", headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"


def test_an_error_of_ours_shows_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(NOBODY)
    monkeypatch.setattr(app.extensions["fleetwatt"], "one", lambda *_, **__: 1 / 0)

    response = app.test_client().get("/readyz")

    assert response.status_code == 500
    assert response.mimetype == "application/problem+json"
    assert "ZeroDivision" not in response.text
