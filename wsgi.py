"""gunicorn's entry: `gunicorn wsgi:app`."""

from fleetwatt.app import create_app

app = create_app()
