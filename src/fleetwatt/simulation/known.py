"""What the API knows of a fleet before a run, which continues from there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fleetwatt.simulation.fleet import Known, prefix
from fleetwatt.streams import STREAMS, TIMESTAMP, Stream
from fleetwatt.times import MINUTE, minute_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.simulation.client import Client
    from fleetwatt.simulation.plan import Plan

PAGE = 1000  # devices


def newest_readings(client: Client) -> Known:
    """Ask for the newest reading of each simulated device.

    Raises:
        SendingFailed: The API does not say, or does not answer.
    """
    return {
        (stream, status[stream.id.name]): status
        for stream in STREAMS
        for status in _statuses(client, stream)
    }


def may_be_continued(known: Known, plan: Plan) -> bool:
    """Whether a run that starts at a plan's start comes after all of these readings."""
    return all(
        datetime.fromisoformat(status[TIMESTAMP.name]) < plan.start + MINUTE
        for status in known.values()
    )


def newest_of(known: Known) -> datetime:
    """Return the minute of the newest of some readings, of which there is at least one."""
    return minute_of(
        max(datetime.fromisoformat(status[TIMESTAMP.name]) for status in known.values())
    )


def _statuses(client: Client, stream: Stream) -> Iterator[Mapping[str, Any]]:
    after: str | None = prefix(stream)
    while after and after.startswith(prefix(stream)):
        asked = urlencode({"limit": PAGE, "after": after})
        page = client.get(f"/v1/status/{stream.plural}?{asked}").body
        for status in page["items"]:
            if status[stream.id.name].startswith(prefix(stream)):
                yield status
        after = page["next"]
