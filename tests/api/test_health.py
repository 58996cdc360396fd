from __future__ import annotations

from importlib.metadata import version

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.config import Config
from tests.examples import meter

NOBODY = Config(database_url="postgresql://postgres@127.0.0.1:1/postgres", connect_timeout=1)


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
def test_a_service_with_its_database_is_well(client: FlaskClient, route: str) -> None:
    response = client.get(route)

    assert response.status_code == 200
    assert response.json
    assert response.json["status"] == "ok"


def test_where_keys_are_off_readiness_names_the_version(client: FlaskClient) -> None:
    assert client.get("/readyz").json == {"status": "ok", "version": version("fleetwatt")}
    assert client.get("/healthz").json == {"status": "ok"}


def test_without_its_database_it_lives_but_is_not_ready() -> None:
    client = create_app(NOBODY).test_client()

    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_where_the_database_is_read_only_it_is_not_ready(config: Config, sql: Connection) -> None:
    app = create_app(config)
    client = app.test_client()
    with sql.cursor() as cursor:
        # Of all new sessions, and of this one, which is everybody's on the embedded database.
        cursor.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        cursor.execute("SET default_transaction_read_only = on")
    try:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    finally:
        with sql.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert client.get("/readyz").status_code == 200
    app.extensions["fleetwatt"].close()


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


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("POST", "/v1/ingestion/mapping?validFrom=2026-01-01T00:00:00Z"),
        ("DELETE", "/v1/ingestion/mapping/V-1?validFrom=2026-01-01T00:00:00Z"),
        ("GET", "/v1/status/meters?validFrom=2026-01-01T00:00:00Z"),
        ("GET", "/v1/status/vehicles/V-1?validFrom=2026-01-01T00:00:00Z"),
        ("GET", "/v1/admin/storage?validFrom="),
        ("GET", "/v1/analytics/fleet?validFrom="),
    ],
)
def test_an_argument_that_a_route_does_not_have_is_refused_by_name(
    client: FlaskClient, method: str, route: str
) -> None:
    response = client.open(route, method=method, json={"vehicleId": "V-1", "meterId": "M-1"})

    assert response.status_code == 422
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:invalid-arguments"
    assert [error["field"] for error in response.json["errors"]] == ["validFrom"]
    assert client.get("/v1/mappings").json == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("method", "route", "field"),
    [
        ("GET", "/v1/status/meters?limit=1&limit=2", "limit"),
        ("POST", "/v1/ingestion/meter?atomic=false&atomic=true", "atomic"),
    ],
)
def test_an_argument_that_is_given_twice_is_refused_by_name(
    client: FlaskClient, method: str, route: str, field: str
) -> None:
    response = client.open(route, method=method, json=meter())

    assert response.status_code == 422
    assert response.json
    errors = [{"index": None, "field": field, "message": "Given more than once."}]
    assert response.json["errors"] == errors


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_query_without_an_argument_says_nothing(client: FlaskClient, method: str) -> None:
    query = "" if method == "GET" else "x=1"

    assert client.open(f"/v1/admin/storage?&{query}", method=method).status_code == 200


def test_a_probe_may_ask_with_whatever_it_likes(client: FlaskClient) -> None:
    assert client.get("/readyz?from=probe").status_code == 200


def test_a_request_gets_an_id_back(client: FlaskClient) -> None:
    assert client.get("/healthz").headers["X-Request-Id"]
    given = client.get("/healthz", headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"


def test_an_error_of_ours_shows_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(NOBODY)
    monkeypatch.setattr(app.extensions["fleetwatt"], "check_ready", lambda: 1 / 0)

    response = app.test_client().get("/readyz")

    assert response.status_code == 500
    assert response.mimetype == "application/problem+json"
    assert "ZeroDivision" not in response.text
