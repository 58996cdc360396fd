"""Writes the tables of docs/reference/ from the code: `make reference`.

Each page keeps its own words around what stands between a `begin` and an `end` mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import SETTINGS, Config, Setting
from fleetwatt.http.auth import scope_of
from fleetwatt.http.problems import HTTP_KINDS, KINDS
from fleetwatt.observability import metrics

HERE = Path(__file__).parent
MARK = "<!-- {} {}: make reference writes this -->"
METHODS = ("get", "post", "put", "delete")


def table(head: str, rows: Iterator[tuple[str, ...]]) -> str:
    columns = head.split("|")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def cell(text: str) -> str:
    """Put text on one line, without what would end a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def settings() -> str:
    def row(setting: Setting) -> tuple[str, ...]:
        default = (
            f"`{setting.default:g}`"
            if isinstance(setting.default, float)
            else (f"`{setting.default}`" if setting.default != "" else "empty")
        )
        unit = f" {setting.unit}" if setting.unit in {"s", "kW", "days"} else ""
        return f"`{setting.variable}`", default + unit, cell(setting.meaning), cell(setting.legal)

    return table("variable|default|meaning|allowed", map(row, SETTINGS))


def problems() -> str:
    kinds = {kind.name: kind for kind in (*KINDS.values(), *HTTP_KINDS.values())}
    rows = (
        (f"`{kind.name}`", str(kind.status), cell(kind.when), cell(kind.remedy))
        for kind in sorted(kinds.values(), key=lambda kind: kind.status)
    )
    return table("name|status|when|what to do", rows)


def declared_metrics() -> Iterator[tuple[str, ...]]:
    for metric in metrics.REGISTRY.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        # prometheus_client has no public name for the labels of what it collects.
        labels = getattr(metrics.REGISTRY._names_to_collectors[metric.name], "_labelnames", ())  # noqa: SLF001
        yield f"`{name}`", metric.type, ", ".join(labels), cell(metric.documentation)
    for name, family in (metrics.DATABASE | metrics.BUILD).items():
        yield f"`{name}`", "gauge", ", ".join(family.labels), cell(family.help)


def metric_table() -> str:
    return table("metric|type|labels|meaning", declared_metrics())


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}", command


def command_sections() -> str:
    sections = []
    for name, command in commands(fleetwatt, "fleetwatt"):
        context = click.Context(command, info_name=name, **fleetwatt.context_settings)
        usage = f"{name} {' '.join(command.collect_usage_pieces(context))}"
        help_text = re.sub(r"\s*\n\s*", " ", command.get_short_help_str(10_000))
        paragraphs = [part for part in (command.help or "").split("\n\n") if part.strip()]
        words = "\n\n".join(_sentences(paragraph) for paragraph in paragraphs) or help_text
        parts = [f"## {name}", words, f"```\n{usage}\n```"]
        options = [
            (f"`{_option(option, context)}`", _default(option), cell(option.help or ""))
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden
        ]
        if options:
            parts.append(table("option|default|meaning", iter(options)))
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections)


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(option.opts)
    metavar = option.make_metavar(context).removesuffix(" RANGE").replace("|", " or ")
    return names if option.is_flag else cell(f"{names} {metavar}")


def _default(option: click.Option) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    shown = option.show_default and not callable(option.default) and option.default is not None
    return f"`{option.default}`" if shown else ""


def _sentences(paragraph: str) -> str:
    return re.sub(
        r"(?<=[a-z`)\d][.!?]) (?=[A-Z`])", "\n", " ".join(paragraph.replace("\b", "").split())
    )


def openapi() -> dict[str, Any]:
    app = create_app(Config())
    document: dict[str, Any] = app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict()
    return document


def routes() -> str:
    return table("route|does|scope|arguments", _route_rows(openapi()["paths"]))


def schemas() -> str:
    """Describe what requests and answers hold, for the site alone."""
    sections = ["# Requests and answers\n\nWhat each object of the API holds, from `openapi.json`."]
    for name, schema in sorted(openapi()["components"]["schemas"].items()):
        rows = (
            (f"`{field}`", _type(described), cell(described.get("description", "")))
            for field, described in schema.get("properties", {}).items()
        )
        sections.append(f"## {name}\n\n" + table("field|type|meaning", rows))
    return "\n\n".join(sections) + "\n"


def _type(schema: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    either = [_type(part) for key in ("anyOf", "allOf", "oneOf") for part in schema.get(key, [])]
    if either:
        return " or ".join(either)
    kind = schema.get("format", schema.get("type", "any"))
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _route_rows(paths: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for path, operations in sorted(paths.items()):
        for method in METHODS:
            if method not in operations:
                continue
            operation = operations[method]
            arguments = [
                f"`{parameter['name']}`"
                for parameter in operation.get("parameters", [])
                if parameter["in"] == "query"
            ]
            scope = scope_of(path, method.upper()) or "–"
            does = cell(operation.get("summary", "")).removesuffix(".")
            yield f"`{method.upper()} {path}`", does, scope, ", ".join(arguments)


PAGES: dict[str, Callable[[], str]] = {
    "api": routes,
    "cli": command_sections,
    "metrics": metric_table,
    "problems": problems,
    "settings": settings,
}


def generated(name: str) -> str:
    """Return a page as it should be: its own words, and the code's."""
    text = (HERE / f"{name}.md").read_text()
    begin, end = MARK.format("begin", name), MARK.format("end", name)
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"docs/reference/{name}.md lacks the marks {begin} and {end}")
    return f"{before}{begin}\n\n{PAGES[name]()}\n\n{end}{after}"


if __name__ == "__main__":
    for page in PAGES:
        (HERE / f"{page}.md").write_text(generated(page))
