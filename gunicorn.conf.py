"""How gunicorn serves: every worker takes connections from a socket of its own."""

import gc
import os

from fleetwatt import logs
from fleetwatt.config import Config, ConfigError
from fleetwatt.store import Store
from fleetwatt.store.errors import SchemaBehind, StoreError

try:
    _config = Config.from_environment()
except ConfigError as error:
    raise SystemExit(f"fleetwatt: {error}") from None

bind = f"{_config.host}:{_config.port}"
worker_class = "fleetwatt.worker.Worker"
workers = _config.workers or os.cpu_count() or 1
threads = _config.threads
# Without it the kernel hands most connections to one worker. Nothing is loaded before the fork, so
# that each worker opens connections of its own.
reuse_port = True
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
logconfig_dict = logs.settings(_config)


def on_starting(server):
    """Refuse an open door and a schema that is behind; wait for a database that is away."""
    try:
        for address in server.address:
            # What gunicorn was told by its own options counts, too; a path is a local socket's.
            if not isinstance(address, str):
                _config.check_address(address[0])
    except ConfigError as error:
        raise SystemExit(f"fleetwatt: {error}") from None
    store = Store(_config)
    try:
        store.one("ping")
    except SchemaBehind as error:
        raise SystemExit(f"fleetwatt: {error}") from None
    except StoreError as error:
        server.log.warning("the database is away, requests are answered with 503: %s", error)
    finally:
        store.close()


def post_worker_init(_worker):
    """Let the garbage collector pass over what lives as long as the worker does."""
    gc.collect()
    gc.freeze()
