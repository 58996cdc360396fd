"""`fleetwatt keys`: a key is made once, kept as a hash, listed without its secret, and ended."""

from __future__ import annotations

import json
import logging
import os
import pwd
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest
from click.testing import CliRunner, Result
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import Config
from fleetwatt.security import keys
from tests.conftest import rows

Command = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Command:
    def command(*arguments: str) -> Result:
        environment = {"FLEETWATT_DATABASE_URL": database_url}
        return CliRunner().invoke(fleetwatt, ["keys", *arguments], env=environment)

    return command


@pytest.fixture
def admitted(database_url: str) -> Callable[[str], bool]:
    """Whether a service that knows nothing yet lets a key read."""

    def asked(key: str) -> bool:
        config = Config(database_url=database_url, pool_size=1, auth="required")
        app = create_app(config)
        headers = {"Authorization": f"Bearer {key}"}
        status = app.test_client().get("/v1/mappings", headers=headers).status_code
        app.extensions["fleetwatt"].close()
        assert status in {200, 401}
        return status == 200

    return asked


def made(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def only_prefix(whole: str) -> str:
    prefix = keys.prefix_of(whole)
    assert prefix
    return prefix


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(
    run: Command, admitted: Callable[[str], bool]
) -> None:
    whole = made(run("create", "--scope", "read"))

    assert only_prefix(whole)
    assert admitted(whole)


def test_a_key_holds_256_random_bits_and_no_two_are_alike() -> None:
    several = {keys.generate()[1] for _ in range(100)}

    assert len(several) == 100
    assert all(len(whole.split("_", 2)[2]) == 43 + 8 for whole in several)  # and a checksum


def test_the_database_has_a_hash_of_it_and_nothing_of_its_secret(
    run: Command, sql: Connection
) -> None:
    whole = made(run("create", "--scope", "read", "--name", "wallboard"))

    [(row, hashed)] = rows(sql, "SELECT api_keys::text, hash FROM api_keys")
    assert bytes(hashed) == sha256(whole.encode()).digest()
    assert whole.split("_", 2)[2] not in row


def test_where_there_are_no_keys_the_list_says_so(run: Command) -> None:
    assert run("list").stdout == "There are no keys.\n"
    assert json.loads(run("list", "--json").stdout) == []


def test_what_a_key_may_do_is_listed_without_its_secret(run: Command) -> None:
    whole = made(
        run(
            *("create", "--scope", "ingest", "--name", "gate 7"),
            *("--device", "meter:M-1", "--device", "vehicle:V-1"),
        )
    )

    listed = run("list")

    assert whole.split("_", 2)[2] not in listed.output
    for said in (
        only_prefix(whole),
        "valid",
        "ingest",
        "gate 7",
        "meter:M-1,vehicle:V-1",
        "expires never",
    ):
        assert said in listed.stdout


def test_the_list_comes_as_json_too(run: Command) -> None:
    whole = made(run("create", "--scope", "ingest", "--device", "meter:M-1", "--expires", "90d"))

    (key,) = json.loads(run("list", "--json").stdout)

    assert key["prefix"] == only_prefix(whole)
    assert key["scopes"] == ["ingest"]
    assert key["devices"] == ["meter:M-1"]
    assert key["state"] == "valid"


@pytest.mark.parametrize(
    ("text", "span"),
    [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("2w", timedelta(weeks=2))],
)
def test_a_key_expires_after_what_was_asked(
    run: Command, sql: Connection, text: str, span: timedelta
) -> None:
    made(run("create", "--scope", "read", "--expires", text))

    assert rows(sql, "SELECT expires_at - created_at FROM api_keys") == [(span,)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scope", "read", "--device", "meter:M-1"], "--scope ingest alone"),
        (["--scope", "ingest", "--scope", "read", "--device", "meter:M-1"], "--scope ingest alone"),
        (["--scope", "write"], "'write' is not one of"),
        ([], "--scope"),
        (["--scope", "read", "--expires", "soon"], "'soon' is not a duration"),
        (["--scope", "read", "--expires", "0d"], "'--expires': 0d is out of range"),
        (["--scope", "read", "--expires", "999999999w"], "out of range"),
        (["--scope", "ingest", "--device", "meter:M 1"], "'M 1' can't be a device's id"),
        (["--scope", "ingest", "--device", "M-1"], "meter:ID or vehicle:ID"),
        (["--scope", "read", "--name", "one\nfw_0"], "'--name': must be up to 200 characters"),
        (["--scope", "read", "--name", "a" * 201], "'--name': must be up to 200 characters"),
    ],
)
def test_a_key_that_can_not_be_meant_is_refused_with_the_option(
    run: Command, sql: Connection, arguments: list[str], said: str
) -> None:
    result = run("create", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert rows(sql, "SELECT count(*) FROM api_keys") == [(0,)]


def test_a_user_without_a_name_is_told_by_number_and_gets_the_key(
    run: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container that runs with any number: its passwd has no such user."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)

    with caplog.at_level(logging.INFO):
        whole = made(run("create", "--scope", "read"))

    assert keys.prefix_of(whole)
    assert [vars(record)["by"] for record in caplog.records if record.message == "key created"] == [
        str(os.getuid())
    ]


def test_a_revoked_key_is_refused(run: Command, admitted: Callable[[str], bool]) -> None:
    whole = made(run("create", "--scope", "read"))

    result = run("revoke", only_prefix(whole))

    assert result.exit_code == 0
    assert "within 5 seconds" in result.stderr
    assert not admitted(whole)
    assert "revoked" in run("list").stdout


def test_a_key_pasted_whole_is_revoked_too(run: Command, admitted: Callable[[str], bool]) -> None:
    whole = made(run("create", "--scope", "read"))

    assert run("revoke", whole).exit_code == 0
    assert not admitted(whole)


def test_revoking_again_changes_nothing(run: Command, sql: Connection) -> None:
    prefix = only_prefix(made(run("create", "--scope", "read")))
    run("revoke", prefix)
    first = rows(sql, "SELECT revoked_at FROM api_keys")

    assert run("revoke", prefix).exit_code == 0
    assert rows(sql, "SELECT revoked_at FROM api_keys") == first


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_an_unknown_key_is_said_to_be_unknown(run: Command, command: str) -> None:
    result = run(command, "fw_000000000000")

    assert result.exit_code == 1
    assert "there is no key fw_000000000000" in result.stderr


def test_rotating_makes_a_key_of_the_same_rights_and_ends_the_old_one(
    run: Command, sql: Connection, admitted: Callable[[str], bool]
) -> None:
    old = made(run("create", "--scope", "read", "--expires", "90d", "--name", "wallboard"))

    new = made(run("rotate", only_prefix(old)))

    assert admitted(new)
    assert not admitted(old)
    same = "SELECT DISTINCT name, scopes, devices, expires_at - created_at FROM api_keys"
    assert rows(sql, same) == [("wallboard", ["read"], None, timedelta(days=90))]


def test_rotating_with_grace_leaves_the_old_one_valid_until_then(
    run: Command, sql: Connection, admitted: Callable[[str], bool]
) -> None:
    old = made(run("create", "--scope", "read"))

    new = made(run("rotate", only_prefix(old), "--grace", "1d"))

    assert admitted(new)
    assert admitted(old)
    left = f"SELECT revoked_at - now() FROM api_keys WHERE prefix = '{only_prefix(old)}'"
    [(grace,)] = rows(sql, left)
    assert timedelta(hours=23) < grace <= timedelta(days=1)


def test_a_key_that_has_ended_is_not_rotated(run: Command) -> None:
    prefix = only_prefix(made(run("create", "--scope", "read")))
    run("revoke", prefix)

    assert run("rotate", prefix).exit_code == 1
    assert run("list").stdout.count("fw_") == 1


def test_each_act_is_in_the_audit_log_with_who_did_it_and_no_secret(
    run: Command, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "dba")
    with caplog.at_level(logging.INFO, "fleetwatt.audit"):
        old = made(run("create", "--scope", "read"))
        new = made(run("rotate", only_prefix(old)))
        run("revoke", only_prefix(new))

    assert [
        (record.getMessage(), vars(record)["key"], vars(record)["by"]) for record in caplog.records
    ] == [
        ("key created", only_prefix(old), "dba"),
        ("key rotated", only_prefix(new), "dba"),
        ("key revoked", only_prefix(new), "dba"),
    ]
    for record in caplog.records:
        for whole in (old, new):
            assert whole.split("_", 2)[2] not in str(vars(record))


@pytest.mark.parametrize(
    "row",
    [
        "('fw_1', 'short', '', '{read}', NULL)",
        "('fw_1', sha256('x'), '', '{}', NULL)",
        "('fw_1', sha256('x'), '', '{write}', NULL)",
        "('fw_1', sha256('x'), '', '{read}', '{M-1}')",
        "('fw_1', sha256('x'), '', '{ingest}', '{}')",
    ],
    ids=["no hash", "no scope", "unknown scope", "devices for reading", "no device"],
)
def test_the_database_takes_no_key_that_makes_no_sense(sql: Connection, row: str) -> None:
    with sql.cursor() as cursor, pytest.raises(Exception, match="violates check constraint"):
        cursor.execute(f"INSERT INTO api_keys (prefix, hash, name, scopes, devices) VALUES {row}")


def test_a_key_that_names_no_kind_is_warned_of(run: Command, sql: Connection) -> None:
    run("create", "--scope", "ingest", "--device", "meter:M-1")
    assert "Warning" not in run("list").output
    with sql.cursor() as cursor:
        cursor.execute("UPDATE api_keys SET devices = '{M-1}', names_kinds = false")

    assert "without their kind" in run("list").output
