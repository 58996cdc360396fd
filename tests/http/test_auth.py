"""Keys are required here: who gets in, and what each may do."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.errors import Unavailable
from fleetwatt.http.auth import SCOPES, scope_of
from fleetwatt.security import keys
from fleetwatt.version import VERSION
from tests.conftest import rows
from tests.examples import ago, meter, vehicle


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


KeyMaker = Callable[..., str]
READ = "/v1/status/meters"
UNKNOWN = keys.generate()[1]
OPEN = [
    *("/healthz", "/readyz", "/openapi.json", "/docs/", "/docs/swagger-ui.css", "/v1/key"),
    "/web/any/page.css",
]
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, auth="required")


@pytest.fixture
def make(app: Flask) -> KeyMaker:
    """Makes a key in the database and returns what its owner gets."""

    def made(*scopes: str, devices: list[str] | None = None, days: float | None = None) -> str:
        prefix, whole, hashed = keys.generate()
        app.extensions["fleetwatt"].query_one(
            "create_key",
            prefix=prefix,
            hash=hashed,
            name="",
            scopes=list(scopes),
            devices=devices,
            lifetime=None if days is None else timedelta(days=days),
        )
        return whole

    return made


def time_passes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let what a process remembers of keys grow older."""
    monkeypatch.setattr("fleetwatt.security.keys.monotonic", lambda: time.monotonic() + seconds)


def check_problem(response: TestResponse, status: int, name: str) -> None:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    assert response.json
    assert response.json["type"] == f"urn:fleetwatt:problem:{name}"


@pytest.mark.parametrize("route", OPEN)
def test_health_and_documentation_are_open(client: FlaskClient, route: str) -> None:
    with client.get(route) as response:
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("scope", "is_named"), [("read", True), ("admin", True), ("ingest", False)]
)
def test_readiness_names_the_version_to_a_key_that_may_read(
    client: FlaskClient, make: KeyMaker, scope: str, is_named: bool
) -> None:
    answer = client.get("/readyz", headers=bearer(make(scope)))

    assert answer.status_code == 200
    assert answer.json == {"status": "ok"} | ({"version": VERSION} if is_named else {})


@pytest.mark.parametrize(
    "given",
    [{}, {"Authorization": "Bearer nonsense"}, bearer(UNKNOWN)],
    ids=["nothing", "nonsense", "an unknown key"],
)
def test_readiness_names_no_version_to_strangers(
    client: FlaskClient, given: dict[str, str]
) -> None:
    answer = client.get("/readyz", headers=given)

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_whoever_guesses_keys_at_readiness_is_counted(config: Config) -> None:
    app = create_app(replace(config, failure_limit="1/minute"))
    client = app.test_client()
    for _ in range(2):
        assert client.get("/readyz", headers=bearer(UNKNOWN)).status_code == 200

    assert client.get(READ, headers=bearer(UNKNOWN)).status_code == 429
    app.extensions["fleetwatt"].close()


def test_the_page_is_open_as_it_asks_for_the_key(client: FlaskClient) -> None:
    assert client.get("/", headers=BROWSER).status_code == 200
    check_problem(client.get("/"), 404, "not-found")


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [("ingest", ["ingest"]), ("read", ["read"]), ("admin", ["ingest", "read", "admin"])],
)
def test_a_key_learns_what_it_may_do(
    client: FlaskClient, make: KeyMaker, scope: str, scopes: list[str]
) -> None:
    key = make(scope)

    answer = client.get("/v1/key", headers=bearer(key))

    assert answer.json == {"required": True, "prefix": keys.prefix_of(key), "scopes": scopes}


def test_a_request_without_a_key_learns_that_one_is_needed(client: FlaskClient) -> None:
    answer = client.get("/v1/key")

    assert answer.json == {"required": True, "prefix": None, "scopes": []}


def test_a_key_that_is_not_valid_learns_so(client: FlaskClient, make: KeyMaker) -> None:
    for key in ("nonsense", UNKNOWN, make("read", days=-1)):
        check_problem(client.get("/v1/key", headers=bearer(key)), 401, "unauthenticated")


def test_whoever_guesses_keys_at_the_page_is_counted(config: Config) -> None:
    app = create_app(replace(config, failure_limit="1/minute"))
    client = app.test_client()
    answers = [client.get("/v1/key", headers=bearer(UNKNOWN)).status_code for _ in range(3)]

    assert answers[0] == 401
    assert answers[-1] == 429
    app.extensions["fleetwatt"].close()


def test_every_other_route_needs_a_key(app: Flask, client: FlaskClient) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule == "/" or rule.rule.startswith(("/docs", "/web", *OPEN)):
            continue
        path = rule.rule.replace("<device_id:vehicleId>", "V-1").replace(
            "<device_id:meterId>", "M-1"
        )
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            check_problem(client.open(path, method=method), 401, "unauthenticated")


def test_a_route_that_is_listed_nowhere_is_for_administrators() -> None:
    assert scope_of("/v1/whatever/comes", "GET") == keys.ADMIN
    assert scope_of("/anything", "GET") == keys.ADMIN
    assert scope_of("/healthz/more", "GET") is None
    assert scope_of("/healthzero", "GET") == keys.ADMIN


def test_an_unknown_path_tells_nothing_to_those_without_a_key(
    client: FlaskClient, make: KeyMaker
) -> None:
    assert client.get("/v1/nothing").status_code == 401
    assert client.get("/v1/nothing", headers=bearer(make("read"))).status_code == 404


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("ingest", {"ingest"}), ("read", {"read"}), ("admin", {"ingest", "read", "admin"})],
)
def test_a_scope_opens_its_own_routes_and_admin_opens_all(
    client: FlaskClient, make: KeyMaker, scope: str, allowed: set[str]
) -> None:
    key = bearer(make(scope))

    written = client.post("/v1/ingestion/meter", json=meter(), headers=key)
    read = client.get(READ, headers=key)

    assert (written.status_code == 201) == ("ingest" in allowed)
    assert (read.status_code == 200) == ("read" in allowed)
    for response in (written, read):
        if response.status_code >= 400:
            check_problem(response, 403, "forbidden")
            assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


def test_a_key_may_have_several_scopes(client: FlaskClient, make: KeyMaker) -> None:
    key = bearer(make("ingest", "read"))

    assert client.post("/v1/ingestion/meter", json=meter(), headers=key).status_code == 201
    assert client.get(READ, headers=key).status_code == 200


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, False),
        ("", True),
        ("Bearer", True),
        ("Bearer nonsense", True),
        ("Bearer fw_000000000000_" + "A" * 43, True),
        ("Basic dXNlcjpwYXNz", True),
        ("Bearer fw_000000000000_" + "é" * 43, True),
        ("Bearer " + "x" * 5000, True),
    ],
)
def test_what_is_no_valid_key_is_401_and_says_how_to_authenticate(
    client: FlaskClient, header: str | None, error: bool
) -> None:
    response = client.get(READ, headers={} if header is None else {"Authorization": header})

    check_problem(response, 401, "unauthenticated")
    challenge = response.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="fleetwatt"')
    assert ("invalid_token" in challenge) == error


def test_the_scheme_is_spelled_in_any_case(client: FlaskClient, make: KeyMaker) -> None:
    headers = {"Authorization": f"bearer  {make('read')}"}

    assert client.get(READ, headers=headers).status_code == 200


def test_a_right_prefix_with_a_wrong_secret_is_not_a_key(
    client: FlaskClient, make: KeyMaker
) -> None:
    key = make("read")
    forged = key[:-1] + ("A" if key[-1] != "A" else "B")

    # Before and after the process has seen the real one.
    assert client.get(READ, headers=bearer(forged)).status_code == 401
    assert client.get(READ, headers=bearer(key)).status_code == 200
    assert client.get(READ, headers=bearer(forged)).status_code == 401


def test_a_key_that_has_expired_is_refused(client: FlaskClient, make: KeyMaker) -> None:
    assert client.get(READ, headers=bearer(make("read", days=1))).status_code == 200

    response = client.get(READ, headers=bearer(make("read", days=-1)))
    check_problem(response, 401, "unauthenticated")
    assert "has expired" in response.text


def test_a_key_expires_while_a_process_remembers_it(
    client: FlaskClient, make: KeyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bearer(make("read", days=1))
    assert client.get(READ, headers=key).status_code == 200

    time_passes(monkeypatch, 86_400)

    response = client.get(READ, headers=key)
    check_problem(response, 401, "unauthenticated")
    assert "has expired" in response.text


def test_the_database_s_clock_says_when_a_key_ends(
    client: FlaskClient, make: KeyMaker, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bearer(make("read"))
    assert client.get(READ, headers=key).status_code == 200

    # This host's own clock has no say, however slow it is.
    monkeypatch.setattr("time.time", lambda: 0.0)
    rows(sql, "UPDATE api_keys SET revoked_at = now() RETURNING true")
    time_passes(monkeypatch, keys.KEPT)

    response = client.get(READ, headers=key)
    check_problem(response, 401, "unauthenticated")
    assert "was revoked" in response.text


@pytest.mark.parametrize(
    "ending",
    [
        "UPDATE api_keys SET revoked_at = now()",
        "DELETE FROM api_keys",
        "TRUNCATE api_keys",
        "UPDATE api_keys SET hash = sha256('another')",
    ],
)
def test_a_key_that_was_ended_by_whatever_statement_is_refused_within_five_seconds(
    client: FlaskClient,
    make: KeyMaker,
    sql: Connection,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
) -> None:
    key = bearer(make("read"))
    assert client.get(READ, headers=key).status_code == 200
    with sql.cursor() as cursor:
        cursor.execute(ending)

    time_passes(monkeypatch, keys.KEPT)

    check_problem(client.get(READ, headers=key), 401, "unauthenticated")
    assert keys.KEPT == 5


def test_a_known_key_costs_no_query(
    app: Flask, client: FlaskClient, make: KeyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bearer(make("read"))
    assert client.get("/v1/nothing", headers=key).status_code == 404
    # The clock stands, so that this holds on a machine of any speed.
    now = time.monotonic()
    monkeypatch.setattr("fleetwatt.security.keys.monotonic", lambda: now)
    asked: list[str] = []
    monkeypatch.setattr(
        app.extensions["fleetwatt"], "query_one", lambda query, **_: asked.append(query)
    )

    assert client.get("/v1/nothing", headers=key).status_code == 404
    assert asked == []


def test_nobody_is_let_in_while_the_database_can_not_say_who_it_is(
    make: KeyMaker,
) -> None:
    key = bearer(make("read"))
    away = create_app(
        Config(
            database_url="postgresql://postgres@127.0.0.1:1/x", connect_timeout=1, auth="required"
        )
    )

    response = away.test_client().get("/v1/nothing", headers=key)

    check_problem(response, 503, "unavailable")


class Unread(io.RawIOBase):
    """A body that fails the test that reads it."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> int:
        raise AssertionError("the body was read")


def test_what_a_process_counts_is_told_to_a_key_it_knows_while_the_database_is_away(
    app: Flask, client: FlaskClient, make: KeyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, new = make("read"), make("read")
    assert client.get("/metrics", headers=bearer(known)).status_code == 200

    def away(*_: object, **__: object) -> None:
        raise Unavailable("it is away")

    time_passes(monkeypatch, keys.KEPT)
    monkeypatch.setattr(app.extensions["fleetwatt"], "query_one", away)
    assert client.get("/metrics", headers=bearer(known)).status_code == 200
    for key, route in ((new, "/metrics"), (known, READ)):
        check_problem(client.get(route, headers=bearer(key)), 503, "unavailable")


def test_the_documentation_is_found_without_its_slash(client: FlaskClient) -> None:
    response = client.get("/docs")

    assert response.status_code == 308
    assert response.headers["Location"].endswith("/docs/")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_stranger_is_not_told_which_arguments_there_are(client: FlaskClient, method: str) -> None:
    path = "/v1/ingestion/mapping/V-1" if method == "DELETE" else "/v1/admin/storage"

    assert client.open(f"{path}?x=1", method=method).status_code == 401


def test_a_stranger_is_redirected_to_no_other_path(client: FlaskClient) -> None:
    for path in ("/v1//ingestion", "//v1/status/meters"):
        assert client.post(path).status_code == 401


def test_the_body_of_a_stranger_is_not_read(client: FlaskClient) -> None:
    for path in ("", "/meter", "/mapping"):
        sent = {"wsgi.input": Unread(), "CONTENT_LENGTH": "9", "CONTENT_TYPE": "application/json"}
        response = client.post(f"/v1/ingestion{path}", environ_overrides=sent)
        assert response.status_code == 401


def test_a_bound_key_writes_its_devices_alone(client: FlaskClient, make: KeyMaker) -> None:
    key = bearer(make("ingest", devices=["meter:M-1", "vehicle:V-1"]))

    for path, own in (("meter", meter(meterId="M-1")), ("vehicle", vehicle(vehicleId="V-1"))):
        assert client.post(f"/v1/ingestion/{path}", json=own, headers=key).status_code == 201
    response = client.post("/v1/ingestion/meter", json=meter(meterId="M-2"), headers=key)
    check_problem(response, 422, "invalid-readings")
    assert response.json
    assert response.json["errors"][0]["field"] == "meterId"


@pytest.mark.parametrize("path", ["", "/meter"])
def test_a_bound_key_has_each_foreign_reading_of_a_batch_rejected_by_its_index(
    client: FlaskClient, make: KeyMaker, sql: Connection, path: str
) -> None:
    key = bearer(make("ingest", devices=["meter:M-1"]))
    batch = [meter(meterId=f"M-{number}") for number in (1, 2, 1, 3)]
    batch[2]["timestamp"] = ago(minutes=5)

    response = client.post(f"/v1/ingestion{path}", json=batch, headers=key)

    assert response.status_code == 207
    assert response.json
    assert response.json["accepted"] == 2
    assert [(error["index"], error["field"]) for error in response.json["errors"]] == [
        (1, "meterId"),
        (3, "meterId"),
    ]
    assert rows(sql, "SELECT DISTINCT meter_id FROM meter_telemetry") == [("M-1",)]


def test_a_bound_key_with_atomic_stores_nothing_where_one_reading_is_foreign(
    client: FlaskClient, make: KeyMaker, sql: Connection
) -> None:
    key = bearer(make("ingest", devices=["meter:M-1"]))
    batch = [meter(meterId="M-1"), meter(meterId="M-2")]

    response = client.post("/v1/ingestion?atomic=true", json=batch, headers=key)

    check_problem(response, 422, "invalid-readings")
    assert rows(sql, "SELECT count(*) FROM meter_telemetry") == [(0,)]


def test_a_bound_key_maps_and_unplugs_its_own_vehicle_alone(
    client: FlaskClient, make: KeyMaker
) -> None:
    key = bearer(make("ingest", devices=["vehicle:V-1"]))
    everybodys = bearer(make("ingest"))

    def plug(vehicle: str, headers: dict[str, str]) -> TestResponse:
        mapping = {"vehicleId": vehicle, "meterId": "M-1"}
        return client.post("/v1/ingestion/mapping", json=mapping, headers=headers)

    assert plug("V-1", key).status_code == 201
    check_problem(plug("V-2", key), 403, "forbidden")
    assert plug("V-2", everybodys).status_code == 201
    foreign = client.delete("/v1/ingestion/mapping/V-2", headers=key)
    check_problem(foreign, 403, "forbidden")
    assert client.delete("/v1/ingestion/mapping/V-1", headers=key).status_code == 200


def test_a_failed_authentication_is_in_the_audit_log_without_the_secret(
    client: FlaskClient, make: KeyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make("read")
    # As a key without a checksum, the last character of whose secret is another.
    forged = whole[:-9] + ("A" if whole[-9] != "A" else "B")
    with caplog.at_level(logging.INFO):
        response = client.get(READ, headers=bearer(forged))

    (line,) = [record for record in caplog.records if record.name == "fleetwatt.audit"]
    assert line.getMessage() == "authentication failed"
    facts = vars(line)
    assert facts["key"] == keys.prefix_of(whole)
    assert facts["address"] == "127.0.0.1"
    assert facts["request_id"] == response.headers["X-Request-Id"]
    for record in caplog.records:
        assert forged[16:] not in str(vars(record))
    assert forged[16:] not in response.text


def test_what_a_key_may_not_do_is_in_the_audit_log(
    client: FlaskClient, make: KeyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make("ingest")
    with caplog.at_level(logging.INFO):
        client.get(READ, headers=bearer(whole))

    (line,) = [record for record in caplog.records if record.name == "fleetwatt.audit"]
    assert (line.getMessage(), vars(line)["key"]) == ("forbidden", keys.prefix_of(whole))


def test_what_a_key_does_for_a_foreign_device_is_in_the_audit_log(
    client: FlaskClient, make: KeyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    key = bearer(make("ingest", devices=["vehicle:V-1"]))
    with caplog.at_level(logging.INFO):
        client.post(
            "/v1/ingestion/mapping", json={"vehicleId": "V-2", "meterId": "M-1"}, headers=key
        )

    (line,) = [record for record in caplog.records if record.name == "fleetwatt.audit"]
    assert (line.getMessage(), vars(line)["device"]) == ("forbidden", "vehicle:V-2")


def test_an_administrators_request_is_in_the_audit_log(
    app: Flask, make: KeyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/v1/admin/test", "test", lambda: "done")
    whole = make("admin")
    client = app.test_client()
    with caplog.at_level(logging.INFO):
        assert client.get("/v1/admin/test", headers=bearer(whole)).text == "done"

    (line,) = [record for record in caplog.records if record.name == "fleetwatt.audit"]
    assert (line.getMessage(), vars(line)["path"]) == ("administration", "/v1/admin/test")
    assert client.get("/v1/admin/test", headers=bearer(make("read"))).status_code == 403


def test_with_keys_off_no_key_is_needed_and_none_harms(config: Config) -> None:
    app = create_app(replace(config, auth="off"))
    client = app.test_client()

    assert client.get(READ).status_code == 200
    assert client.get(READ, headers={"Authorization": "Bearer nonsense"}).status_code == 200
    app.extensions["fleetwatt"].close()


@pytest.mark.parametrize(("auth", "optional"), [("off", [{}]), ("required", [])])
def test_openapi_names_the_scheme_and_the_scope_of_each_operation(
    auth: str, optional: list[dict[str, Any]]
) -> None:
    document = create_app(Config(auth=auth)).test_client().get("/openapi.json").json
    assert document

    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            scope = scope_of(path, method.upper())
            expected = [*optional, {"apiKey": [scope]}] if scope else []
            if path == "/readyz":
                expected = [{}, {"apiKey": ["read"]}]
            if path == "/v1/key":
                expected = [{}, {"apiKey": []}]
            assert operation["security"] == expected
            assert ({"401", "403"} <= set(operation["responses"])) == bool(scope)


def test_every_scope_that_routes_need_can_be_given_to_a_key() -> None:
    assert {scope for scope in SCOPES.values() if scope} == set(keys.SCOPES)


def test_a_key_of_a_meter_writes_for_no_vehicle_of_the_same_id(
    client: FlaskClient, make: KeyMaker
) -> None:
    key = bearer(make("ingest", devices=["meter:X-1"]))

    assert post(client, meter(meterId="X-1"), key).status_code == 201
    check_problem(post(client, vehicle(vehicleId="X-1"), key), 422, "invalid-readings")
    mapping = {"vehicleId": "X-1", "meterId": "X-1"}
    mapped = client.post("/v1/ingestion/mapping", json=mapping, headers=key)
    check_problem(mapped, 403, "forbidden")


def test_a_device_whose_id_has_a_colon_is_bound_as_a_whole(
    client: FlaskClient, make: KeyMaker
) -> None:
    key = bearer(make("ingest", devices=["meter:vehicle:1"]))

    assert post(client, meter(meterId="vehicle:1"), key).status_code == 201
    check_problem(post(client, vehicle(vehicleId="1"), key), 422, "invalid-readings")


def test_a_key_that_was_made_before_kinds_writes_for_both(
    client: FlaskClient, make: KeyMaker, sql: Connection
) -> None:
    key = bearer(make("ingest", devices=["X-1"]))
    rows(sql, "UPDATE api_keys SET names_kinds = false RETURNING true")

    assert post(client, meter(meterId="X-1"), key).status_code == 201
    assert post(client, vehicle(vehicleId="X-1"), key).status_code == 201
    check_problem(post(client, meter(meterId="X-2"), key), 422, "invalid-readings")


def test_a_key_without_a_checksum_goes_on_working(client: FlaskClient, sql: Connection) -> None:
    whole = f"fw_{'0' * 12}_{'A' * 43}"
    with sql.cursor() as cursor:
        cursor.execute(
            "INSERT INTO api_keys (prefix, hash, name, scopes) VALUES (%s, %s, '', '{read}')",
            (whole[:15], keys.digest(whole)),
        )

    assert client.get(READ, headers=bearer(whole)).status_code == 200


def post(client: FlaskClient, reading: dict[str, Any], headers: dict[str, str]) -> TestResponse:
    return client.post("/v1/ingestion", json=reading, headers=headers)
