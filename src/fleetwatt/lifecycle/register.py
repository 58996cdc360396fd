"""What people say of devices and sites, for the routes and the command line.

RegisterRefused
├── UnknownSite         a device's site is not there
└── SiteInUse           devices are registered at the site
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fleetwatt.calendar import DEFAULT_ZONE
from fleetwatt.database.errors import ReferenceBroken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

Entry = Mapping[str, Any]


class RegisterRefused(Exception):
    """The register can't be changed so."""


class UnknownSite(RegisterRefused):
    """The site of a device is not there."""


class SiteInUse(RegisterRefused):
    """Devices are registered at the site."""


def put_devices(database: Database, entries: Sequence[Entry]) -> Row:
    """Make or replace the entries of devices, all or none.

    Args:
        database: Where to.
        entries: One or more, by their columns, each device once; what is missing is at its default.

    Returns:
        The entry that comes first by its id, and whether it was `created`.

    Raises:
        UnknownSite: One names a site that is not there.
    """
    try:
        row = database.execute_once(
            "put_devices",
            streams=[entry["stream"] for entry in entries],
            ids=[entry["id"] for entry in entries],
            names=[entry.get("name") for entry in entries],
            sites=[entry.get("site") for entry in entries],
            intervals=[entry.get("interval_seconds") for entry in entries],
            max_kws=[entry.get("max_kw") for entry in entries],
        )
    except ReferenceBroken as error:
        raise UnknownSite(UnknownSite.__doc__) from error
    assert row is not None  # noqa: S101 - as many are returned as are given
    return row


def put_sites(database: Database, entries: Sequence[Entry]) -> Row:
    """Make or replace sites, all or none, given and returned as devices are."""
    row = database.execute_once(
        "put_sites",
        ids=[entry["id"] for entry in entries],
        names=[entry.get("name") for entry in entries],
        time_zones=[entry.get("time_zone") or DEFAULT_ZONE for entry in entries],
    )
    assert row is not None  # noqa: S101 - as many are returned as are given
    return row


def remove_site(database: Database, site: str) -> Row | None:
    """Remove a site and return it as it was; None where it is not there.

    Raises:
        SiteInUse: Devices are registered at it.
    """
    try:
        return database.execute_once("remove_site", id=site)
    except ReferenceBroken:
        raise SiteInUse(
            f"Devices are registered at {site}: give them another site first, or none."
        ) from None
