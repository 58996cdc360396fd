"""With keys off, a foreign page that has its name resolve to this machine gets nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetwatt.app import create_app
from fleetwatt.config import Config

ROUTES = ["/healthz", "/docs/", "/v1/status/meters", "/v1/admin/storage", "/v1/nothing"]
OFF = Config()


def status(config: Config, host: str, route: str = "/healthz") -> int:
    client = create_app(config).test_client()
    return client.get(route, headers={"Host": host}).status_code


@pytest.mark.parametrize("route", ROUTES)
def test_a_foreign_host_name_is_misdirected_on_every_route(route: str) -> None:
    response = create_app(OFF).test_client().get(route, headers={"Host": "evil.example"})

    assert response.status_code == 421
    assert response.get_json()["type"] == "urn:fleetwatt:problem:misdirected"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "api.localhost"],
)
def test_loopback_s_names_are_served(host: str) -> None:
    assert status(OFF, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.7",
        "[::2]",
        "localhost:8000@evil.example",
        "]",
    ],
)
def test_names_that_look_like_loopback_s_are_not(host: str) -> None:
    assert status(OFF, host) in {400, 421}


def test_allowed_host_names_are_served() -> None:
    allowing = replace(OFF, allowed_hosts="fleet.example, .depot.example")

    assert status(allowing, "fleet.example:8000") == 200
    assert status(allowing, "north.depot.example") == 200
    assert status(allowing, "localhost") == 200
    assert status(allowing, "evil.example") == 421


def test_where_keys_are_required_any_host_name_is_served() -> None:
    assert status(replace(OFF, auth="required"), "fleet.example") == 200


def test_a_redirection_leads_to_no_foreign_host() -> None:
    client = create_app(replace(OFF, auth="required")).test_client()

    response = client.get("/docs", headers={"Host": "evil.example"})

    assert response.headers["Location"] == "/docs/"
