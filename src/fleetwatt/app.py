"""fleetwatt: energy telemetry of vehicle fleets on TimescaleDB."""

from __future__ import annotations

from flask import Flask
from flask_swagger_ui import get_swaggerui_blueprint

from fleetwatt.api import (
    admin,
    corrections,
    devices,
    fleet,
    health,
    ingestion,
    key,
    mappings,
    monitoring,
    series,
    sessions,
    status,
    summary,
)
from fleetwatt.config import Config
from fleetwatt.database import gauges
from fleetwatt.database.client import Database
from fleetwatt.http import (
    arguments,
    auth,
    clients,
    compression,
    cors,
    headers,
    hosts,
    links,
    problems,
    request_log,
)
from fleetwatt.http.openapi import Api, DeviceId, NamedEnums, OperationIds
from fleetwatt.lifecycle.doctor import Doctor
from fleetwatt.messaging.link import Link
from fleetwatt.version import VERSION
from fleetwatt.web import page

_OPENAPI = {
    "API_TITLE": "fleetwatt",
    "API_VERSION": VERSION,
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
    "API_SPEC_OPTIONS": {
        "info": {
            "description": "Energy telemetry of a vehicle fleet: ingestion, status and analytics. "
            "Timestamps are RFC 3339; answers are UTC. Energy is in kWh.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "contact": {"name": "Those who run this service"},
        },
        "servers": [{"url": "/", "description": "The service that this document comes from"}],
    },
}


def create_app(config: Config | None = None) -> Flask:
    """Build the app from its settings.

    No connection is opened before the first request, so that workers may fork after this.

    Raises:
        ConfigError: The service would be open to other machines without keys.
    """
    config = config or Config.from_environment()
    config.check_address(config.host)
    app = Flask("fleetwatt", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config |= _OPENAPI
    app.config["UNKNOWN_FIELDS"] = config.unknown_fields
    database = app.extensions["fleetwatt"] = Database(config)
    app.config["NATS_REQUIRED"] = config.nats_required == "yes"
    app.extensions["fleetwatt.link"] = Link(config.nats_url)
    app.extensions["fleetwatt.gauges"] = gauges.Gauges(lambda: gauges.ask(database))
    app.extensions["fleetwatt.doctor"] = Doctor(config)
    app.url_map.converters["device_id"] = DeviceId
    # A path with an empty part has no route: a redirect would lead to what the client may not see.
    app.url_map.merge_slashes = False
    clients.register(app)
    request_log.register(app, config)
    problems.register(app)
    hosts.register(app, config)
    # Who asks is looked at before what is asked.
    auth.register(app, config, database)
    cors.register(app, config)
    compression.register(app)
    headers.register(app, config)
    arguments.register(app)

    security = auth.Security(required=config.auth == "required")
    plugins = [OperationIds(), NamedEnums(), security, links.Links()]
    api = Api(app, spec_kwargs={"extra_plugins": plugins})
    api.register_converter(DeviceId, DeviceId.schema)
    for module in (
        health,
        monitoring,
        ingestion,
        mappings,
        status,
        summary,
        fleet,
        series,
        sessions,
        corrections,
        devices,
        key,
        admin,
    ):
        api.register_blueprint(module.blueprint)
    docs = get_swaggerui_blueprint("/docs", "/openapi.json", config={"app_name": "fleetwatt"})
    docs.after_request(headers.allow_page)
    app.register_blueprint(docs)
    app.register_blueprint(page.blueprint)
    return app
