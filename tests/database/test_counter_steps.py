"""What the hourly aggregates know of an hour's steps: its last value, energy and falls."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from tests.conftest import rows

STEPS = """
    SELECT counter_steps(value ORDER BY position)
    FROM unnest(%(values)s::double precision[]) WITH ORDINALITY AS given (value, position)
"""
CASES: dict[str, tuple[list[float], list[float] | None]] = {
    "a counter that rises": ([1, 2, 4], [4, 3, 0]),
    "one that stands still": ([2, 2], [2, 0, 0]),
    "a reset": ([9, 10, 0, 2], [2, 3, 1]),
    "a fall that recovers": ([5, 3, 6], [6, 3, 1]),
    "falls in a row": ([5, 4, 3], [3, 0, 2]),
    "a first value that is the greatest": ([8, 1], [1, 0, 1]),
    "a single reading": ([7], [7, 0, 0]),
    "no reading": ([], None),
}


@pytest.mark.parametrize("case", CASES)
def test_steps_are_counted_in_order_of_time(sql: Connection, case: str) -> None:
    values, expected = CASES[case]
    assert rows(sql, STEPS, values=values) == [(expected,)]


def test_steps_go_by_the_order_asked_for_and_not_by_that_of_the_rows(sql: Connection) -> None:
    statement = STEPS.replace("BY position", "BY position DESC")
    assert rows(sql, statement, values=[4, 2, 1]) == [([4, 3, 0],)]
