"""Conventions of the SQL: every query fits the schema, says what it is, and is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.database import queries
from fleetwatt.streams import STREAMS

QUERIES = queries.load()
SOURCE = Path(__file__).parents[2] / "src" / "fleetwatt"


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_can_be_prepared_on_the_schema(name: str, sql: Connection) -> None:
    numbers: dict[str, int] = {}
    statement = re.sub(
        r"%\((\w+)\)s",
        lambda match: f"${numbers.setdefault(match[1], len(numbers) + 1)}",
        QUERIES[name],
    )
    prepared = "fleetwatt_test_" + name.replace(".", "_")
    with sql.cursor() as cursor:
        cursor.execute(f"PREPARE {prepared} AS {statement}")
        cursor.execute(f"DEALLOCATE {prepared}")


@pytest.mark.parametrize("name", sorted({name.rpartition(".")[2] for name in QUERIES}))
def test_a_query_is_used(name: str) -> None:
    uses = re.compile(rf'["}}.]{name}"')

    assert any(uses.search(file.read_text()) for file in SOURCE.rglob("*.py"))


def test_a_query_says_what_it_answers_and_what_it_costs() -> None:
    found = list((SOURCE / "database" / "sql").rglob("*.sql"))
    assert found
    for file in found:
        blocks = re.split(r"^-- (\w+) --\n", file.read_text(), flags=re.MULTILINE)
        assert len(blocks) > 1
        for name, text in zip(blocks[1::2], blocks[2::2], strict=True):
            comment = re.match(r"(?:--.*\n)*", text)
            assert comment, name
            assert "Cost:" in comment[0], name


def test_the_tables_of_a_stream_have_the_columns_that_streams_py_says(sql: Connection) -> None:
    """In any order: a column that is added later stands last."""
    with sql.cursor() as cursor:
        for stream in STREAMS:
            columns = {
                (field.column, field.sql_type, field.may_be_unknown) for field in stream.fields
            }
            received = {("received_at", "timestamptz", False)}
            for table, more in ((stream.history, set()), (stream.latest, received)):
                cursor.execute(
                    "SELECT attname, atttypid::regtype::text, NOT attnotnull FROM pg_attribute "
                    "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                    (table,),
                )
                assert {
                    (name, kind.replace("timestamp with time zone", "timestamptz"), nullable)
                    for name, kind, nullable in cursor.fetchall()
                } == columns | more


def test_what_may_be_asked_of_a_replica_only_reads() -> None:
    names = queries.names(queries.FOR_REPLICA)

    assert {"vehicle_summary", "meter.buckets"} <= names
    for name in names:
        assert not re.search(r"\b(INSERT|UPDATE|DELETE|CALL)\b", QUERIES[name]), name


def test_status_and_what_a_write_goes_by_are_never_asked_of_a_replica() -> None:
    primary = {"takes_writes", "mappings", "map_vehicle", "unplug_vehicle"}
    for stream in STREAMS:
        primary |= {
            f"{stream.name}.{name}" for name in ("status", "status_page", "store", "removed")
        }
        primary.add(f"{stream.name}.oldest_accepted")

    assert primary <= set(QUERIES)
    assert not primary & queries.names(queries.FOR_REPLICA)
