from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import PREFIX, SETTINGS, Config, ConfigError, Setting

GIVEN = {
    "log_level": "DEBUG",
    "log_format": "text",
    "auth": "required",
    "auth_off_anywhere": "yes",
    "cors_origins": "https://dash.example.com",
    "key_limit": "100/second",
    "address_limit": "",
    "failure_limit": "5/hour",
    "unknown_fields": "ignore",
    "limits_storage": "redis://:hush@cache:6379/1",
    "nats_url": "nats://fleetwatt:hush@one:4222, nats://two:4222",
    "nats_required": "yes",
    "nats_replicas": "3",
}
URL = "postgresql://app:hush@db/fleet"


def test_without_an_environment_the_defaults_hold() -> None:
    assert Config.from_environment({}) == Config()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_is_read_from_its_variable(setting: Setting) -> None:
    number = isinstance(setting.default, int | float)
    text = GIVEN.get(setting.name, "17" if number else "something")

    config = Config.from_environment({f"{PREFIX}{setting.name.upper()}": text})

    assert getattr(config, setting.name) == type(setting.default)(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "http"),
        ("PORT", ""),
        ("PORT", "65536"),
        ("WORKERS", "-1"),
        ("THREADS", "0"),
        ("POOL_SIZE", "0"),
        ("POOL_TIMEOUT", "nan"),
        ("QUEUE_SIZE", "1.5"),
        ("CONNECT_TIMEOUT", "5s"),
        ("CONNECT_TIMEOUT", "0"),
        ("STATEMENT_TIMEOUT", "inf"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("AUTH", "no"),
        ("AUTH", ""),
        ("AUTH_OFF_ANYWHERE", "true"),
        ("KEY_LIMIT", "many"),
        ("ADDRESS_LIMIT", "0/minute"),
        ("FAILURE_LIMIT", "5/fortnight"),
        ("PROXIES", "-1"),
        ("READ_TIMEOUT", "inf"),
        ("READ_TIMEOUT", "0"),
    ],
)
def test_a_value_that_a_setting_can_not_have_is_refused_by_its_variable(
    name: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{PREFIX}{name}='{text}'"):
        Config.from_environment({PREFIX + name: text})


@pytest.mark.parametrize(
    ("name", "text", "legal"),
    [
        ("PORT", "http", "a whole number from 0 to 65,535"),
        ("THREADS", "0", "a whole number from 1 on (threads)"),
        ("POOL_TIMEOUT", "5s", "a number from 0 to 1,000,000 (s)"),
        ("LATENESS", "7d", "a whole number from 1 on (days)"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR"),
        ("KEY_LIMIT", "many", "as 60/minute; or empty"),
    ],
)
def test_a_value_that_is_refused_is_told_what_it_may_be(name: str, text: str, legal: str) -> None:
    with pytest.raises(ConfigError, match=f"{text}': must be .*{re.escape(legal)}$"):
        Config.from_environment({PREFIX + name: text})


def test_a_secret_that_is_refused_is_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_environment({f"{PREFIX}LIMITS_STORAGE": "memcached://:hush@cache"})

    assert str(refused.value) == (
        "FLEETWATT_LIMITS_STORAGE=(secret): must be a redis:// or rediss:// URL, or empty"
    )


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_what_a_setting_may_be_is_in_words(setting: Setting) -> None:
    assert setting.kind is str or setting.legal


def test_a_command_takes_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETWATT_DATABASE_URL", "postgresql://127.0.0.1/any")
    monkeypatch.setenv("FLEETWATT_STATEMENT_TIMEOUT", "5")

    config = Config.of_a_command()

    assert (config.statement_timeout, config.write_timeout) == (0, 0)


def test_other_variables_are_left_alone() -> None:
    assert Config.from_environment({"PORT": "1", f"{PREFIX}OTHER": "1"}) == Config()


TO_WRITE = "target_session_attrs=read-write"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db/fleet",
        "postgresql://app:a,b@db/fleet",
        "postgresql://db/fleet?options=-csearch_path%3Done,two",
        "host=db dbname=fleet",
        f"postgresql://app:hush@a:5432,b:5433/fleet?{TO_WRITE}",
        "postgresql://a,b/fleet?sslmode=require&target_session_attrs=primary",
        f"host=a,b {TO_WRITE}",
    ],
)
def test_a_database_of_one_host_or_of_several_to_find_the_primary_among_is_taken(url: str) -> None:
    assert Config.from_environment({"FLEETWATT_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a,b/fleet",
        "postgresql://app:a,b@a:5432,b:5433",
        "postgres://a,b/fleet?target_session_attrs=any",
        "postgresql:///fleet?host=a,b",
        "host=a,b dbname=fleet",
    ],
)
def test_of_several_hosts_any_may_be_a_standby_that_takes_no_writes(url: str) -> None:
    with pytest.raises(ConfigError, match="several hosts has target_session_attrs=read-write") as e:
        Config.from_environment({"FLEETWATT_DATABASE_URL": url})

    assert "a,b" not in str(e.value)


def test_the_command_lists_every_setting_and_no_secret() -> None:
    shown = CliRunner().invoke(fleetwatt, ["config"], env={f"{PREFIX}DATABASE_URL": URL}).output

    assert "hush" not in shown
    assert all(f"{setting.variable} = " in shown for setting in SETTINGS)


def test_a_config_in_a_log_or_a_traceback_shows_no_secret() -> None:
    assert "hush" not in repr(Config(database_url=URL))


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if setting.secret])
def test_a_secret_is_shown_as_set_or_not(name: str) -> None:
    (secret,) = [setting for setting in SETTINGS if setting.name == name]

    given = Config.from_environment({secret.variable: GIVEN.get(name, URL)})
    assert secret.shown(given) == "(set)"
    assert secret.shown(Config()) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "example.com"])
def test_serving_without_keys_to_other_machines_has_to_be_said_twice(host: str) -> None:
    for refused in (Config(), Config(auth="off")):
        with pytest.raises(ConfigError, match="FLEETWATT_AUTH"):
            refused.check_address(host)

    Config(auth="off", auth_off_anywhere="yes").check_address(host)
    Config(auth="required").check_address(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_may_be_served_without_keys(host: str) -> None:
    Config(auth="off").check_address(host)


def test_an_app_that_would_let_in_everybody_does_not_start() -> None:
    with pytest.raises(ConfigError, match="FLEETWATT_AUTH_OFF_ANYWHERE=yes"):
        create_app(Config(host="0.0.0.0"))


@pytest.mark.parametrize(
    ("host", "netloc"),
    [("0.0.0.0", "0.0.0.0:80"), ("localhost", "localhost:80"), ("::1", "[::1]:80")],
)
def test_an_ipv6_address_is_listened_on_in_brackets(host: str, netloc: str) -> None:
    assert Config(host=host, port=80).netloc == netloc
