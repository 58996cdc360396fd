"""Brings the schema up to date from the SQL files of db/ (why not a library: decision 0002).

Files of db/migrations are applied once, in order. Files of db/repeatable are applied again when
they change, those of its folder per_stream once for each stream. Each file is one transaction under
one advisory lock, together with its row in `fleetwatt_schema`: a crash leaves nothing half done and
no lock behind. A change of edition is one transaction with all its files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from psycopg2 import errors

from fleetwatt.database import queries
from fleetwatt.database.errors import (
    UPGRADE,
    EditionChanged,
    MigrationChanged,
    SchemaBehind,
    translated,
)
from fleetwatt.database.pool import Row, fetch
from fleetwatt.database.schema import roles, turns
from fleetwatt.database.schema.editions import (
    EDITIONS,
    edition,
    ensure_timescaledb,
    offered_edition,
)
from fleetwatt.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

    from psycopg2.extensions import connection as Connection

_TABLE = """
CREATE TABLE IF NOT EXISTS fleetwatt_schema (
    file       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_RECORD = """
INSERT INTO fleetwatt_schema (file, checksum) VALUES (%s, %s)
ON CONFLICT (file) DO UPDATE SET checksum = excluded.checksum, applied_at = now()
"""
# Files that this release has no more. Their rows stay: an older release looks for them.
_RETIRED = frozenset({"repeatable/aggregates.sql", "repeatable/status.sql"})
# Functions with their owner's rights keep the path that they were made on: else a caller
# could put a temporary table in the place of one of ours.
_TEMPORARY_LAST = """
SELECT set_config('search_path', concat_ws(', ', current_setting('search_path'), 'pg_temp'), false)
WHERE current_setting('search_path') !~ 'pg_temp'
"""
_FORGET = "DELETE FROM fleetwatt_schema WHERE file = ANY (%s) OR file LIKE 'repeatable/%%'"


@dataclass(frozen=True)
class Script:
    """A file of db/, by its name without the edition's folder."""

    file: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def number(self) -> int:
        """The migration's, which its name begins with."""
        return int(self.file.rpartition("/")[2].partition("_")[0])

    @property
    def repeatable(self) -> bool:
        return self.file.startswith("repeatable/")


def scripts(edition_name: str) -> list[Script]:
    """Return what an edition's schema is made of, in the order in which it is applied."""
    folder = files("fleetwatt_db")
    once = _texts(folder.joinpath("migrations"))
    of_edition = _texts(folder.joinpath("migrations", edition_name))
    # A migration may have a part that the editions share and one of its edition, which follows.
    parts = [(name, "", text) for name, text in once.items()] + [
        (name, f"{edition_name}/" if name in once else "", text)
        for name, text in of_edition.items()
    ]
    migrations = [Script(f"migrations/{part}{name}", text) for name, part, text in sorted(parts)]
    repeatable = folder.joinpath("repeatable")
    shared = _texts(repeatable) | _texts(repeatable.joinpath(edition_name))
    per_stream = repeatable.joinpath("per_stream")
    templates = _texts(per_stream) | _texts(per_stream.joinpath(edition_name))
    of_streams = {
        f"{stream.name}_{name}": queries.of_stream(text, stream)
        for name, text in templates.items()
        for stream in STREAMS
    }
    # Those of the streams last, as they are made of what is there once.
    return migrations + [
        Script(f"repeatable/{name}", text)
        for texts in (shared, of_streams)
        for name, text in sorted(texts.items())
    ]


def _texts(folder: Traversable) -> dict[str, str]:
    """Return the SQL files that lie in a folder itself, by their names."""
    return {
        file.name: file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }


def upgrade(connection: Connection, until: int | None = None) -> Iterator[str]:
    """Apply what is missing, yielding each file's name when it is committed.

    Args:
        connection: To the database.
        until: The number of the last migration to apply, and nothing else: what the release before
            serves with stays as it is. None: everything.

    Raises:
        Busy: Another session holds the lock by which upgrades take turns.
        EditionChanged: The schema was made for an edition that this one can't take over from.
        MigrationChanged: A migration that was applied has been edited since.
        UnsupportedServer: The server is none that fleetwatt runs on.
    """
    with translated():
        with turns.taken(connection):
            name = ensure_timescaledb(connection)
        with connection, connection.cursor() as cursor:
            cursor.execute(_TEMPORARY_LAST)
        with turns.taken(connection) as cursor:
            cursor.execute(_TABLE)
            changed = _change_edition(connection, name)
        yield from changed
        for script in scripts(name):
            if until is not None and (script.repeatable or script.number > until):
                continue
            # Two upgrades at once take turns, file by file; the second finds the work done.
            with turns.taken(connection):
                applied = _apply(connection, script)
            if applied:
                yield script.file
        if until is None and roles.exist(connection):
            # What is new belongs to the owner, and the service has to be let in.
            roles.apply(connection)


def pending(connection: Connection, until: int | None = None) -> list[str]:
    """Return the files that an upgrade would apply, in order; nothing is changed.

    Args:
        connection: To the database.
        until: As `upgrade` has it.

    Raises:
        EditionChanged, MigrationChanged, UnsupportedServer: As `upgrade` would.
    """
    with translated():
        name = offered_edition(connection)
        applied = _applied(connection) if _begun(connection) else {}
    leaving: list[str] = []
    if foreign := _foreign(name, applied):
        leaving = [f"leave/{_other(name)}.sql"]
        applied = {
            file: checksum
            for file, checksum in applied.items()
            if file not in foreign and not file.startswith("repeatable/")
        }
        _leave(name)
    return leaving + [
        script.file
        for script in scripts(name)
        if (until is None or not (script.repeatable or script.number > until))
        and _is_missing(script, applied)
    ]


def history(connection: Connection) -> list[Row]:
    """Return what was applied, in order: file, checksum, applied_at, and its state.

    The state is `current` where this release has the same text, `changed` where it has another.
    It is `retired` where the release has the file no more, and `unknown` where it never had it.
    """
    if not _begun(connection):
        return []
    rows = fetch(connection, "SELECT * FROM fleetwatt_schema ORDER BY applied_at, file")
    known = {script.file: script.checksum for script in scripts(edition(connection))}
    for row in rows:
        file = row["file"]
        row["state"] = (
            ("current" if known[file] == row["checksum"] else "changed")
            if file in known
            else ("retired" if file in _RETIRED else "unknown")
        )
    return rows


def _other(edition_name: str) -> str:
    (other,) = EDITIONS - {edition_name}
    return other


def _foreign(edition_name: str, applied: Mapping[str, str]) -> list[str]:
    """Return the migrations that were applied and are the other edition's alone."""
    own = scripts(edition_name)
    return [
        script.file
        for script in scripts(_other(edition_name))
        if script not in own
        and not script.repeatable
        and applied.get(script.file) == script.checksum
    ]


def _leave(edition_name: str) -> str:
    """Return the SQL that makes way for an edition.

    Raises:
        EditionChanged: There is no way from the other.
    """
    other = _other(edition_name)
    leave = files("fleetwatt_db").joinpath("leave", f"{other}.sql")
    if not leave.is_file():
        raise EditionChanged(
            f"the schema was made for the edition {other} and the server's is {edition_name}: set "
            f"timescaledb.license back to {other}, or import an export into a new database"
        )
    return leave.read_text(encoding="utf-8")


def _change_edition(connection: Connection, name: str) -> list[str]:
    """Make way for an edition's own migrations where the other's were applied, and apply them.

    All in the caller's transaction: a policy that came before what was set for it would run.

    Returns:
        The files that were applied.
    """
    foreign = _foreign(name, _applied(connection))
    if not foreign:
        return []
    leave = _leave(name)
    with connection.cursor() as cursor:
        try:
            for stream in STREAMS:
                cursor.execute(queries.of_stream(leave, stream))
        except errors.DependentObjectsStillExist as error:
            raise EditionChanged(
                f"drop what you have built on these yourself, and create it again later: {error}"
            ) from error
        cursor.execute(_FORGET, (foreign,))
    own = scripts(name)
    return [
        f"leave/{_other(name)}.sql",
        *(script.file for script in own if _apply(connection, script)),
    ]


@dataclass(frozen=True)
class Drift:
    """How a database's schema differs from this program's: names of files.

    Attributes:
        missing: Never applied.
        changed: Applied with another text.
        unknown: Applied by another release, most likely a newer one.
    """

    missing: list[str]
    changed: list[str]
    unknown: list[str]


def drift(connection: Connection) -> Drift:
    """Compare a database's schema with this program's."""
    known = {script.file: script.checksum for script in scripts(edition(connection))}
    applied = _applied(connection) if _begun(connection) else {}
    return Drift(
        [file for file in known if file not in applied],
        [file for file in known if file in applied and applied[file] != known[file]],
        [file for file in applied if file not in known and file not in _RETIRED],
    )


def check(connection: Connection) -> None:
    """Make sure that nothing is missing.

    Raises:
        SchemaBehind: Something is; the message says which command mends it.
    """
    if not _begun(connection):
        # There may be no TimescaleDB yet, whose edition says what belongs there.
        raise SchemaBehind(f"the database has no schema: {UPGRADE}")
    if missing := drift(connection).missing:
        raise SchemaBehind(
            f"the database's schema is behind ({', '.join(missing)} missing): {UPGRADE}"
        )


def _begun(connection: Connection) -> bool:
    [found] = fetch(connection, "SELECT to_regclass('fleetwatt_schema') IS NOT NULL AS begun")
    return bool(found["begun"])


def _applied(connection: Connection) -> dict[str, str]:
    rows = fetch(connection, "SELECT file, checksum FROM fleetwatt_schema")
    return {row["file"]: row["checksum"] for row in rows}


def _apply(connection: Connection, script: Script) -> bool:
    """Apply a script in the caller's transaction; return whether it was missing."""
    if not _is_missing(script, _applied(connection)):
        return False
    with connection.cursor() as cursor:
        cursor.execute(script.sql)
        cursor.execute(_RECORD, (script.file, script.checksum))
    return True


def _is_missing(script: Script, applied: Mapping[str, str]) -> bool:
    """Return whether a script has to be applied.

    Raises:
        MigrationChanged: It is a migration, and was applied with another text.
    """
    checksum = applied.get(script.file)
    if checksum not in {None, script.checksum} and not script.repeatable:
        raise MigrationChanged(
            f"{script.file} was applied and has been edited since: put it back as it was and "
            "write a new migration instead"
        )
    return checksum != script.checksum
