"""What `gunicorn wsgi:app` reads in this folder: the settings of `fleetwatt serve`."""

from fleetwatt.serving.settings import *  # noqa: F403
