"""What CONTRIBUTING says of a stream and of a field more: an entry and a migration, nothing else.

Each made-up one has a folder here: `entry.py`, its files of `migrations`, and `follow.py`, the
tests that follow it. They run in a process of their own, where the entry is one of STREAMS and the
migration lies in a copy of db/, on a database that this release has made already.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import migrations
from fleetwatt.embedded.database import EmbeddedDatabase
from tests.conftest import copied
from tests.native.server import NativeServer

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# A DBA's own.
VIEW = "CREATE VIEW of_a_dba AS SELECT meter_id, age_seconds FROM meter_status"


@pytest.fixture
def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of the test's own, made by this release, on which a DBA has built."""
    with contextlib.ExitStack() as opened:
        if os.environ.get("FLEETWATT_NATIVE"):
            url = opened.enter_context(NativeServer()).url
            connection = opened.enter_context(closing(connect(Config(database_url=url))))
            list(migrations.upgrade(connection))
        else:
            template = request.getfixturevalue("embedded_template")
            data = copied(template, tmp_path / "database")
            url = opened.enter_context(EmbeddedDatabase(data)).url
        with closing(psycopg2.connect(url)) as connection, connection:
            connection.cursor().execute(VIEW)
        yield url


@pytest.mark.parametrize(("name", "stream"), [("charger", "charger"), ("frequency", "meter")])
def test_it_takes_an_entry_and_a_migration(
    name: str, stream: str, upgraded: str, tmp_path: Path
) -> None:
    schema = tmp_path / "packages" / "fleetwatt_db"
    shutil.copytree(ROOT / "db", schema)
    shutil.copytree(HERE / name / "migrations", schema / "migrations", dirs_exist_ok=True)
    # All that follows it, and the stream's queries.
    chosen = ("-k", f"{name} or {stream} or tables_of_a_stream")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-p", f"tests.made_up.{name}.entry", *chosen),
            *(HERE / name / "follow.py", "tests/database/test_queries.py"),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": f"{schema.parent}:{ROOT}",
            "FLEETWATT_TEST_DATABASE_URL": upgraded,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
