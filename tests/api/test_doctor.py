"""GET /v1/admin/doctor returns what `fleetwatt doctor` finds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict

from flask.testing import FlaskClient

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.lifecycle.doctor import examine
from tests.native.server import free_port


def test_the_route_returns_the_commands_findings(client: FlaskClient, config: Config) -> None:
    answer = client.get("/v1/admin/doctor").json

    assert answer
    assert answer["items"] == [asdict(finding) for finding in examine(config)]
    assert {"schema", "retention"} <= {finding["check"] for finding in answer["items"]}


def test_findings_are_used_again_for_some_seconds(client: FlaskClient) -> None:
    first, second = (client.get("/v1/admin/doctor").json for _ in range(2))

    assert first
    assert first == second


def test_without_its_database_it_answers_503() -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    app = create_app(Config(database_url=url))

    with closing(app.extensions["fleetwatt"]):
        response = app.test_client().get("/v1/admin/doctor")

    assert response.status_code == 503
    assert response.mimetype == "application/problem+json"
