"""Up to how long ago readings are accepted: asked now and then, and never waited for by all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from flask import Flask

from fleetwatt.database.client import Database
from fleetwatt.database.pool import Row
from fleetwatt.streams import METER


@pytest.fixture
def database(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The store, which keeps no answer."""
    monkeypatch.setattr("fleetwatt.database.client._RETENTION_KEPT", 0)
    found: Database = app.extensions["fleetwatt"]
    return found


def test_while_one_asks_the_others_go_by_the_last_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = database.oldest_accepted(METER)
    asked, answered, one = Event(), Event(), database.query_one

    def stand_still(query: str, **parameters: Any) -> Row | None:
        asked.set()
        answered.wait(10)
        return one(query, **parameters)

    with ThreadPoolExecutor(1) as other, monkeypatch.context() as standing:
        standing.setattr(database, "query_one", stand_still)
        asking = other.submit(database.oldest_accepted, METER)
        asked.wait()
        assert database.oldest_accepted(METER) == known
        answered.set()
        assert asking.result() >= known


def test_an_answer_that_did_not_come_is_asked_for_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = database.oldest_accepted(METER)

    def fail(query: str, **_: Any) -> Row | None:
        raise ConnectionError(query)

    with monkeypatch.context() as failing:
        failing.setattr(database, "query_one", fail)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                database.oldest_accepted(METER)

    assert database.oldest_accepted(METER) >= known
