"""How gunicorn serves: its settings, by the names that it gives them.

All workers take connections from the master's socket, which outlives them: a restart, an upgrade or
a crash of workers loses no connection. They leave each to the one that serves the fewest
(decision 19).

`fleetwatt serve` reads this module, and so does gunicorn.conf.py for `gunicorn wsgi:app`.
"""

from __future__ import annotations

import os

from fleetwatt.serving import metrics_folder

metrics_folder.claim()

# What these import declares metrics, which would not find their folder any more.
from fleetwatt.config import Config, ConfigError  # noqa: E402
from fleetwatt.observability import logs  # noqa: E402
from fleetwatt.serving.hooks import (  # noqa: E402
    child_exit,
    on_exit,
    on_starting,
    post_fork,
    post_worker_init,
    pre_fork,
)

try:
    _config = Config.of_a_database()
except ConfigError as error:
    raise SystemExit(f"fleetwatt: {error}") from None

# A container may be let run on some of a host's cores.
_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

bind = _config.netloc
worker_class = "fleetwatt.serving.worker.Worker"
workers = _config.workers or _cores or 1
threads = _config.threads
# Each worker opens database connections of its own.
preload_app = False
keepalive = 75
timeout = 60
graceful_timeout = 30
# Of one worker, those that wait for their next request among them.
worker_connections = 1000
# No proxy says where the app is mounted, nor may a client.
forwarder_headers = ""
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# Its default path is one for all servers of a user.
control_socket_disable = True
logger_class = "fleetwatt.serving.worker.Logger"
logconfig_dict = logs.settings(_config)

__all__ = [
    "bind",
    "child_exit",
    "control_socket_disable",
    "forwarder_headers",
    "graceful_timeout",
    "keepalive",
    "limit_request_field_size",
    "limit_request_fields",
    "limit_request_line",
    "logconfig_dict",
    "logger_class",
    "on_exit",
    "on_starting",
    "post_fork",
    "post_worker_init",
    "pre_fork",
    "preload_app",
    "threads",
    "timeout",
    "worker_class",
    "worker_connections",
    "workers",
]
