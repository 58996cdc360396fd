"""The embedded database over its life: start, kill, start again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import psycopg2
import pytest

from fleetwatt.embedded import node
from fleetwatt.embedded.database import EmbeddedDatabase, EmbeddedDatabaseError
from tests.conftest import copied, rows


@pytest.fixture
def folder(embedded_template: Path, tmp_path: Path) -> Path:
    """A folder that a database was stopped on, since most tests are about no first start."""
    return copied(embedded_template, tmp_path)


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def test_a_kill_under_load_loses_nothing_that_was_acknowledged(folder: Path) -> None:
    acknowledged: list[int] = []
    enough = Event()

    def write(database: EmbeddedDatabase, first: int) -> None:
        try:
            with closing(psycopg2.connect(database.url)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    for number in range(first, 1_000_000, 4):
                        cursor.execute("INSERT INTO noted VALUES (%s)", (number,))
                        acknowledged.append(number)
                        if len(acknowledged) > 400:
                            enough.set()
        except psycopg2.Error:
            pass

    with EmbeddedDatabase(folder) as database:
        execute(database.url, "CREATE TABLE noted (number int)")
        writers = [Thread(target=write, args=(database, first)) for first in range(4)]
        for writer in writers:
            writer.start()
        assert enough.wait(60)
        assert database.process
        database.process.kill()
        for writer in writers:
            writer.join()

    with (
        EmbeddedDatabase(folder) as again,
        closing(psycopg2.connect(again.url)) as connection,
    ):
        stored = [number for (number,) in rows(connection, "SELECT number FROM noted")]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)


def test_community_functions_work_on_a_folder_that_is_opened_again(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path) as database:
        execute(
            database.url,
            "CREATE EXTENSION timescaledb",
            "CREATE TABLE noted (time timestamptz NOT NULL, value float8)",
            "SELECT create_hypertable('noted', by_range('time', INTERVAL '1 hour'))",
            "INSERT INTO noted SELECT now() - n * INTERVAL '1 h', n FROM generate_series(1, 99) n",
            "CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS "
            "SELECT time_bucket('1 day', time) AS day, count(*) FROM noted GROUP BY 1 WITH NO DATA",
        )
    with EmbeddedDatabase(tmp_path) as again:
        execute(again.url, "CALL refresh_continuous_aggregate('daily', NULL, NULL)")
        with closing(psycopg2.connect(again.url)) as connection:
            connection.autocommit = True
            assert rows(connection, "SELECT sum(count) FROM daily") == [(99,)]
            [(job,)] = rows(connection, "SELECT add_retention_policy('noted', INTERVAL '1 hour')")
            execute(again.url, f"CALL run_job({job})")
            assert rows(connection, "SELECT count(*) < 99 FROM noted") == [(True,)]


def test_a_second_start_on_a_folder_in_use_is_refused(folder: Path) -> None:
    with (
        EmbeddedDatabase(folder),
        pytest.raises(EmbeddedDatabaseError, match=f"{folder} is in use.*{os.getpid()}"),
    ):
        EmbeddedDatabase(folder).start()


def test_a_folder_whose_database_was_killed_is_free(folder: Path) -> None:
    killed = EmbeddedDatabase(folder)
    killed.start()
    assert killed.process
    killed.process.kill()
    killed.stop()

    with EmbeddedDatabase(folder) as database:
        execute(database.url, "SELECT 1")


def test_a_killed_database_starts_again_where_it_was(folder: Path) -> None:
    with EmbeddedDatabase(folder) as database:
        assert database.process
        url = database.url
        database.process.kill()
        database.process.wait()
        assert not database.is_running

        database.start()

        assert database.url == url
        execute(url, "SELECT 1")


def test_a_first_start_that_was_killed_half_way_is_made_good(tmp_path: Path) -> None:
    database = EmbeddedDatabase(tmp_path)

    def kill_half_way() -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pgdata" / "PG_VERSION").exists():
            assert time.monotonic() < deadline, "it never came half way"
            time.sleep(0.01)
        assert database.process
        database.process.kill()

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_half_way)
        with pytest.raises(EmbeddedDatabaseError, match="did not start"):
            database.start()
        killing.result()

    with database:
        execute(database.url, "CREATE EXTENSION timescaledb")


def test_a_failure_to_start_tells_why_and_frees_the_folder(tmp_path: Path) -> None:
    (tmp_path / "pgdata").write_text("not a folder")
    database = EmbeddedDatabase(tmp_path)
    with pytest.raises(EmbeddedDatabaseError, match="did not start"):
        database.start()
    assert not database.is_running

    (tmp_path / "pgdata").unlink()
    with EmbeddedDatabase(tmp_path) as second:
        execute(second.url, "SELECT 1")


def test_a_folder_that_can_not_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EmbeddedDatabaseError, match=r"can't write to .*FLEETWATT_DATA_DIR"):
        EmbeddedDatabase(tmp_path / "file").start()


def test_it_stops_when_its_parent_is_gone(folder: Path) -> None:
    with EmbeddedDatabase(folder) as database:
        assert database.process
        assert database.process.stdin
        database.process.stdin.close()

        assert database.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_on_a_signal_even_inside_a_transaction(
    folder: Path, number: signal.Signals
) -> None:
    with EmbeddedDatabase(folder) as database:
        assert database.process
        with closing(psycopg2.connect(database.url)) as connection:
            rows(connection, "SELECT 1")
            database.process.send_signal(number)

            assert database.process.wait(60) == 0
            assert database.was_stopped


@pytest.mark.parametrize("broken", [None, "#!/bin/sh\necho v18.0.0\n", "not a program"])
def test_node_is_found_where_only_the_package_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str | None
) -> None:
    if broken:
        (tmp_path / "node").write_text(broken)
        (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = node.find()

    assert Path(found).parent != tmp_path
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("v")


def test_npm_says_what_it_fetches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    installed = tmp_path / "node_modules" / ".package-lock.json"
    installed.parent.mkdir()
    (tmp_path / "package-lock.json").touch()
    (tmp_path / "node").symlink_to(node.find())
    (tmp_path / "npm").write_text(f'#!/bin/sh\necho "npm $*"\n: >{installed}\n')
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(node, "FOLDER", tmp_path)

    node.install()

    begun, npm = capfd.readouterr().out.splitlines()
    assert begun == "Installing the embedded database (npm ci) …"
    assert npm.startswith("npm ci ")
    assert "--loglevel http" in npm


def test_the_embedded_database_is_installed_without_running_its_scripts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = {"name": "scripted", "version": "1.0.0"}
    package = named | {"scripts": {"install": "node -e \"require('fs').writeFileSync('ran', '')\""}}
    lock = named | {"lockfileVersion": 3, "packages": {"": named}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    monkeypatch.setattr(node, "FOLDER", tmp_path)
    installed = tmp_path / "node_modules" / ".package-lock.json"
    installed.parent.mkdir()
    monkeypatch.setattr(Path, "touch", lambda _: None)  # without packages npm leaves no folder

    node.install()

    assert not (tmp_path / "ran").exists()
