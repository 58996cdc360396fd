"""The command that compares aggregates and latest readings with history."""

from __future__ import annotations

import secrets
import sys

import click

from fleetwatt.analytics import audit as auditing
from fleetwatt.cli import output
from fleetwatt.cli.database import opened_database

_COUNT = click.IntRange(min=1)


@click.command()
@click.option(
    "--sample", type=_COUNT, default=100, show_default=True, help="devices of each stream"
)
@click.option(
    "--hours", type=_COUNT, default=24, show_default=True, help="hours of history, chosen at random"
)
@click.option("--seed", help="chooses the same devices and hours again")
@click.option("--repair", is_flag=True, help="mend what differs, and look again")
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
def audit(sample: int, hours: int, seed: str | None, *, repair: bool, as_json: bool) -> None:
    """Compare aggregates and latest readings with history.

    The exit status is 1 if they differ.
    """
    seed = seed or secrets.token_hex(4)
    with opened_database() as database:
        with output.working("Comparing"):
            findings = auditing.audit(database, sample=sample, hours=hours, seed=seed)
        _say_findings(findings, seed, as_json=as_json)
        if repair and any(finding.differences for finding in findings):
            with output.working("Repairing"):
                for finding in findings:
                    auditing.repair(database, finding)
                findings = auditing.audit(database, sample=sample, hours=hours, seed=seed)
            _say_findings(findings, seed, as_json=as_json)
    sys.exit(int(any(finding.differences for finding in findings)))


def _say_findings(findings: list[auditing.Findings], seed: str, *, as_json: bool) -> None:
    if as_json:
        streams = {finding.stream.name: finding.as_json() for finding in findings}
        output.echo_json({"seed": seed, "streams": streams})
        return
    for finding in findings:
        click.echo(f"{finding} (seed {seed})")
        for difference in finding.differences:
            click.echo(f"  {difference}")
