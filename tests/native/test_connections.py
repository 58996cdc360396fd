"""Sessions of the database."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace

import pytest

from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from tests.conftest import rows

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)


def search_path_and_timeout(config: Config) -> tuple[str, str]:
    with closing(connect(replace(config, statement_timeout=7))) as connection:
        ((path,),) = rows(connection, "SELECT current_setting('search_path')")
        ((timeout,),) = rows(connection, "SELECT current_setting('statement_timeout')")
    return path, timeout


def test_options_of_the_url_count_beside_ours(config: Config) -> None:
    mark = "&" if "?" in config.database_url else "?"
    url = f"{config.database_url}{mark}options=-csearch_path%3Dof_ours"

    assert search_path_and_timeout(replace(config, database_url=url)) == ("of_ours", "7s")


def test_options_of_the_environment_count_beside_ours(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=of_ours")

    assert search_path_and_timeout(config) == ("of_ours", "7s")
