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
worker_class = "gthread"
workers = _config.workers or os.cpu_count() or 1
threads = _config.threads
# Without it the kernel hands most connections to one worker. Nothing is loaded before the fork, so
# that each worker opens connections of its own.
reuse_port = True
preload_app = False
keepalive = 75
timeout = 60
graceful_timeout = 30
# Its default path is one for all servers of a user.
control_socket_disable = True
logconfig_dict = logs.settings(_config)


def on_starting(server):
    """Refuse to serve on a schema that is behind; wait for a database that is away."""
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
