"""What holds whoever asks: headers, secrets, statements, and the ways to start."""

from __future__ import annotations

import ast
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.database.errors import Unavailable
from fleetwatt.database.pool import masked
from tests.examples import meter

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "fleetwatt").rglob("*.py"))
SECRET = "hush-hush"
URLS = [
    f"postgresql://app:{SECRET}@127.0.0.1:1/fleet",
    f"host=127.0.0.1 port=1 user=app password={SECRET}",
    f"postgresql://127.0.0.1:1/fleet?user=app&password={SECRET}",
    f"postgresql://app:{SECRET}/more@127.0.0.1:1/fleet",
    f"postgresql://app:{SECRET}#more@127.0.0.1:1/fleet",
    f"postgresql://app:more?{SECRET}@127.0.0.1:1/fleet",
    f"postgresql://app:a b:{SECRET}@127.0.0.1:1/fleet",
    f"postgresql//app:{SECRET}@127.0.0.1:1/fleet",
    f"postgresql:/app:{SECRET}@127.0.0.1:1/fleet",
    f"postgresql://app:{SECRET}@127.0.0.1:1/fleet?nonsense={SECRET}",
]


@pytest.mark.parametrize(
    "route", ["/healthz", "/openapi.json", "/docs/", "/v1/nothing", "/v1/ingestion/meter"]
)
def test_every_answer_tells_browsers_to_trust_nothing(route: str) -> None:
    response = create_app(Config()).test_client().get(route)

    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_page_runs_its_own_scripts_alone() -> None:
    response = create_app(Config()).test_client().get("/docs/")

    scripts = re.search(r"script-src ([^;]*)", response.headers["Content-Security-Policy"])
    assert scripts
    assert "unsafe" not in scripts[1]
    assert re.fullmatch(r"'self' 'sha256-[\w+/=]{44}'", scripts[1])


@pytest.mark.parametrize("url", URLS)
def test_the_databases_password_is_in_no_answer_and_in_no_log(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = create_app(Config(database_url=url, connect_timeout=1)).test_client()

    with caplog.at_level(logging.DEBUG):
        answers = [
            client.get("/readyz"),
            client.get("/v1/status/meters"),
            client.post("/v1/ingestion/meter", json=meter()),
        ]

    assert caplog.records
    for response in answers:
        assert response.status_code == 503
        assert SECRET not in response.text
        assert "127.0.0.1" not in response.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", URLS)
def test_the_databases_password_is_in_no_traceback(url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        Database(Config(database_url=url, connect_timeout=1)).query_one("takes_writes")

    # As a logger would print it, causes and all.
    seen: BaseException | None = caught.value
    while seen:
        assert SECRET not in str(seen)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", ["db upgrade", "keys list", "config"])
def test_the_databases_password_is_in_no_commands_output(url: str, command: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("fleetwatt")), *command.split()],
        env=os.environ | {"FLEETWATT_DATABASE_URL": url, "FLEETWATT_CONNECT_TIMEOUT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_secret_is_still_said() -> None:
    message = 'password authentication failed for user "app"'

    assert masked(message, f"postgresql://app:{SECRET}@db/fleet") == message


def test_a_fault_of_ours_shows_a_client_no_trace_but_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Config())
    monkeypatch.setattr(
        app.extensions["fleetwatt"], "query", lambda *_, **__: os.environ["NO_FAULT"]
    )

    response = app.test_client().get("/v1/mappings")

    assert response.status_code == 500
    assert response.mimetype == "application/problem+json"
    for told in ("Traceback", "KeyError", "NO_FAULT", ".py"):
        assert told not in response.text
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"vehicleId":"V-1","meterId":"M-1","vehicleId":"V-2"}',
        '{"vehicleId":"V-1","meterId":NaN}',
        '{"vehicleId":"V-1","meterId":1e999}',
        '{"vehicleId":"V-1","meterId":-Infinity}',
        '{"vehicleId":"V-1","meterId":' + "9" * 5_000 + "}",
        '{"vehicleId":"V-1"',
        b'{"vehicleId":"\xff","meterId":"M-1"}',
    ],
    ids=["deep", "twice", "NaN", "1e999", "infinity", "huge", "cut", "no UTF-8"],
)
def test_a_mapping_that_parsers_would_disagree_on_is_400(body: str | bytes) -> None:
    response = (
        create_app(Config())
        .test_client()
        .post("/v1/ingestion/mapping", data=body, content_type="application/json")
    )

    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"


def test_a_mapping_larger_than_any_is_413() -> None:
    body = b'{"vehicleId":"' + b"V" * 200_000 + b'"}'
    response = (
        create_app(Config())
        .test_client()
        .post("/v1/ingestion/mapping", data=body, content_type="application/json")
    )

    assert response.status_code == 413
    assert response.mimetype == "application/problem+json"
    assert response.json
    assert response.json["detail"] == "this route takes up to 100,000 bytes"


@pytest.mark.parametrize("path", ["", "/meter", "/vehicle"])
def test_a_body_that_is_shorter_than_announced_stores_nothing(
    client: FlaskClient, path: str
) -> None:
    response = client.post(
        f"/v1/ingestion{path}",
        data=b"{}\n{}\n",
        content_type="application/x-ndjson",
        environ_overrides={"CONTENT_LENGTH": "100", "wsgi.input_terminated": True},
    )

    assert response.status_code == 408
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:cut-short"
    assert "6 of 100 bytes" in response.json["detail"]


EXECUTES = {"execute", "executemany", "mogrify", "copy_expert", "callproc", "fetch"}


def statements() -> Iterator[tuple[str, ast.expr, ast.AST]]:
    """Yield every statement that the source hands to the database, with the function it is in."""
    for file in SOURCES:
        tree = ast.parse(file.read_text())
        scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for function in scopes:
            for call in ast.walk(function):
                if not isinstance(call, ast.Call) or not call.args:
                    continue
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                if name in EXECUTES:
                    argument = call.args[1] if name == "fetch" and len(call.args) > 1 else None
                    where = f"{file.relative_to(ROOT)}:{call.lineno}"
                    yield where, argument or call.args[0], function


def is_built(expression: ast.AST) -> bool:
    """Whether SQL text is put together here; psycopg2.sql's composition quotes what it puts in."""
    match expression:
        case ast.JoinedStr() | ast.BinOp():
            return True
        case ast.Call(func=ast.Attribute(value=value, attr="format" | "join" | "replace")):
            return not ast.unparse(value).startswith(("sql.SQL(", "SQL("))
    return False


def test_no_statement_is_built_from_strings() -> None:
    found = list(statements())
    built = []
    for where, argument, function in found:
        texts: list[Any] = [argument]
        if isinstance(argument, ast.Name):
            texts += [
                node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign | ast.AugAssign)
                and argument.id in {ast.unparse(target) for target in targets(node)}
            ]
        built += [where for text in texts if is_built(text)]

    assert len(found) > 5
    assert built == []


def targets(assignment: ast.Assign | ast.AugAssign) -> list[ast.expr]:
    return assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]


@pytest.mark.parametrize(
    "built", ["f'a {x}'", "'a' + x", "'a %s' % x", "'a {}'.format(x)", "' '.join(x)"]
)
def test_the_search_for_built_statements_finds_them(built: str) -> None:
    assert is_built(ast.parse(built, mode="eval").body)
    assert not is_built(ast.parse("sql.SQL('a {}').format(sql.Identifier(x))", mode="eval").body)


@pytest.mark.parametrize(
    ("environment", "options"),
    [({"FLEETWATT_HOST": "0.0.0.0"}, []), ({}, ["--bind", "0.0.0.0:0"])],
    ids=["by the setting", "by gunicorn's own option"],
)
def test_gunicorn_does_not_serve_everybody_without_keys(
    environment: dict[str, str], options: list[str]
) -> None:
    started = {
        "FLEETWATT_AUTH": "off",
        "FLEETWATT_PORT": "0",
        "FLEETWATT_DATABASE_URL": "postgresql://127.0.0.1:1/none",
    }
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", *options, "wsgi:app"],
        cwd=ROOT,
        env=os.environ | started | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode != 0
    assert "FLEETWATT_AUTH is off and 0.0.0.0 is open" in done.stderr


@pytest.mark.parametrize("file", ["docker-compose.yml", "Dockerfile"])
def test_the_container_requires_keys_unless_told_otherwise(file: str) -> None:
    text = (ROOT / file).read_text()

    assert re.search(r"FLEETWATT_AUTH[=:] ?(required|\$\{FLEETWATT_AUTH:-required\})", text)
    assert "AUTH_OFF_ANYWHERE=yes" not in text
