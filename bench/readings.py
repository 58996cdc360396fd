"""The readings that every measurement sends: those of a fleet, minute after minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from fleetwatt.streams import Field, Stream

DEVICES = 10_000
# Where each measurement starts; what is in the tables before lies before it.
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)


@dataclass(frozen=True)
class Form:
    """How a server takes the readings of one stream.

    Attributes:
        path: Where they are posted.
        opening, between, closing: What stands around readings.
        device: What a reading begins with; `@id@` is the device's id.
        minute: What follows; `@counter@`, `@time@` and `@epoch@` differ from minute to minute.
    """

    path: str
    opening: str
    between: str
    closing: str
    device: str
    minute: str


def fleetwatt(stream: Stream, size: int, path: str | None = None) -> Form:
    """One reading as an object, several as an array."""
    opening, closing = ("[", "]") if size > 1 else ("", "")
    steady = "".join(f',"{field.name}":{field.example}' for field in _steady(stream))
    return Form(
        path or f"/v1/ingestion/{stream.name}",
        opening,
        ",",
        closing,
        f'{{"{stream.id.name}":"@id@"{steady}',
        f',"{stream.counter.name}":@counter@,"timestamp":"@time@"}}',
    )


def line_protocol(stream: Stream, path: str) -> Form:
    """InfluxDB's line protocol, in seconds."""
    steady = "".join(f"{field.column}={field.example}," for field in _steady(stream))
    return Form(
        path,
        "",
        "\\n",
        "",
        f"{stream.history},{stream.id.column}=@id@ {steady}",
        f"{stream.counter.column}=@counter@ @epoch@",
    )


def _steady(stream: Stream) -> list[Field]:
    return [field for field in stream.measures if field is not stream.counter]


def device_id(stream: Stream, number: int) -> str:
    return f"{stream.name[0].upper()}-{number:05}"


def write_form(folder: Path, stream: Stream, form: Form) -> Path:
    """Write what `post.lua` has to know of a stream."""
    file = folder / stream.name
    head = (form.path, form.opening, form.between, form.closing, form.minute)
    devices = (form.device.replace("@id@", device_id(stream, n)) for n in range(DEVICES))
    file.write_text("\n".join((*head, *devices)) + "\n")
    return file


def copy_text(stream: Stream, minute: int) -> str:
    """All devices' readings of one minute after `START`, as COPY's text."""
    time = (START + timedelta(minutes=minute)).isoformat()
    return _copy_form(stream).replace("@time@", time).replace("@counter@", f"{100 + minute / 64}")


@cache
def _copy_form(stream: Stream) -> str:
    measures = "\t".join(
        "@counter@" if field is stream.counter else str(field.example) for field in stream.measures
    )
    return "".join(f"{device_id(stream, n)}\t@time@\t{measures}\n" for n in range(DEVICES))
