"""Pages of other origins read answers where an operator names them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from fleetwatt.app import create_app
from fleetwatt.config import Config, ConfigError

ORIGIN = "https://dash.example.com"


@pytest.fixture
def named(config: Config) -> FlaskClient:
    """A client of a service that requires keys and names one other origin."""
    return create_app(replace(config, cors_origins=ORIGIN, auth="required")).test_client()


def test_no_other_origin_is_allowed_unless_it_is_named(client: FlaskClient) -> None:
    response = client.get("/healthz", headers={"Origin": ORIGIN})

    assert "Access-Control-Allow-Origin" not in response.headers


def test_the_origin_that_is_named_is_allowed_and_no_other(named: FlaskClient) -> None:
    allowed = named.get("/healthz", headers={"Origin": ORIGIN})
    other = named.get("/healthz", headers={"Origin": "https://evil.example"})

    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    assert other.headers.get("Access-Control-Allow-Origin") != "https://evil.example"


def test_a_browser_may_ask_without_a_key_whether_it_may_send_one(named: FlaskClient) -> None:
    response = named.options(
        "/v1/status/vehicles",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    )

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()


def test_what_is_no_origin_is_rejected_at_the_start() -> None:
    with pytest.raises(ConfigError, match="FLEETWATT_CORS_ORIGINS"):
        Config.from_environment({"FLEETWATT_CORS_ORIGINS": "dash.example.com/path"})
