"""The least that gunicorn and Flask can do: single readings are measured against it."""

from flask import Flask

app = Flask(__name__)


@app.post("/")
def empty() -> tuple[str, int]:
    """Answer without a look at the request."""
    return "{}", 201
