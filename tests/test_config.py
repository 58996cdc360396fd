from __future__ import annotations

import pytest
from click.testing import CliRunner

from fleetwatt.cli import fleetwatt
from fleetwatt.config import PREFIX, SETTINGS, Config, ConfigError, Setting

GIVEN = {"log_level": "DEBUG", "log_format": "text"}
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
        ("STATEMENT_TIMEOUT", "inf"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_value_that_a_setting_can_not_have_is_refused_by_its_variable(
    name: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{PREFIX}{name}='{text}'"):
        Config.from_environment({PREFIX + name: text})


def test_other_variables_are_left_alone() -> None:
    assert Config.from_environment({"PORT": "1", f"{PREFIX}OTHER": "1"}) == Config()


def test_the_command_lists_every_setting_and_no_secret() -> None:
    shown = CliRunner().invoke(fleetwatt, ["config"], env={f"{PREFIX}DATABASE_URL": URL}).output

    assert "hush" not in shown
    assert all(f"{setting.variable} = " in shown for setting in SETTINGS)


def test_a_config_in_a_log_or_a_traceback_shows_no_secret() -> None:
    assert "hush" not in repr(Config(database_url=URL))


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if setting.secret])
def test_a_secret_is_shown_as_set_or_not(name: str) -> None:
    (secret,) = [setting for setting in SETTINGS if setting.name == name]

    assert secret.shown(Config.from_environment({secret.variable: URL})) == "(set)"
    assert secret.shown(Config()) == ""
