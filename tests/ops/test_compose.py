"""docker-compose.yml: who each service is to the database, and that its commands work as that."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner
from psycopg2.extensions import parse_dsn
from ruamel.yaml import YAML

from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import Config
from tests.examples import meter
from tests.native.server import NativeServer

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
EXAMPLE = (ROOT / ".env.example").read_text()


def user_of(service: str) -> str:
    return str(parse_dsn(SERVICES[service]["environment"]["FLEETWATT_DATABASE_URL"])["user"])


def test_each_service_is_the_role_that_its_work_needs() -> None:
    users = {name: user_of(name) for name in ("roles", "migrate", "maintain", "api")}

    assert users == {
        "roles": "postgres",
        "migrate": "fleetwatt_owner",
        "maintain": "fleetwatt_owner",
        "api": "fleetwatt_app",
    }


def test_a_service_runs_what_the_scheduler_fails_to() -> None:
    maintain = SERVICES["maintain"]

    assert maintain["command"] == ["fleetwatt", "maintain", "--every", "5m"]
    assert maintain["restart"] == "unless-stopped"
    assert maintain["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_only_the_service_that_creates_roles_knows_the_superuser_s_password() -> None:
    knowing = {
        name for name, service in SERVICES.items() if "FLEETWATT_DB_PASSWORD" in str(service)
    }

    assert knowing == {"database", "roles"}


def test_the_example_has_every_variable_that_has_to_be_set() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", str(SERVICES)))

    assert required
    assert required <= set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE))


class Composed:
    """The services' commands, on a server of the tests' instead of the service `database`."""

    def __init__(self, server: NativeServer) -> None:
        self._server = f"@127.0.0.1:{server.port}/"
        self._values = {
            "FLEETWATT_DB_PASSWORD": str(parse_dsn(server.url)["password"]),
            "FLEETWATT_OWNER_PASSWORD": secrets.token_urlsafe() + "'\\ ü",
            "FLEETWATT_APP_PASSWORD": secrets.token_urlsafe(),
        }

    def environment(self, service: str) -> dict[str, str]:
        environment: dict[str, str] = SERVICES[service]["environment"]
        return {
            name: re.sub(r"\$\{(\w+):.(.*?)\}", self._value, text).replace(
                "@database:5432/", self._server
            )
            for name, text in environment.items()
        }

    def _value(self, variable: re.Match[str]) -> str:
        return self._values.get(variable[1], variable[2])

    def run(self, service: str, *command: str) -> str:
        done = CliRunner().invoke(
            fleetwatt,
            command or SERVICES[service]["command"][1:],
            env=self.environment(service),
        )
        assert done.exit_code == 0, done.output + repr(done.exception)
        return done.output


@pytest.fixture(scope="module")
def composed() -> Iterator[Composed]:
    if not os.environ.get("FLEETWATT_NATIVE"):
        pytest.skip("needs FLEETWATT_NATIVE=1")
    with NativeServer({"shared_buffers": "64MB"}) as server:
        with closing(psycopg2.connect(server.url)) as connection:
            connection.autocommit = True
            connection.cursor().execute("CREATE DATABASE fleetwatt")
        services = Composed(server)
        # Each twice, as after a restart of all.
        for service in ("roles", "migrate") * 2:
            services.run(service)
        yield services


def test_the_api_stores_a_reading_as_the_service_s_own_role(
    composed: Composed, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = composed.environment("api")
    monkeypatch.setenv("PGPASSWORD", environment["PGPASSWORD"])
    created = composed.run("maintain", "keys", "create", "--scope", "ingest")
    (key,) = re.findall(r"fw_\S+_\S+", created)
    app = create_app(Config.from_environment(environment))

    answer = app.test_client().post(
        "/v1/ingestion/meter", json=meter(), headers={"Authorization": f"Bearer {key}"}
    )

    assert answer.status_code == 201
    app.extensions["fleetwatt"].close()


def test_the_owner_may_run_all_jobs_but_timescaledb_s_own(composed: Composed) -> None:
    left = re.findall(r"left job (\d+)", composed.run("maintain", "maintain"))

    assert all(int(job) < 1000 for job in left)
