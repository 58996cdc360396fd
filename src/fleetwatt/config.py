"""Settings: name, default, unit and meaning, read once from FLEETWATT_* in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "FLEETWATT_"


class ConfigError(Exception):
    """A setting has a value that it can't have; the message names the variable."""


def _setting(default: Any, meaning: str, *, unit: str = "", secret: bool = False) -> Any:
    return field(default=default, metadata={"meaning": meaning, "unit": unit, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of fleetwatt; `SETTINGS` describes them."""

    database_url: str = _setting(
        "",
        "libpq URL of the TimescaleDB to serve on; empty: `fleetwatt dev` runs an embedded one",
        secret=True,
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8000, "port to listen on")
    workers: int = _setting(0, "worker processes; 0: one a core", unit="processes")
    threads: int = _setting(32, "requests served at once by a worker", unit="threads")
    data_dir: str = _setting(".fleetwatt", "folder of the embedded database")
    pool_size: int = _setting(4, "database connections of a worker", unit="connections")
    pool_timeout: float = _setting(
        5.0, "longest wait for a free connection before the answer is 503", unit="s"
    )
    queue_size: int = _setting(
        100_000, "readings of a worker that may wait to be written; past it 503", unit="readings"
    )
    connect_timeout: int = _setting(5, "longest wait for the database to answer", unit="s")
    statement_timeout: float = _setting(30.0, "longest run of one statement", unit="s")
    log_level: str = _setting("INFO", "least severe level that is logged: DEBUG … ERROR")
    log_format: str = _setting("json", "`json`, one object a line, or `text`")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Config:
        """Read the settings.

        Raises:
            ConfigError: A value is not of its setting's type.
        """
        given = {}
        for setting in SETTINGS:
            text = environ.get(setting.variable)
            if text is None:
                continue
            try:
                given[setting.name] = msgspec.convert(text, type(setting.default), strict=False)
            except msgspec.ValidationError as error:
                raise ConfigError(f"{setting.variable}={text!r}: {error}") from None
        return cls(**given)


@dataclass(frozen=True)
class Setting:
    """One setting, as `fleetwatt config` lists it."""

    name: str
    default: Any
    meaning: str
    unit: str
    secret: bool

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    def shown(self, config: Config) -> str:
        """Return the value for people's eyes: a secret only as set or not."""
        value = getattr(config, self.name)
        if self.secret and value:
            return "(set)"
        return f"{value} {self.unit}".rstrip()


SETTINGS = tuple(Setting(each.name, each.default, **each.metadata) for each in fields(Config))
