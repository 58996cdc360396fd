from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Barrier, Semaphore, Thread

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.database.errors import Busy, StatementFailed, Unavailable
from fleetwatt.database.insert import Inserted
from fleetwatt.database.shared_transaction import Conflict, WriteResult, insert_together
from fleetwatt.database.write_queue import ENOUGH, MAX_TOGETHER, WriteQueue
from fleetwatt.streams import METER, VEHICLE, Rows
from tests.conftest import rows
from tests.waiting import eventually

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def reading(meter_id: str = "M-1", kwh: float = 1.0) -> Rows:
    return Rows(METER, [(meter_id, NOON, kwh, 230.0)])


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    with closing(Database(config)) as database:
        yield database


class HeldUp:
    """A writer whose transactions wait until `go`, so that the next requests gather."""

    def __init__(self, database: Database, limit: int = 100, timeout: float = 60) -> None:
        self._insert = database._insert
        self._entered = Semaphore(0)
        self._go = Semaphore(0)
        self._pool = ThreadPoolExecutor(30)
        self.writer = WriteQueue(self._hold, limit, timeout, threads=2)
        self.first = self.submit(reading("M-first"))
        assert self._entered.acquire(timeout=60)

    def submit(self, *batch: Rows) -> Future[WriteResult]:
        return self._pool.submit(self.writer.write, batch)

    def gather(self, *waiting: Rows) -> list[Future[WriteResult]]:
        """Submit requests of one reading each, in this order; return when all of them wait."""
        answers: list[Future[WriteResult]] = []
        for request in waiting:
            answers.append(self.submit(request))
            eventually(lambda: self.writer.queued == len(answers), "it does not wait")
        return answers

    def go(self) -> None:
        """Let all transactions go."""
        self._go.release(1_000)

    def let_one_go(self) -> None:
        """Let the transaction go that waits, and return when the next one waits."""
        self._go.release()
        assert self._entered.acquire(timeout=60)

    def close(self) -> None:
        self.go()
        self.writer.close()
        self._pool.shutdown()

    def _hold(self, batch: Sequence[Rows]) -> list[Inserted]:
        self._entered.release()
        assert self._go.acquire(timeout=60)
        return self._insert(batch)


@pytest.fixture
def held_up(database: Database) -> Iterator[HeldUp]:
    with closing(HeldUp(database)) as held:
        yield held


def test_requests_that_arrive_together_share_a_transaction(
    held_up: HeldUp, sql: Connection
) -> None:
    answers = held_up.gather(*(reading(f"M-{number}") for number in range(20)))

    held_up.go()

    assert {answer.result(60) for answer in answers} == {WriteResult(accepted=1, duplicates=0)}
    assert rows(sql, "SELECT count(DISTINCT xmin::text), count(*) FROM meter_telemetry") == [
        (2, 21)
    ]


def test_large_batches_are_written_side_by_side() -> None:
    both = Barrier(2)

    def meet(batch: Sequence[Rows]) -> list[Inserted]:
        both.wait(60)
        return [Inserted() for _ in batch]

    large = Rows(METER, reading().rows * MAX_TOGETHER)
    with closing(WriteQueue(meet, 100_000, 60, threads=2)) as writer, ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(writer.write, [large]) for _ in range(2)]

        assert [answer.result(60).accepted for answer in answers] == [MAX_TOGETHER, MAX_TOGETHER]


def writing_threads() -> set[Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("writer ")}


def test_of_small_and_large_requests_at_once_none_is_forgotten() -> None:
    def insert(batch: Sequence[Rows]) -> list[Inserted]:
        time.sleep(random.uniform(0, 0.003))
        return [Inserted() for _ in batch]

    sizes = [random.choice([1, 1, 1, ENOUGH - 1, ENOUGH]) for _ in range(3_000)]
    requests = [Rows(METER, reading().rows * size) for size in sizes]
    with (
        closing(WriteQueue(insert, 10**9, 10, threads=2)) as queue,
        ThreadPoolExecutor(12) as pool,
    ):
        queue.write([reading()])
        began = writing_threads()
        answers = pool.map(lambda request: queue.write([request]), requests)

        assert [answer.accepted for answer in answers] == sizes
        assert writing_threads() == began


def test_each_request_learns_what_became_of_its_own() -> None:
    def two_of_five_are_new(_: object) -> list[Inserted]:
        return [Inserted({("M-0", NOON), ("M-4", NOON)})]

    writer = WriteQueue(two_of_five_are_new, 100, 60)
    five = Rows(METER, [(f"M-{n}", NOON, 1.0, 230.0) for n in range(5)])

    with closing(writer):
        written = writer.write([five])

    assert (written.accepted, written.duplicates) == (2, 3)


def test_duplicates_are_counted_per_request_even_if_they_share_a_transaction(
    database: Database, held_up: HeldUp
) -> None:
    database.write([reading("M-old")])
    old, new = held_up.gather(reading("M-old"), reading("M-new"))

    held_up.go()

    assert old.result(60) == WriteResult(accepted=0, duplicates=1)
    assert new.result(60) == WriteResult(accepted=1, duplicates=0)


def test_readings_of_devices_that_take_turns_are_stored_with_the_newest_of_each(
    database: Database, sql: Connection
) -> None:
    later = NOON + timedelta(minutes=1)
    batch = Rows(
        METER,
        [(name, time, 1.0, 230.0) for time in (NOON, later) for name in ("M-2", "M-1", "M-3")],
    )

    assert database.write([batch]).accepted == 6
    newest = rows(sql, "SELECT meter_id, time FROM meters_latest ORDER BY meter_id")
    assert newest == [(name, later) for name in ("M-1", "M-2", "M-3")]


def test_streams_are_written_in_one_order_whatever_order_they_come_in() -> None:
    """Two transactions that lock tables in different orders may wait for each other."""
    written: list[list[str]] = []

    def insert(batch: Sequence[Rows]) -> list[Inserted]:
        written.append([rows.stream.name for rows in batch])
        return [Inserted()] * len(batch)

    own, other = reading(), Rows(VEHICLE, [("V-1", NOON, 50.0, 1.0, 20.0)])
    insert_together(insert, [[own, other]])
    insert_together(insert, [[other], [own]])

    assert written == [["meter", "vehicle"]] * 2


def test_of_a_reading_that_comes_twice_at_once_the_first_counts(
    held_up: HeldUp, sql: Connection
) -> None:
    first, second = held_up.gather(reading("M-twice", 7.0), reading("M-twice", 3.0))

    held_up.go()

    assert first.result(60) == WriteResult(accepted=1, duplicates=0)
    conflict = Conflict(METER, 0, (7.0, 230.0))
    assert second.result(60) == WriteResult(accepted=0, duplicates=0, conflicts=(conflict,))
    for table in (METER.history, METER.latest):
        assert rows(sql, f"SELECT kwh_consumed_ac FROM {table} WHERE meter_id = 'M-twice'") == [
            (7.0,)
        ]


def test_the_newest_of_a_request_is_the_latest_with_and_without_duplicates(
    database: Database, sql: Connection
) -> None:
    def minutes(*given: int) -> Rows:
        return Rows(METER, [("M-1", NOON + timedelta(minutes=n), float(n), 230.0) for n in given])

    assert database.write([minutes(3, 5, 4)]) == WriteResult(accepted=3, duplicates=0)
    assert rows(sql, "SELECT kwh_consumed_ac FROM meters_latest") == [(5.0,)]
    assert database.write([minutes(6, 5, 7, 1)]) == WriteResult(accepted=3, duplicates=1)
    assert rows(sql, "SELECT kwh_consumed_ac FROM meters_latest") == [(7.0,)]
    assert database.write([minutes(2)]) == WriteResult(accepted=1, duplicates=0)
    assert rows(sql, "SELECT kwh_consumed_ac FROM meters_latest") == [(7.0,)]


def test_of_many_devices_each_has_its_newest_reading_whatever_was_there(
    database: Database, sql: Connection
) -> None:
    def at_minute(minute: int, *numbers: int) -> Rows:
        time = NOON + timedelta(minutes=minute)
        return Rows(METER, [(f"M-{n}", time, float(minute), 230.0) for n in numbers])

    database.write([at_minute(1, *range(0, 700, 3))])
    database.write([at_minute(3, *range(1, 700, 3))])

    assert database.write([at_minute(2, *range(700))]) == WriteResult(accepted=700, duplicates=0)

    assert dict(rows(sql, "SELECT meter_id, kwh_consumed_ac FROM meters_latest")) == {
        f"M-{n}": 3.0 if n % 3 == 1 else 2.0 for n in range(700)
    }


def test_what_can_not_be_stored_costs_its_neighbours_nothing(
    held_up: HeldUp, sql: Connection
) -> None:
    bad, good = held_up.gather(reading("M-bad", kwh=math.nan), reading("M-good"))

    held_up.go()

    assert good.result(60).accepted == 1
    with pytest.raises(StatementFailed):
        bad.result(60)
    stored = rows(sql, "SELECT meter_id FROM meter_telemetry ORDER BY 1")
    assert stored == [("M-first",), ("M-good",)]


def test_past_its_bound_the_queue_refuses(database: Database) -> None:
    with closing(HeldUp(database, limit=2)) as held_up:
        answers = held_up.gather(reading("M-1"), reading("M-2"))

        with pytest.raises(Busy, match="2 readings wait"):
            held_up.writer.write([reading("M-3")])

        held_up.go()
        assert [answer.result(60).accepted for answer in answers] == [1, 1]


def test_closing_writes_what_waits(held_up: HeldUp, sql: Connection) -> None:
    held_up.gather(*(reading(f"M-{number}") for number in range(5)))

    held_up.close()

    assert rows(sql, "SELECT count(*) FROM meter_telemetry") == [(6,)]


def test_what_comes_after_closing_is_refused(database: Database) -> None:
    database.write([reading()])
    database.close()

    for _ in range(2):
        with pytest.raises(Unavailable):
            database.write([reading()])


def test_a_request_that_waits_too_long_takes_its_readings_back(
    database: Database, sql: Connection
) -> None:
    with closing(HeldUp(database, timeout=2)) as held_up:
        waiting = held_up.submit(reading("M-waiting"))

        for answer in (held_up.first, waiting):
            with pytest.raises(Busy, match="not written within 2 s"):
                answer.result(60)

        assert held_up.writer.queued == 0
    # The first was being written: it is stored, and unconfirmed.
    assert rows(sql, "SELECT meter_id FROM meter_telemetry") == [("M-first",)]


def test_who_gives_up_while_being_written_keeps_no_other_of_the_transaction_waiting(
    held_up: HeldUp,
) -> None:
    answers = held_up.gather(*(reading(f"M-{number}") for number in range(3)))
    (gives_up, *_) = held_up.writer._queue
    held_up.let_one_go()

    held_up.writer._leave(gives_up)
    held_up.go()

    eventually(lambda: sum(answer.done() for answer in answers) == 2, "others wait on")
    assert held_up.first.result(60) == WriteResult(accepted=1, duplicates=0)
    gives_up.done.release()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_a_writer_dies_waiters_get_an_error_and_another_takes_its_place(
    database: Database,
) -> None:
    deaths = iter([SystemExit()])

    def die_once(batch: Sequence[Rows]) -> list[Inserted]:
        for death in deaths:
            raise death
        return database._insert(batch)

    with closing(WriteQueue(die_once, 100, 60)) as writer:
        with pytest.raises(Unavailable, match="SystemExit"):
            writer.write([reading()])
        eventually(
            lambda: not any(thread and thread.is_alive() for thread in writer._threads),
            "it lives on",
        )

        assert writer.write([reading()]).accepted == 1


def test_a_request_of_both_streams_is_stored_whole_or_not_at_all(
    database: Database, sql: Connection
) -> None:
    vehicle = Rows(VEHICLE, [("V-bad", NOON, 50.0, math.nan, 20.0)])

    with pytest.raises(StatementFailed):
        database.write([reading(), vehicle])

    assert rows(sql, "SELECT * FROM meter_telemetry") == []
    assert rows(sql, "SELECT * FROM meters_latest") == []
