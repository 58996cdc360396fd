"""The routes, a module a blueprint."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

import apispec
import flask_smorest
import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Response, current_app
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from fleetwatt.database.client import Database
from fleetwatt.database.gauges import Gauges
from fleetwatt.http import problems
from fleetwatt.http.arguments import ArgumentsParser
from fleetwatt.lifecycle.doctor import Doctor
from fleetwatt.messaging.link import Link
from fleetwatt.schemas.fields import Choice
from fleetwatt.schemas.problems import Problem
from fleetwatt.streams import ID_PATTERN

_UNITS = {"m": "MINUTES", "h": "HOURS", "d": "DAYS", "w": "WEEKS", "mo": "MONTHS"}
Handler = TypeVar("Handler", bound=Callable[..., Any])


class DeviceId(BaseConverter):
    """A device's id in a path: whatever can't be one is a route that doesn't exist."""

    regex = ID_PATTERN

    @staticmethod
    def schema(_: BaseConverter) -> dict[str, Any]:
        """Return what OpenAPI says of it."""
        return {"type": "string", "pattern": f"^{ID_PATTERN}$", "maxLength": 64}


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A module's routes; their arguments are read by our rules."""

    ARGUMENTS_PARSER = ArgumentsParser()


class OperationIds(apispec.BasePlugin):
    """Names each operation, as clients that are generated call it."""

    def operation_helper(
        self, path: str | None = None, operations: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Name a path's operations, as in getAnalyticsPerformanceVehicleId."""
        words = [word for word in re.findall(r"\w+", path or "") if word != "v1"]
        name = "".join(word[0].upper() + word[1:] for word in words)
        for method, operation in (operations or {}).items():
            operation["operationId"] = f"{method}{name}"


class NamedEnums(apispec.BasePlugin):
    """Makes one schema of each enum, with names for its values, as generated clients need."""

    def init_spec(self, spec: apispec.APISpec) -> None:
        """Refer to the enum wherever a field's validator is a `Choice`."""

        def refer(_: Any, field: ma.fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
            for validator in field.validators:
                if isinstance(validator, Choice):
                    words = ret.pop("enum")
                    if validator.enum not in spec.components.schemas:
                        spec.components.schema(validator.enum, _enum(words))
                    ret["$ref"] = f"#/components/schemas/{validator.enum}"
            return {}

        for plugin in spec.plugins:
            if isinstance(plugin, MarshmallowPlugin) and plugin.converter:
                plugin.converter.add_attribute_function(refer)  # type: ignore[no-untyped-call]


def _enum(words: list[str]) -> dict[str, Any]:
    return {"type": "string", "enum": words, "x-enum-varnames": list(map(_variable, words))}


def _variable(word: str) -> str:
    """Return a constant's name, as KWH_CONSUMED_AC_DESCENDING for -kwhConsumedAc."""
    if width := re.fullmatch(r"(\d+)([a-z]+)", word):
        return f"{_UNITS[width[2]]}_{width[1]}"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word.removeprefix("-")).upper()
    return f"{name}_DESCENDING" if word.startswith("-") else name


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest with problems for errors, both what it sends and what it documents."""

    ERROR_SCHEMA = Problem
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer with a problem."""
        return problems.from_http(error)

    def _register_pagination_header(self) -> None:
        """Leave out flask-smorest's page numbers: our pages go by key."""

    def _register_responses(self) -> None:
        # These are used for errors alone: answers name their schema and type themselves.
        self.DEFAULT_RESPONSE_CONTENT_TYPE = problems.MEDIA_TYPE
        super()._register_responses()
        self.DEFAULT_RESPONSE_CONTENT_TYPE = "application/json"


def current_database() -> Database:
    """Return the app's database."""
    return cast("Database", current_app.extensions["fleetwatt"])


def current_link() -> Link:
    """Return the app's link to NATS."""
    return cast("Link", current_app.extensions["fleetwatt.link"])


def current_gauges() -> Gauges:
    """Return the gauges of the app's database."""
    return cast("Gauges", current_app.extensions["fleetwatt.gauges"])


def current_doctor() -> Doctor:
    """Return who examines the app's database."""
    return cast("Doctor", current_app.extensions["fleetwatt.doctor"])


def documented(*decorators: Callable[[Handler], Handler]) -> Callable[[Handler], Handler]:
    """Let flask-smorest's decorators say what a handler does, and call it without them.

    They check and convert at each request, one around the other, which costs three times as much
    as an empty route. Where every microsecond counts, the handler does itself what it needs.
    """

    def decorate(handler: Handler) -> Handler:
        wrapped = handler
        for decorator in reversed(decorators):
            wrapped = decorator(wrapped)
        handler._apidoc = wrapped._apidoc  # type: ignore[attr-defined]  # noqa: SLF001
        return handler

    return decorate


def raises(blueprint: Blueprint, *statuses: int) -> Callable[[Handler], Handler]:
    """Document which problems a route answers with, besides those of its arguments."""

    def decorate(handler: Handler) -> Handler:
        for status in statuses:
            handler = blueprint.alt_response(
                status,
                schema=Problem,
                content_type=problems.MEDIA_TYPE,
                **problems.described(status),
            )(handler)
        return handler

    return decorate
