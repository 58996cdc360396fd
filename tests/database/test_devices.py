"""The device register in SQL: what the functions and views say of a device, registered or not."""

from __future__ import annotations

import pytest
from psycopg2 import errors
from psycopg2.extensions import connection as Connection

from tests.conftest import rows


def register(
    sql: Connection,
    stream: str = "meter",
    device: str = "M-1",
    interval_seconds: float | None = None,
    max_kw: float | None = None,
) -> None:
    with sql.cursor() as cursor:
        cursor.execute(
            "INSERT INTO devices (stream, id, interval_seconds, max_kw) VALUES (%s, %s, %s, %s)",
            (stream, device, interval_seconds, max_kw),
        )


def effective(sql: Connection, stream: str, device: str) -> tuple[float, float]:
    [found] = rows(
        sql,
        "SELECT device_interval(%(stream)s, %(id)s), device_max_kw(%(stream)s, %(id)s, 1000)",
        stream=stream,
        id=device,
    )
    return found


def test_a_device_without_an_entry_has_the_defaults(sql: Connection) -> None:
    assert effective(sql, "meter", "M-1") == (60, 1000)


def test_an_entry_says_the_interval_and_the_power(sql: Connection) -> None:
    register(sql, interval_seconds=900, max_kw=22)

    assert effective(sql, "meter", "M-1") == (900, 22)
    assert effective(sql, "vehicle", "M-1") == (60, 1000)


def test_what_an_entry_leaves_out_is_the_default(sql: Connection) -> None:
    register(sql)

    assert effective(sql, "meter", "M-1") == (60, 1000)


def test_the_devices_of_a_stream_are_those_that_reported_and_those_that_are_registered(
    sql: Connection,
) -> None:
    register(sql, "meter", "M-both", interval_seconds=900)
    register(sql, "meter", "M-registered")
    register(sql, "vehicle", "V-1")
    with sql.cursor() as cursor:
        for device in ("M-both", "M-reported"):
            cursor.execute("INSERT INTO meters_latest VALUES (%s, now(), 1, 230)", (device,))

    found = rows(
        sql, "SELECT meter_id, interval_seconds, reported FROM meter_device ORDER BY meter_id"
    )

    assert found == [("M-both", 900, True), ("M-registered", 60, False), ("M-reported", 60, True)]


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_no_entry_holds_what_cannot_be_an_interval_or_a_power(
    sql: Connection, value: float
) -> None:
    with pytest.raises(errors.CheckViolation):
        register(sql, interval_seconds=value)
    with pytest.raises(errors.CheckViolation):
        register(sql, max_kw=value)
