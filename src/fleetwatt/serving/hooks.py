"""What gunicorn calls while it starts, forks and ends: the hooks that settings.py names.

Those with a `server` alone run in the master, as do `pre_fork` and `child_exit`; the others run in
the worker that they are about.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fleetwatt.config import Config, ConfigError, misspelt
from fleetwatt.database.client import Database
from fleetwatt.database.errors import DatabaseError, SchemaBehind
from fleetwatt.observability import buffered, exposition
from fleetwatt.serving import gunicorn_patches, metrics_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.arbiter import Arbiter

    from fleetwatt.serving.worker import Worker

_M_ARENA_MAX = -8  # of malloc.h
_MOST_WORKERS = 256  # at once, of one master

# In memory that the master shares with its workers: how many connections each of them serves.
_served = memoryview(mmap.mmap(-1, 4 * _MOST_WORKERS)).cast("i")


def on_starting(server: Arbiter) -> None:
    """Reject an open door and a schema that is behind; do without a database that is away.

    A server that may forget what it acknowledged is served on, with a warning; so are settings
    whose names are misspelt.
    """
    gunicorn_patches.install()
    for warning in misspelt(os.environ).values():
        server.log.warning("%s", warning)
    config = Config.of_a_database()
    try:
        for address in server.address:
            # What gunicorn was given by its own options counts, too; a path is a local socket's.
            if not isinstance(address, str):
                config.check_address(address[0])
    except ConfigError as error:
        raise SystemExit(f"fleetwatt: {error}") from None
    database = Database(config)
    try:
        for setting in database.query("unsafe_settings"):
            server.log.warning(
                "the database's setting %s is off: a crash of its machine may cost readings that "
                "were acknowledged",
                setting["name"],
            )
    except SchemaBehind as error:
        raise SystemExit(f"fleetwatt: {error}") from None
    except DatabaseError as error:
        server.log.warning("the database is away, requests are answered with 503: %s", error)
    finally:
        database.close()


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Give a worker the table of all workers' connections, and the core on which the fewest run.

    Only one of a worker's threads runs Python at a time: on another core each would first have to
    fetch what the last one worked on. Where there are more cores than workers, others may count on
    some of them, as containers on one host do: then the kernel chooses.
    """
    worker.served, worker.number = _served, worker.age % _MOST_WORKERS
    with suppress(AttributeError):
        cores = os.sched_getaffinity(0)
        taken = [other.cores for other in server.WORKERS.values()]
        few = len(cores) > server.cfg.workers
        worker.cores = cores if few else min(({core} for core in cores), key=taken.count)


def post_fork(server: Arbiter, worker: Worker) -> None:  # noqa: ARG001
    """Leave a worker with its own core, memory that its threads share, patient threads.

    glibc would give many threads an arena of their own, each of which keeps what the largest
    request took that its threads ever served. Another C library may not know the call.

    By default a thread that wakes up interrupts the one that runs, only to wait for the
    interpreter's lock. SCHED_BATCH prevents that. Another system may not know it, and a container
    may forbid it.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(0, worker.cores)


def post_worker_init(worker: Worker) -> None:
    """Look after a worker's database every second; let the collector pass over what lives as long.

    Another thread looks after clients, as it waits where the database stands still.

    A batch makes thousands of objects and no cycle: at its usual threshold the collector would look
    at them all again and again.

    What fails, as counts do on a full disk, is retried, and keeps nothing else from being done.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    database: Database = worker.wsgi.extensions["fleetwatt"]

    def look_after(*duties: Callable[[], None]) -> None:
        while True:
            for duty in duties:
                try:
                    duty()
                except Exception:
                    worker.log.exception("%s failed", duty.__qualname__)
            time.sleep(1)

    for name, duties in (
        ("database", (database.cut_unanswered, database.set_gauges, buffered.flush)),
        ("clients", (database.cancel_abandoned,)),
    ):
        threading.Thread(target=look_after, args=duties, name=name, daemon=True).start()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Keep what a worker counted, and leave no connection to it."""
    exposition.bury(worker.pid, server.WORKERS)
    worker.served[worker.number] = 0


def on_exit(server: Arbiter) -> None:  # noqa: ARG001
    """Leave no folder behind."""
    metrics_folder.remove()
