"""How gunicorn serves.

All workers take connections from the master's socket, which outlives them: a restart, an upgrade or
a crash of workers loses no connection. They leave each to the one that serves the fewest
(docs/decisions/0019).
"""

import ctypes
import gc
import mmap
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

_M_ARENA_MAX = -8  # of malloc.h
_MANY = 256  # workers at once, of one master

# A folder for the metrics of this master's workers, named before they are declared. SIGHUP reads
# this file again in the same process; SIGUSR2 does so in another.
_PREFIX = "fleetwatt-metrics-"
_OWN = f"{_PREFIX}{os.getpid()}-"
if not Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")).name.startswith(_OWN):
    for _left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*"):
        # Its master was killed.
        if not Path("/proc", _left.name.removeprefix(_PREFIX).split("-")[0]).exists():
            shutil.rmtree(_left, ignore_errors=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OWN)

from fleetwatt.config import Config, ConfigError  # noqa: E402
from fleetwatt.database.client import Database  # noqa: E402
from fleetwatt.database.errors import DatabaseError, SchemaBehind  # noqa: E402
from fleetwatt.observability import buffered, exposition, logs  # noqa: E402

try:
    _config = Config.of_a_database()
except ConfigError as error:
    raise SystemExit(f"fleetwatt: {error}") from None

bind = _config.netloc
worker_class = "fleetwatt.serving.worker.Worker"
# A container may be let run on some of a host's cores.
_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
workers = _config.workers or _cores or 1
threads = _config.threads
# Each worker opens database connections of its own.
preload_app = False
keepalive = 75
timeout = 60
graceful_timeout = 30
# Of one worker, those that wait for their next request among them.
worker_connections = 1000
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# Its default path is one for all servers of a user.
control_socket_disable = True
logger_class = "fleetwatt.serving.worker.Logger"
logconfig_dict = logs.settings(_config)

# In memory that the master shares with its workers: how many connections each of them serves.
_served = memoryview(mmap.mmap(-1, 4 * _MANY)).cast("i")


def on_starting(server):
    """Refuse an open door and a schema that is behind; do without a database that is away."""
    try:
        for address in server.address:
            # What gunicorn was told by its own options counts, too; a path is a local socket's.
            if not isinstance(address, str):
                _config.check_address(address[0])
    except ConfigError as error:
        raise SystemExit(f"fleetwatt: {error}") from None
    database = Database(_config)
    try:
        database.query_one("ping")
    except SchemaBehind as error:
        raise SystemExit(f"fleetwatt: {error}") from None
    except DatabaseError as error:
        server.log.warning("the database is away, requests are answered with 503: %s", error)
    finally:
        database.close()


def pre_fork(server, worker):
    """Give a worker what tells of all workers' connections, and the core on which the fewest run.

    Only one of a worker's threads runs Python at a time: on another core each would first have to
    fetch what the last one worked on. Where there are more cores than workers, others may count on
    some of them, as containers on one host do: then the kernel chooses.
    """
    worker.served, worker.number = _served, worker.age % _MANY
    with suppress(AttributeError):
        cores = os.sched_getaffinity(0)
        taken = [each.cores for each in server.WORKERS.values()]
        few = len(cores) > server.cfg.workers
        worker.cores = cores if few else min(({each} for each in cores), key=taken.count)


def post_fork(server, worker):  # noqa: ARG001
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


def post_worker_init(worker):
    """Look after a worker's database every second; let the collector pass over what lives as long.

    A batch makes thousands of objects and no cycle: at its usual threshold the collector would look
    at them all again and again.

    What fails, as counts do on a full disk, is tried again, and keeps nothing else from being done.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    database = worker.wsgi.extensions["fleetwatt"]

    def look_after():
        while True:
            for duty in (database.cut_unanswered, database.set_gauges, buffered.flush):
                try:
                    duty()
                except Exception:
                    worker.log.exception("%s failed", duty.__qualname__)
            time.sleep(1)

    threading.Thread(target=look_after, name="database", daemon=True).start()


def child_exit(server, worker):
    """Keep what a worker counted, and leave no connection to it."""
    exposition.bury(worker.pid, server.WORKERS)
    worker.served[worker.number] = 0


def on_exit(server):  # noqa: ARG001
    """Leave no folder behind."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
