"""Loads the named queries of queries/*.sql.

A block starts with `-- name --`, then comment lines that say what it answers and what it costs,
then the statement with psycopg2's `%(parameter)s`. The blocks of per_stream.sql and audit.sql are
there once for each stream, as `meter.name` and `vehicle.name`: `$history`, `$id` and the like stand
for names that streams.py gives, never for anything that came from outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from string import Template

from fleetwatt.streams import STREAMS, Stream

_BLOCK = re.compile(r"^-- (\w+) --\n((?:--.*\n)*)", re.MULTILINE)
PER_STREAM = {"per_stream.sql", "audit.sql"}


def _names(stream: Stream) -> dict[str, str]:
    return {
        "history": stream.history,
        "latest": stream.latest,
        "status": stream.status,
        "id": stream.id.column,
        "columns": ", ".join(stream.columns),
        "measures": ", ".join(each.column for each in stream.measures),
        "arrays": ", ".join(f"%({each.column})s::{each.sql_type}[]" for each in stream.fields),
        "updates": ", ".join(f"{each} = excluded.{each}" for each in stream.columns[1:]),
        "counter": stream.counter.column,
        "hourly": stream.hourly,
        "figures": ", ".join(_figures(stream)),
    }


def _figures(stream: Stream) -> Iterator[str]:
    """Yield what an hourly aggregate may hold of each measure but the counter."""
    for measure in (each.column for each in stream.measures if each != stream.counter):
        for name in ("first", "last"):
            yield f"{name}({measure}, time) AS {name}_{measure}"
        for name in ("min", "max", "sum"):
            yield f"{name}({measure}) AS {name}_{measure}"


def _blocks(text: str) -> dict[str, str]:
    parts = _BLOCK.split(text)
    return {
        name: statement.strip().removesuffix(";")
        for name, statement in zip(parts[1::3], parts[3::3], strict=True)
    }


def load() -> dict[str, str]:
    """Return every query by its name."""
    queries: dict[str, str] = {}
    for file in files(__package__).joinpath("queries").iterdir():
        blocks = _blocks(file.read_text(encoding="utf-8"))
        if file.name not in PER_STREAM:
            queries |= blocks
            continue
        for stream in STREAMS:
            names = _names(stream)
            for name, statement in blocks.items():
                queries[f"{stream.name}.{name}"] = Template(statement).substitute(names)
    return queries
