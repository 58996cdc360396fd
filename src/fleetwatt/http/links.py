"""OpenAPI's links: what can be asked about a device once a request has named it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import apispec

from fleetwatt.streams import METER, STREAMS, VEHICLE, Stream

_STORED = {200, 201}
_VEHICLES_OWN = {
    "vehiclePerformance": "get /v1/analytics/performance/{vehicleId}",
    "vehicleUnplugged": "delete /v1/ingestion/mapping/{vehicleId}",
}


def _about(stream: Stream) -> dict[str, str]:
    """Return the routes about one device, by the names of the links that lead there."""
    device = f"{stream.plural}/{{{stream.id.name}}}"
    return {
        f"{stream.name}Status": f"get /v1/status/{device}",
        f"{stream.name}Series": f"get /v1/analytics/{device}/series",
        f"{stream.name}Gaps": f"get /v1/analytics/{device}/gaps",
        **(_VEHICLES_OWN if stream is VEHICLE else {}),
    }


def _link(target: str, parameters: dict[str, str]) -> dict[str, Any]:
    method, _, path = target.partition(" ")
    pointer = quote(path.replace("/", "~1"), safe="~")
    return {"operationRef": f"#/paths/{pointer}/{method}", "parameters": parameters}


def _named(where: str, stream: Stream) -> dict[str, str]:
    """Return the parameter that is a device's id, as the request's body names it."""
    return {f"{where}.{stream.id.name}": f"$request.body#/{stream.id.name}"}


def _links(*streams: Stream) -> dict[str, Any]:
    """Return the links from a request whose body names a device of each stream."""
    return {
        name: _link(target, _named("path", stream))
        for stream in streams
        for name, target in _about(stream).items()
    }


_LINKS: dict[str, dict[str, Any]] = {
    **{f"/v1/ingestion/{stream.name}": _links(stream) for stream in STREAMS},
    "/v1/ingestion/mapping": {
        **_links(VEHICLE, METER),
        "mappings": _link(
            "get /v1/mappings", {**_named("query", VEHICLE), **_named("query", METER)}
        ),
    },
}


class Links(apispec.BasePlugin):
    """Documents the links of what was stored."""

    def operation_helper(
        self, path: str | None = None, operations: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Document those of a path's operations."""
        links = _LINKS.get(path or "")
        for operation in (operations or {}).values():
            for status, response in operation["responses"].items():
                if links and int(status) in _STORED:
                    response["links"] = links
