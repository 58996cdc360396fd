"""Writes readings: requests that arrive together share a transaction.

No request is answered before its commit.

A request's thread puts its readings into a queue and waits. The first of a process's writing
threads takes what has gathered and writes it with one statement, which is a transaction. It wakes
the first of the requests. Each request wakes the next as it goes on: all at once they would only
wait for each other's turn with the interpreter. While the thread writes, the next requests gather.
Those that shared a transaction tend to be back together, so the thread waits a moment for as many
as last time: the busier it gets, the more requests share a commit. While it is busy, the second
thread takes what is worth a transaction of its own. Without it, a few large batches would keep only
one of the database's cores busy.

`_lock` guards `_queue`, `_queued`, `_writing`, `_wanted`, `_threads`, `_closed` and which of a
transaction's requests were woken or have left; no thread holds it while it talks to the database. A
job belongs to the thread that waits for it until it is in the queue. Then it belongs to the thread
that writes it, until that has filled in `together`. A request that waits too long takes its job
back or, where it is being written already, leaves it: its readings may be stored then, unconfirmed.
A request that goes on wakes the next that has not left, so that none is forgotten.

Both threads start with the first write, and so after a server's fork; the next write starts one
again that has died. They end when the queue is closed and empty or, being daemons, with the
process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from fleetwatt.database.errors import Busy, DatabaseError, StatementFailed, Unavailable
from fleetwatt.database.shared_transaction import Insert, WriteResult, insert_together
from fleetwatt.streams import Rows

# Past this a transaction gains nothing from more readings, and its requests only wait longer.
MAX_TOGETHER = 10_000
# From here on a transaction of its own is worth it, and waits for no others to join.
ENOUGH = 1_500
GATHER = 0.04  # seconds, the longest wait for others to join


@dataclass(eq=False)  # two jobs are never equal, whatever they hold
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
        """Describe a queue; its threads start with the first write.

        Args:
            insert: Stores sorted rows in one transaction and returns what became of each stream's.
            limit: How many readings may wait; past it requests are rejected.
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
        """For how many seconds the oldest job has waited; 0: none waits."""
        with self._lock:
            oldest = [*self._writing, self._queue[0] if self._queue else None]
        return max((time.monotonic() - job.since for job in oldest if job), default=0.0)

    def write(self, batch: Sequence[Rows]) -> WriteResult:
        """Write readings, all or nothing, and return after the commit.

        Raises:
            Busy: Too many readings wait already, or they waited too long.
            DatabaseError: The database is away; nothing was stored, or it is and unconfirmed.
        """
        (written,) = self.write_each([batch])
        if isinstance(written, BaseException):
            raise written
        return written

    def write_each(self, batches: Sequence[Sequence[Rows]]) -> list[WriteResult | BaseException]:
        """Write several batches of readings, each all or nothing, and return after their commits.

        They may share a transaction, with each other and with those of other threads.

        Returns:
            Of each batch what became of it, or the error for which it was not written: Busy where
            too many readings wait already or they waited too long, DatabaseError where the
            database is away; nothing was stored then, or it is and unconfirmed.
        """
        jobs = [_Job(batch, sum(map(len, batch))) for batch in batches]
        for job in jobs:
            job.done.acquire()
        with self._lock:
            queued = [self._put(job) for job in jobs]
            if any(queued):
                self._call_second()
        for job, is_queued in zip(jobs, queued, strict=True):
            if is_queued:
                self._wait(job)
        return [
            job.error or job.written or Busy(f"not written within {self._timeout:g} s")
            for job in jobs
        ]

    def _put(self, job: _Job) -> bool:
        """Put a job into the queue, or give it the error for which that can't be."""
        if self._closed:
            job.error = Unavailable("this process is stopping")
            return False
        if self._queue and self._queued + job.size > self._limit:
            job.error = Busy(f"{self._queued} readings wait to be written: send this again later")
            return False
        # Before a job is queued: where no thread can be had, no request hangs.
        self._start()
        self._queue.append(job)
        self._queued += job.size
        # To wake a thread at each request would cost more than the rest of this method.
        if len(self._queue) in {1, self._wanted} or self._queued >= ENOUGH:
            self._changed.notify()
        return True

    def _wait(self, job: _Job) -> None:
        """Return when a job is done, or has waited too long; then its request goes on."""
        if not job.done.acquire(timeout=self._timeout):
            self._leave(job)
        if job.together:
            self._wake_next(job.together)

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
            results = insert_together(self._insert, [job.batch for job in jobs])
        except Exception as error:  # noqa: BLE001 - the requests that wait raise it
            # A statement may fail for what one of the jobs holds; all else is about the database.
            is_about_a_job = isinstance(error, StatementFailed) or not isinstance(
                error, DatabaseError
            )
            if is_about_a_job and len(jobs) > 1:
                for job in jobs:
                    self._write([job])
            else:
                for job in jobs:
                    job.error = error
            return
        for job, result in zip(jobs, results, strict=True):
            job.written = result
