"""Writes readings: requests that arrive together share a transaction.

None is answered before its commit.

A request's thread puts its readings into a queue and waits. The first of a process's threads takes
what has gathered, writes it with one statement, which is a transaction, and wakes the first of the
requests, which wakes the next as it goes on: all at once they would only wait for each other's turn
with the interpreter. While it writes the next ones gather. Those who shared a transaction tend to
be back together, so it waits a moment for as many as last time: the busier it gets, the more share
a commit. The second thread takes what is worth a transaction of its own while the first is busy:
else a few large batches would keep one of the database's cores busy and no other.

`_lock` guards `_queue`, `_queued`, `_writing`, `_wanted`, `_threads`, `_closed` and who of a
transaction's requests was woken or has left; nobody holds it while talking to the database. A job
belongs to the thread that waits for it until it is in the queue, then to the one that writes it
until that has filled in `together`. A request that waits too long takes its job back, or, where it
is being written already, leaves it: it may be stored then, and unconfirmed. Whoever goes on wakes
the next who has not left, so that nobody is forgotten.

Both threads start with the first write, and so after a server's fork; one that has died is started
again by the next write. They end when the writer is closed and the queue is empty, or, being
daemons, with the process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any

from fleetwatt.database.errors import Busy, DatabaseError, StatementFailed, Unavailable
from fleetwatt.database.insert import Inserted, ReadingKey, key_of
from fleetwatt.streams import Rows, Stream

# Past this a transaction gains nothing from more readings, and its requests only wait longer.
MAX_TOGETHER = 10_000
# From here on a transaction of its own is worth it, and nobody waits for others to join.
ENOUGH = 1_500
GATHER = 0.04  # seconds, the longest wait for others to join
_ID, _TIME = itemgetter(0), itemgetter(1)
Insert = Callable[[Sequence[Rows]], list[Inserted]]


@dataclass(frozen=True)
class Conflict:
    """A reading that came with other values than those stored under its id and time.

    Attributes:
        stream: The reading's stream.
        index: Which reading of the stream in what was written, from 0.
        stored: The stored values, in the order of the stream's measures.
    """

    stream: Stream
    index: int
    stored: tuple[Any, ...]


@dataclass(frozen=True)
class WriteResult:
    """What became of readings.

    Attributes:
        accepted: How many were stored now.
        duplicates: How many were stored already, with the same values.
        conflicts: Those that were stored already, with other values.
        removed: Stream and index of those that a correction keeps out.
    """

    accepted: int
    duplicates: int
    conflicts: Sequence[Conflict] = ()
    removed: Sequence[tuple[Stream, int]] = ()


@dataclass(eq=False)  # each is itself alone, whatever it holds
class _Job:
    """What one request wants written, and what became of it.

    Attributes:
        done: Held until the request may go on. An Event would do, at several times the cost.
        left: Whether the request waits no more.
        together: Once the job is done: who shared its transaction and was not woken yet.
    """

    batch: Sequence[Rows]
    size: int
    since: float = field(default_factory=time.monotonic)
    done: threading.Lock = field(default_factory=threading.Lock)
    written: WriteResult | None = None
    error: BaseException | None = None
    left: bool = False
    together: deque[_Job] | None = None


class WriteQueue:
    """The queue of a process and the threads that empty it."""

    def __init__(
        self,
        insert: Insert,
        limit: int,
        timeout: float,
        threads: int = 1,
    ) -> None:
        """Describe a writer.

        Args:
            insert: Stores sorted rows in one transaction and returns what became of each stream's.
            limit: How many readings may wait; past it requests are refused.
            timeout: Seconds that a request waits for its commit at most; 0: without end.
            threads: How many transactions may be written side by side, 1 or 2.
        """
        self._insert = insert
        self._limit = limit
        self._timeout = timeout or -1
        self._lock = threading.Lock()
        # What the first thread waits for, and what the second does.
        self._changed = threading.Condition(self._lock)
        self._plenty = threading.Condition(self._lock)
        self._queue: deque[_Job] = deque()
        self._queued = 0
        self._wanted = 1  # so many requests shared the first thread's last transaction
        self._writing: list[_Job | None] = [None] * threads  # the oldest that each thread writes
        self._threads: list[threading.Thread | None] = [None] * threads
        self._closed = False

    @property
    def queued(self) -> int:
        """How many readings wait."""
        return self._queued

    @property
    def waited(self) -> float:
        """For how many seconds the job has waited that waits longest; 0: none does."""
        with self._lock:
            oldest = [*self._writing, self._queue[0] if self._queue else None]
        return max((time.monotonic() - job.since for job in oldest if job), default=0.0)

    def write(self, batch: Sequence[Rows]) -> WriteResult:
        """Write readings, all or nothing, and return after the commit.

        Raises:
            Busy: Too many readings wait already, or they waited too long.
            DatabaseError: The database is away; nothing was stored, or it is and unconfirmed.
        """
        job = _Job(batch, sum(map(len, batch)))
        job.done.acquire()
        with self._lock:
            if self._closed:
                raise Unavailable("this process writes no more")
            if self._queue and self._queued + job.size > self._limit:
                raise Busy(f"{self._queued} readings wait to be written already")
            # Before anything waits for them: should there be no thread to be had, nobody hangs.
            self._start()
            self._queue.append(job)
            self._queued += job.size
            # To wake a thread at each request would cost more than all else here.
            if len(self._queue) in {1, self._wanted} or self._queued >= ENOUGH:
                self._changed.notify()
            self._call_second()
        if not job.done.acquire(timeout=self._timeout):
            self._leave(job)
        if job.together:
            self._wake_next(job.together)
        if job.error:
            raise job.error
        if job.written is None:
            raise Busy(f"not written within {self._timeout:g} s")
        return job.written

    def _start(self) -> None:
        for number, thread in enumerate(self._threads):
            if thread is None or not thread.is_alive():
                new = threading.Thread(
                    target=self._run, args=(number,), name=f"writer {number}", daemon=True
                )
                new.start()
                self._threads[number] = new

    def _call_second(self) -> None:
        if self._writing[0] and self._queued >= ENOUGH:
            self._plenty.notify()

    def _leave(self, job: _Job) -> None:
        with self._lock:
            job.left = True
            if job in self._queue:
                self._queue.remove(job)
                self._queued -= job.size

    def _wake_next(self, jobs: deque[_Job]) -> None:
        with self._lock:
            while jobs:
                job = jobs.popleft()
                if not job.left:
                    job.done.release()
                    return

    def close(self) -> None:
        """Write what waits, and end the threads."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
            self._changed.notify()
            self._plenty.notify()
        for thread in filter(None, threads):
            thread.join()

    def _run(self, number: int) -> None:
        while jobs := self._next(number):
            try:
                self._write(jobs)
            except BaseException as error:
                # This thread ends; its jobs are answered all the same.
                for job in jobs:
                    if job.written is None:
                        job.error = job.error or Unavailable(f"the writer ended: {error!r}")
                raise
            finally:
                with self._lock:
                    self._writing[number] = None
                together = deque(jobs)
                for job in jobs:
                    job.together = together
                self._wake_next(together)

    def _next(self, number: int) -> list[_Job]:
        """Wait for jobs and take those that shall share a transaction; none: it is closed."""
        with self._lock:
            if number == 0:
                self._gather()
            else:
                self._plenty.wait_for(lambda: self._queued >= ENOUGH or self._closed)
            jobs: list[_Job] = []
            size = 0
            while self._queue and (not jobs or size + self._queue[0].size <= MAX_TOGETHER):
                jobs.append(self._queue.popleft())
                size += jobs[-1].size
            self._queued -= size
            self._writing[number] = jobs[0] if jobs else None
            if number == 0:
                self._wanted = len(jobs)
                self._call_second()
            return jobs

    def _gather(self) -> None:
        """Wait for jobs, and a moment for others to join them; the second thread may take them."""
        while True:
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._changed.wait_for(self._is_gathered, GATHER)
            if self._queue or self._closed:
                return

    def _is_gathered(self) -> bool:
        return len(self._queue) >= self._wanted or self._queued >= ENOUGH or self._closed

    def _write(self, jobs: Sequence[_Job]) -> None:
        try:
            _insert_together(self._insert, jobs)
        except Exception as error:  # noqa: BLE001 - whoever waits has to learn of it
            is_about_the_database = not isinstance(error, StatementFailed) and isinstance(
                error, DatabaseError
            )
            if len(jobs) == 1 or is_about_the_database:
                for job in jobs:
                    job.error = error
            else:
                # Something in it can't be stored: each for itself, and only the culprit fails.
                for job in jobs:
                    self._write([job])


def _insert_together(insert: Insert, jobs: Sequence[_Job]) -> None:
    """Store the readings of several jobs, and say of each what became of its own."""
    together: dict[Stream, Rows] = {}
    for job in jobs:
        for rows in job.batch:
            together.setdefault(rows.stream, Rows(rows.stream)).rows.extend(rows.rows)
    # In one order, so that two writers never deadlock; of equal readings the first to come counts.
    streams = sorted(together, key=attrgetter("name"))
    for merged in together.values():
        # Each by one value, which takes a quarter of the time of pairs.
        merged.rows.sort(key=_TIME)
        merged.rows.sort(key=_ID)
    inserted = dict(zip(streams, insert([together[stream] for stream in streams]), strict=True))
    # A job's rows are the very objects that were merged.
    conflicts = {
        id(together[stream].rows[index]): stored
        for stream, done in inserted.items()
        for index, stored in done.conflicts.items()
    }
    removed = {
        id(together[stream].rows[index])
        for stream, done in inserted.items()
        for index in done.removed
    }
    for job in jobs:
        accepted = sum(_claim(rows, inserted[rows.stream].new) for rows in job.batch)
        own_conflicts = tuple(
            Conflict(rows.stream, index, conflicts[id(row)])
            for rows in (job.batch if conflicts else ())
            for index, row in enumerate(rows.rows)
            if id(row) in conflicts
        )
        own_removed = tuple(
            (rows.stream, index)
            for rows in (job.batch if removed else ())
            for index, row in enumerate(rows.rows)
            if id(row) in removed
        )
        duplicates = job.size - accepted - len(own_conflicts) - len(own_removed)
        job.written = WriteResult(accepted, duplicates, own_conflicts, own_removed)


def _claim(rows: Rows, new: set[ReadingKey] | None) -> int:
    """Count the readings of a job that are new, and take them out: a repetition is not."""
    if new is None:
        return len(rows)
    mine = new.intersection(map(key_of, rows.rows))
    new -= mine
    return len(mine)
