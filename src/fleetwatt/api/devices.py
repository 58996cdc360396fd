"""The register: what people say of devices, and of the sites that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_smorest import abort

from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import NotKnown
from fleetwatt.lifecycle import register
from fleetwatt.lifecycle.register import UnknownSite
from fleetwatt.schemas.devices import (
    DEFAULT_INTERVAL,
    Device,
    DeviceEntry,
    DevicePage,
    DevicePageQuery,
    Site,
    SiteEntry,
    SitePage,
    SitePageQuery,
)
from fleetwatt.schemas.paging import cut
from fleetwatt.streams import STREAMS, Stream

if TYPE_CHECKING:
    from fleetwatt.database.pool import Row

blueprint = Blueprint(
    "devices", __name__, url_prefix="/v1", description="What people say of devices and sites"
)


def _effective(row: Row) -> Row:
    """Put the defaults in the place of what an entry leaves out."""
    return row | {
        "interval_seconds": row["interval_seconds"] or DEFAULT_INTERVAL,
        "max_kw": row["max_kw"] or current_database().max_kw,
    }


def _device_routes(stream: Stream) -> None:
    every = f"/devices/{stream.plural}"
    one_of_them = f"{every}/<device_id:{stream.id.name}>"

    @blueprint.route(one_of_them, methods=["PUT"], endpoint=f"put_{stream.name}")
    @blueprint.arguments(DeviceEntry)
    @blueprint.response(201, Device, description="The device is registered")
    @blueprint.alt_response(200, schema=Device, description="Its entry is replaced")
    @blueprint.doc(summary=f"Register a {stream.name}, or replace its entry")
    @raises(blueprint, 400, 404, 408, 413, 415, 503)
    def put(entry: dict[str, Any], **path: str) -> tuple[Row, int]:
        (device,) = path.values()
        try:
            row = register.put_devices(
                current_database(), [{"stream": stream.name, "id": device, **entry}]
            )
        except UnknownSite:
            message = f"There is no site {entry['site']}: make it by PUT /v1/sites/{entry['site']}."
            abort(422, messages={"json": {"site": [message]}})
        return _effective(row), 201 if row["created"] else 200

    @blueprint.route(one_of_them, endpoint=f"registered_{stream.name}")
    @blueprint.response(200, Device)
    @blueprint.doc(summary=f"The register's entry of one {stream.name}")
    @caching.conditional(blueprint)
    @raises(blueprint, 404, 422, 503)
    def one(**path: str) -> Row:
        (device,) = path.values()
        entry = current_database().query_one("device", stream=stream.name, id=device)
        return _effective(_known(stream, device, entry))

    @blueprint.route(one_of_them, methods=["DELETE"], endpoint=f"remove_{stream.name}")
    @blueprint.response(200, Device, description="The entry as it was")
    @blueprint.doc(summary=f"Take a {stream.name} out of the register; its readings stay")
    @raises(blueprint, 404, 422, 503)
    def remove(**path: str) -> Row:
        (device,) = path.values()
        removed = current_database().execute_once("remove_device", stream=stream.name, id=device)
        return _effective(_known(stream, device, removed))

    @blueprint.route(every, endpoint=f"registered_{stream.plural}")
    @blueprint.arguments(DevicePageQuery, location="query")
    @blueprint.response(200, DevicePage)
    @blueprint.doc(summary=f"The {stream.plural} in the register, a page at a time")
    @caching.conditional(blueprint)
    @raises(blueprint, 503)
    def page(query: dict[str, Any]) -> dict[str, Any]:
        rows = current_database().query(
            "devices_page",
            stream=stream.name,
            site=query.get("site"),
            id=query.get("id"),
            after=query.get("after"),
            limit=query["limit"] + 1,
        )
        items, last = cut(rows, query["limit"])
        return {"items": list(map(_effective, items)), "next": last and last["id"]}


def _known(stream: Stream, device: str, entry: Row | None) -> Row:
    if entry is None:
        raise NotKnown(f"The register has no {stream.name} {device}.")
    return entry


for _stream in STREAMS:
    _device_routes(_stream)


@blueprint.route("/sites/<device_id:siteId>", methods=["PUT"])
@blueprint.arguments(SiteEntry)
@blueprint.response(201, Site, description="The site is made")
@blueprint.alt_response(200, schema=Site, description="It is replaced")
@raises(blueprint, 400, 404, 408, 413, 415, 503)
def put_site(entry: dict[str, Any], siteId: str) -> tuple[Row, int]:
    """Make a site, or replace what is said of it."""
    row = register.put_sites(current_database(), [{"id": siteId, **entry}])
    return row, 201 if row["created"] else 200


@blueprint.route("/sites/<device_id:siteId>")
@blueprint.response(200, Site)
@caching.conditional(blueprint)
@raises(blueprint, 404, 422, 503)
def site(siteId: str) -> Row:
    """One site."""
    return _known_site(siteId, current_database().query_one("site", id=siteId))


@blueprint.route("/sites/<device_id:siteId>", methods=["DELETE"])
@blueprint.response(200, Site, description="The site as it was")
@raises(blueprint, 404, 409, 422, 503)
def remove_site(siteId: str) -> Row:
    """Remove a site that no device is registered at."""
    removed = register.remove_site(current_database(), siteId)
    return _known_site(siteId, removed)


@blueprint.route("/sites")
@blueprint.arguments(SitePageQuery, location="query")
@blueprint.response(200, SitePage)
@caching.conditional(blueprint)
@raises(blueprint, 503)
def sites(query: dict[str, Any]) -> dict[str, Any]:
    """All sites, a page at a time."""
    rows = current_database().query(
        "sites_page", after=query.get("after"), limit=query["limit"] + 1
    )
    items, last = cut(rows, query["limit"])
    return {"items": items, "next": last and last["id"]}


def _known_site(site: str, row: Row | None) -> Row:
    if row is None:
        raise NotKnown(f"There is no site {site}.")
    return row
