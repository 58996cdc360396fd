"""Serves with gunicorn by the settings beside this: what `fleetwatt serve` becomes.

It is a program of its own because the settings have to come before anything declares a metric. And
the workers of a master share all that it has loaded.
"""

from __future__ import annotations

import sys
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication


class Service(WSGIApplication):  # type: ignore[misc]
    """gunicorn, of whose command line nothing is left to say; GUNICORN_CMD_ARGS still counts."""

    def init(self, parser: Any, opts: Any, args: Any) -> None:
        """Take settings and app from the package, whatever the folder holds."""
        opts.config = "python:fleetwatt.serving.settings"
        self.app_uri = "fleetwatt.app:create_app()"
        self.cfg.set("default_proc_name", "fleetwatt")


# By these gunicorn starts another master (SIGUSR2): the path that was here can't be run.
sys.argv = ["-m", "fleetwatt.serving"]
Service(prog="fleetwatt serve").run()
