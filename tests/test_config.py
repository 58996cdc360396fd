from __future__ import annotations

import pytest
from click.testing import CliRunner

from fleetwatt.cli import fleetwatt
from fleetwatt.config import SETTINGS, Config, ConfigError


def test_without_an_environment_the_defaults_hold() -> None:
    assert Config.from_environment({}) == Config()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_is_read_from_its_variable(setting: object) -> None:
    name, default = setting.name, setting.default  # type: ignore[attr-defined]
    text = "17" if isinstance(default, int | float) else "something"

    config = Config.from_environment({f"FLEETWATT_{name.upper()}": text})

    assert getattr(config, name) == type(default)(text)


def test_a_value_of_the_wrong_kind_is_refused_by_its_variable() -> None:
    with pytest.raises(ConfigError, match="FLEETWATT_PORT='http'"):
        Config.from_environment({"FLEETWATT_PORT": "http"})


def test_the_command_lists_every_setting_and_no_secret() -> None:
    url = "postgresql://app:secret@db/fleet"

    shown = CliRunner().invoke(fleetwatt, ["config"], env={"FLEETWATT_DATABASE_URL": url}).output

    assert "secret" not in shown
    assert all(f"{setting.variable} = " in shown for setting in SETTINGS)
