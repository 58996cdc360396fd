"""Lets pages of other origins read answers, where an operator names them (Fetch standard, CORS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_cors import CORS

if TYPE_CHECKING:
    from flask import Flask

    from fleetwatt.config import Config


def register(app: Flask, config: Config) -> None:
    """Allow the origins of FLEETWATT_CORS_ORIGINS; keys go in headers, so no cookie is allowed."""
    if origins := [origin.strip() for origin in config.cors_origins.split(",") if origin.strip()]:
        CORS(
            app,
            origins=origins,
            allow_headers=["Authorization", "Content-Type", "If-None-Match"],
            expose_headers=["ETag", "Retry-After", "X-Request-Id"],
            max_age=600,
        )
