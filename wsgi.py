"""gunicorn's entry: `gunicorn wsgi:app`."""

from fleetwatt import create_app

app = create_app()
