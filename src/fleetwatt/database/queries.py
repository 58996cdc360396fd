"""Loads the named queries of sql/.

A block starts with `-- name --`. Comment lines follow that say what it answers, what it costs and
how many rows it returns. Then comes the statement, with psycopg2's `%(parameter)s`, and `$name` for
what derives from streams.py and figures.py. The last comment is `-- Rows: one.`, `at most one.` or
`many.`, which says what method of Database runs it; `Run once: …` after it says why
`execute_once` has to. The blocks in per_stream/ are there once for each stream, as `meter.name` and
`vehicle.name`; so are the functions of db/repeatable/per_stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fleetwatt.figures import VEHICLE_FIGURES
from fleetwatt.streams import MAX_AHEAD, STREAMS, Stream

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

# Files of what dashboards draw, which may be a moment old. Never what a write goes by, nor status.
FOR_REPLICA = {"analytics.sql", "fleet.sql", "series.sql"}
# Files of what may take long: few of these are asked at once, and none whose client is gone.
ANALYTIC = FOR_REPLICA | {"sessions.sql"}
# Files of short questions that wait for no others: about keys and health, and what a write goes by.
FIRST = {"keys.sql", "service.sql"}
FOR_WRITES = {"ingestion.sql"}
_BLOCK = re.compile(r"^-- (\w+) --\n((?:--.*\n)*)", re.MULTILINE)
_NAME = re.compile(r"\$(?:\{(\w+)\}|([a-z]\w*))")  # neither `$$` nor `$1`


def of_stream(text: str, stream: Stream) -> str:
    """Put a stream's names in the place of `$history`, `${stream}_hours` and the like.

    They are those of streams.py, never anything that came from outside.
    """
    return _filled(text, _names(stream))


def _filled(text: str, names: Mapping[str, str]) -> str:
    return _NAME.sub(lambda found: names[found[1] or found[2]], text)


# What the blocks that are there once may name.
_FIGURES = {
    "when_a_vehicle_figure": " ".join(
        f"WHEN '{figure.column}' THEN {figure.column}" for figure in VEHICLE_FIGURES
    ),
}


@cache
def _names(stream: Stream) -> dict[str, str]:
    return {
        "stream": stream.name,
        "history": stream.history,
        "latest": stream.latest,
        "status": stream.status,
        **_status(stream),
        "id": stream.id.column,
        "columns": ", ".join(stream.columns),
        "arrays": ", ".join(
            f"%({stream.name}_{field.column})s::{field.sql_type}[]" for field in stream.fields
        ),
        "parameters": ", ".join(f"{field.column}s {field.sql_type}[]" for field in stream.fields),
        "unnested": ", ".join(f"unnest({column}s) AS {column}" for column in stream.columns),
        "some_unnested": ", ".join(
            f"unnest({column}s[i:i + size - 1]) AS {column}" for column in stream.columns
        ),
        "gathered": ", ".join(f"array_agg({column})" for column in stream.columns),
        "arguments": ", ".join(f"{column}s" for column in stream.columns),
        "set_reading": ", ".join(f"{column} = reading.{column}" for column in stream.columns[1:]),
        "set_measures": ", ".join(
            f"{field.column} = reading.{field.column}" for field in stream.measures
        ),
        "stored_measures": ", ".join(f"stored.{field.column}" for field in stream.measures),
        "reading_measures": ", ".join(f"reading.{field.column}" for field in stream.measures),
        "set_excluded": ", ".join(f"{column} = excluded.{column}" for column in stream.columns[1:]),
        "max_ahead": f"INTERVAL '{MAX_AHEAD.total_seconds():g} seconds'",
        "when_a_status_order": " ".join(
            f"WHEN '{field.column}' THEN {field.column}" for field in stream.measures
        )
        + " WHEN 'time' THEN date_part('epoch', time)"
        " WHEN 'received_at' THEN date_part('epoch', received_at)",
        "counter": stream.counter.column,
        "hourly": stream.hourly,
        "mean": stream.mean.column,
        "possible_statistics": ", ".join(_possible_statistics(stream)),
        "hourly_statistics": ", ".join(
            stored.format(statistic.measure.column)
            for statistic in stream.statistics
            for stored in _OF_HOUR.get(statistic.kind, [f"{statistic.kind}_{{}}"])
        ),
        "reading_statistics": ", ".join(
            of_reading.format(statistic.measure.column)
            for statistic in stream.statistics
            for of_reading in _OF_READING.get(statistic.kind, ["{}"])
        ),
        "bucket_statistics": ", ".join(
            f"{_OF_BUCKET[statistic.kind].format(statistic.measure.column)} AS {statistic.column}"
            for statistic in stream.statistics
        ),
        "named_statistics": ", ".join(statistic.column for statistic in stream.statistics),
        "raw_statistics": ", ".join(
            f"reading.{statistic.measure.column} AS {statistic.column}"
            for statistic in stream.statistics
        ),
    }


def _status(stream: Stream) -> dict[str, str]:
    """Return the columns of a stream's status, and how it comes by what a device draws from."""
    columns = [*stream.columns, "received_at", "age_seconds"]
    if stream.drawn_from is None:
        return {"status_columns": ", ".join(columns), "mapped_column": "", "mapping_now": ""}
    drawn_from, device = stream.drawn_from.column, stream.id.column
    return {
        "status_columns": ", ".join([*columns, drawn_from]),
        "mapped_column": f", mapping.{drawn_from}",
        "mapping_now": "LEFT JOIN vehicle_meter_mapping AS mapping "
        f"ON mapping.{device} = latest.{device} AND mapping.valid @> now()",
    }


# How a bucket's statistic comes from what is known of the bucket's pieces: what an hour has
# stored, and what a reading has in that place. A mean is a sum over the readings that say
# something.
_OF_HOUR = {"avg": ["sum_{}", "count_{}"]}
_OF_READING = {"avg": ["{}", "num_nonnulls({})"]}
_OF_BUCKET = {
    "first": "first(first_{0}, first_time) FILTER (WHERE first_{0} IS NOT NULL)",
    "last": "last(last_{0}, first_time) FILTER (WHERE last_{0} IS NOT NULL)",
    "min": "min(min_{0})",
    "avg": "quotient(sum(sum_{0}), sum(count_{0}))",
    "max": "max(max_{0})",
}


def _possible_statistics(stream: Stream) -> Iterator[str]:
    """Yield what an hourly aggregate may hold of each measure but the counter."""
    for measure in (field.column for field in stream.measures if field != stream.counter):
        for name in ("first", "last"):
            known = f"FILTER (WHERE {measure} IS NOT NULL)"
            yield f"{name}({measure}, time) {known} AS {name}_{measure}"
        for name in ("min", "max", "sum", "count"):
            yield f"{name}({measure}) AS {name}_{measure}"


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the statement of each block of a file."""
    parts = _BLOCK.split(text)
    for name, statement in zip(parts[1::3], parts[3::3], strict=True):
        yield name, statement.strip().removesuffix(";")


def _of(folder: Traversable) -> Iterator[tuple[str, str, str]]:
    for file in folder.iterdir():
        if file.name.endswith(".sql"):
            for name, statement in blocks(file.read_text(encoding="utf-8")):
                yield file.name, name, statement


def _all() -> Iterator[tuple[str, str, str]]:
    """Yield of each query the name of its file, its own, and the statement."""
    folder = files(__package__).joinpath("sql")
    for file, name, statement in _of(folder):
        yield file, name, _filled(statement, _FIGURES)
    for stream in STREAMS:
        for file, name, statement in _of(folder.joinpath("per_stream")):
            yield file, f"{stream.name}.{name}", of_stream(statement, stream)


def load() -> dict[str, str]:
    """Return every query by its name."""
    return {name: statement for _, name, statement in _all()}


def names(of: Set[str]) -> frozenset[str]:
    """Return the names of the queries that some files hold."""
    return frozenset(name for file, name, _ in _all() if file in of)
