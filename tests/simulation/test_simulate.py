"""`fleetwatt simulate` over real HTTP: what it says was acknowledged is what is stored."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.cli import fleetwatt
from fleetwatt.simulation.fleet import Fleet
from fleetwatt.simulation.network import Delivery, Network
from fleetwatt.simulation.plan import Plan
from fleetwatt.streams import METER, STREAMS, VEHICLE, Stream
from tests.conftest import rows
from tests.simulation.conftest import Front

START = (datetime.now(UTC) - timedelta(days=2)).replace(hour=20, minute=0, second=0, microsecond=0)
MINUTES = 180
SPAN = ("--since", START.isoformat(), "--until", (START + timedelta(minutes=MINUTES)).isoformat())
FLEET = ("--vehicles", "12", "--meters", "8", "--moved", "12", "--replaced", "1")
# Of the usual 0.5 % a day may have none that is sent twice.
USUAL = ("--repeat", "0.03")
HEAVY = ("--loss", "0.2", "--late", "0.3", "--repeat", "0.2", "--batch", "100")
PLAN = Plan(vehicles=12, meters=8, moved=12, replaced=1, start=START)
HEAVY_PLAN = Plan(
    vehicles=12, meters=8, moved=12, replaced=1, start=START, loss=0.2, late=0.3, repeat=0.2
)


def simulate(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(fleetwatt, ["simulate", "--url", url, "--json", *arguments])


def account(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def stored(sql: Connection, stream: Stream) -> int:
    [(count,)] = rows(sql, f"SELECT count(*) FROM {stream.history}")
    return int(count)


def answer(client: FlaskClient, path: str, **query: str) -> Any:
    response = client.get(path, query_string=query)
    assert response.status_code == 200
    return response.json


def deliveries(plan: Plan) -> Iterator[Delivery]:
    """What arrives of a fleet, by the model alone."""
    fleet, network = Fleet(plan), Network(plan)
    for _ in range(MINUTES):
        fleet.advance()
        for second in range(60):
            for stream in STREAMS:
                yield network.carry(stream, second, fleet.readings(stream, second))
    yield from network.drain()


def newest(plan: Plan, stream: Stream) -> dict[str, dict[str, Any]]:
    """The newest reading of each device that arrives."""
    found: dict[str, dict[str, Any]] = {}
    for delivery in deliveries(plan):
        if delivery.stream is stream:
            for reading in delivery.readings:
                fields = {field.name: getattr(reading, field.name) for field in stream.fields}
                device = fields[stream.id.name]
                if device not in found or found[device]["timestamp"] < fields["timestamp"]:
                    found[device] = fields
    return found


@pytest.mark.parametrize("faults", [USUAL, HEAVY], ids=["usual faults", "heavy faults"])
def test_what_was_accepted_is_what_is_stored(
    faults: tuple[str, ...], server_url: str, sql: Connection
) -> None:
    said = account(simulate(server_url, *SPAN, *FLEET, *faults))

    for stream, devices in ((METER, 8), (VEHICLE, 12)):
        counts = said["streams"][stream.name]
        assert counts["made"] == devices * MINUTES
        assert counts["sent"] == counts["made"] - counts["lost"] + counts["repeated"]
        assert counts["accepted"] == counts["made"] - counts["lost"] == stored(sql, stream)
        assert counts["duplicates"] == counts["repeated"] > 0
        assert counts["lost"] > 0
        assert (counts["rejected"], counts["unanswered"], counts["unsure"]) == (0, 0, 0)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_the_status_is_the_newest_reading_that_was_delivered(
    stream: Stream, server_url: str, client: FlaskClient
) -> None:
    account(simulate(server_url, *SPAN, *FLEET, *HEAVY))

    expected = newest(HEAVY_PLAN, stream)
    status = answer(client, f"/v1/status/{stream.plural}")["items"]
    assert {
        device[stream.id.name]: {field.name: device[field.name] for field in stream.fields}
        for device in status
    } == expected


def test_another_run_of_the_same_plan_is_all_duplicates(server_url: str, sql: Connection) -> None:
    account(simulate(server_url, *SPAN, *FLEET))
    before = [stored(sql, stream) for stream in STREAMS]
    again = account(simulate(server_url, *SPAN, *FLEET))

    for counts in again["streams"].values():
        assert (counts["accepted"], counts["duplicates"]) == (0, counts["sent"])
    assert [stored(sql, stream) for stream in STREAMS] == before


def test_a_later_run_continues_the_same_fleet(server_url: str, client: FlaskClient) -> None:
    still = ("--moved", "12", "--replaced", "0", "--vehicles", "12", "--meters", "12")
    account(simulate(server_url, *SPAN, *still))
    before = {
        stream: {
            status[stream.id.name]: status
            for status in answer(client, f"/v1/status/{stream.plural}")["items"]
        }
        for stream in STREAMS
    }
    later = START + timedelta(minutes=MINUTES + 30)
    span = ("--since", later.isoformat(), "--until", (later + timedelta(minutes=90)).isoformat())

    result = simulate(server_url, *span, *still)

    account(result)
    assert "Going on from the newest readings of 24 devices." in result.stderr
    end = (later + timedelta(minutes=90)).isoformat()
    for stream in STREAMS:
        for device, earlier in before[stream].items():
            status = answer(client, f"/v1/status/{stream.plural}/{device}")
            # 22 kW on each of the 12 meters, for two hours at most.
            assert 0 <= status[stream.counter.name] - earlier[stream.counter.name] < 44 * 12
            assert status["timestamp"][17:19] == earlier["timestamp"][17:19]
    for number in range(1, 13):
        summary = answer(client, f"/v1/analytics/performance/V-{number:05}", end=end, hours="6")
        assert summary["counterResets"] == 0


def test_a_second_backfill_goes_on_after_the_first(server_url: str, client: FlaskClient) -> None:
    account(simulate(server_url, "--since", "5m", *FLEET))

    again = simulate(server_url, "--since", "10m", *FLEET)

    said = account(again)
    assert "going on after them" in again.stderr
    # A minute or two at most may have passed meanwhile: nothing is sent over what is there.
    assert all(counts["duplicates"] == counts["repeated"] for counts in said["streams"].values())
    summary = answer(client, "/v1/analytics/performance/V-00001", hours="1")
    assert (summary["counterResets"], summary["ignoredReadings"]) == (0, 0)


def test_a_run_before_what_is_stored_says_that_it_does_not_fit(server_url: str) -> None:
    account(simulate(server_url, *SPAN, *FLEET))
    earlier = START + timedelta(minutes=30)
    span = ("--since", earlier.isoformat(), "--until", (earlier + timedelta(minutes=1)).isoformat())

    assert "are stored already" in simulate(server_url, *span, *FLEET).stderr


def test_the_mappings_are_those_of_the_fleet(server_url: str, client: FlaskClient) -> None:
    said = account(simulate(server_url, *SPAN, *FLEET))

    fleet = Fleet(PLAN)
    expected = []
    for _ in range(MINUTES):
        fleet.advance()
        expected += [(*move, fleet.now) for move in fleet.moves.items()]
    listed = answer(client, "/v1/mappings")["items"]
    found = {
        (mapping["vehicleId"], mapping["meterId"], datetime.fromisoformat(mapping["validFrom"]))
        for mapping in listed
    }
    assert len(found) == len(listed) > 12
    assert found == set(expected)
    assert said["mappings"] == {
        "created": len(expected),
        "unchanged": 0,
        "conflicts": 0,
        "moved": len(expected) - 12,
    }


def test_each_vehicle_is_as_efficient_as_the_model_says(
    server_url: str, client: FlaskClient
) -> None:
    shared = ("--vehicles", "40", "--meters", "30", "--moved", "0", "--replaced", "0")
    account(simulate(server_url, *SPAN, *shared, "--late", "0.3", "--loss", "0"))

    end = (START + timedelta(minutes=MINUTES)).isoformat()
    found = []
    for number in range(1, 41):
        summary = answer(client, f"/v1/analytics/performance/V-{number:05}", end=end, hours="4")
        assert (summary["counterResets"], summary["vehicleReadings"]) == (0, MINUTES)
        if summary["kwhConsumedAc"] > 1:
            found.append(summary["efficiency"])
    assert len(found) > 2
    assert all(0.879 < efficiency < 0.941 for efficiency in found)


def test_what_no_answer_came_for_is_accounted_for(front: Front, sql: Connection) -> None:
    """A third of the requests gets no answer or a 5xx, some of them after the commit."""
    front.chance_of_fault = 0.3
    many = ("--batch", "30", "--connections", "12")
    said = account(simulate(front.url, *SPAN, *FLEET, "--repeat", "0", *many))

    for stream in STREAMS:
        counts = said["streams"][stream.name]
        assert counts["accepted"] + counts["unsure"] == counts["made"] - counts["lost"]
        assert counts["accepted"] + counts["unsure"] == stored(sql, stream)
        assert (counts["duplicates"], counts["unanswered"]) == (counts["unsure"], 0)
    assert sum(counts["retries"] for counts in said["streams"].values()) > 0
    assert sum(counts["unsure"] for counts in said["streams"].values()) > 0


def test_an_api_that_goes_away_is_given_up_and_what_it_had_acknowledged_is_told(
    front: Front, sql: Connection
) -> None:
    # Without moves, so that what the API stops answering at is a batch, on whatever day this runs.
    still = (*SPAN, *FLEET, "--moved", "0")
    arguments = (*still, "--patience", "1", "--batch", "100", "--connections", "1")
    with ExitStack() as stack:
        stack.callback(front.faults.clear)
        # What is asked for first, the mappings and ten batches pass.
        front.faults = [None] * 24 + [("503 Busy", {"Retry-After": "5"})] * 1000
        result = simulate(front.url, *arguments)

    assert result.exit_code == 1
    assert "answers 503" in result.stderr
    assert "gave up after 1 s" in result.stderr
    said = json.loads(result.stdout)
    assert "answers 503" in said["failure"]
    for stream in STREAMS:
        counts = said["streams"][stream.name]
        assert counts["accepted"] == stored(sql, stream)
        assert counts["sent"] == counts["accepted"] + counts["duplicates"] + counts["unanswered"]
    assert sum(counts["accepted"] for counts in said["streams"].values()) > 0
    assert sum(counts["unanswered"] for counts in said["streams"].values()) > 0


def test_an_api_that_refuses_the_key_is_not_tried_again(front: Front) -> None:
    front.faults = [("401 Unauthorized", {})] * 1000
    result = simulate(front.url, *SPAN, "--vehicles", "1", "--api-key", "secret")

    assert result.exit_code == 1
    assert "answers 401" in result.stderr
    assert len(front.requests) == 1
    assert front.requests[0]["HTTP_AUTHORIZATION"] == "Bearer secret"


@pytest.mark.community
def test_rejected_readings_are_counted_and_the_first_reason_is_told(server_url: str) -> None:
    result = simulate(
        server_url, "--since", "2001-01-01T00:00Z", "--until", "2001-01-01T00:10Z", *FLEET
    )

    assert result.exit_code == 1
    said = json.loads(result.stdout)
    for counts in said["streams"].values():
        assert counts["rejected"] == counts["sent"] > 0
    assert "timestamp: Older than the raw history" in said["firstError"]


def test_the_account_is_a_table_without_json(server_url: str, sql: Connection) -> None:
    arguments = ["simulate", "--url", server_url, *SPAN, "--vehicles", "2"]
    result = CliRunner().invoke(fleetwatt, arguments)

    assert result.exit_code == 0
    table = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert table["readings"] == ["meter", "vehicle"]
    assert table["made"] == ["360", "360"]
    assert table["accepted"] == [str(stored(sql, stream)) for stream in STREAMS]
    assert f"{MINUTES} of {MINUTES} minutes" in result.stderr


def test_a_live_run_goes_on_until_it_is_stopped_and_then_sends_what_it_has(
    server_url: str, sql: Connection
) -> None:
    command = [sys.executable, "-c", "from fleetwatt.cli import main; main()", "simulate"]
    arguments = ["--url", server_url, "--json", "--since", "3m", "--live", "--vehicles", "60"]
    with subprocess.Popen(
        [*command, *arguments, "--loss", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        while b" 3 minutes" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = json.loads(process.stdout.read())
        assert process.wait(60) == 0

    for stream in STREAMS:
        counts = said["streams"][stream.name]
        assert counts["made"] >= 3 * 60
        assert counts["accepted"] == counts["made"] == stored(sql, stream)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--since", "3x"], "'--since': '3x' is not a duration"),
        (["--since", "2026-01-01T00:00"], "'--since': '2026-01-01T00:00' has no offset"),
        (["--since", "9999-01-01T00:00Z"], "--since: 9999-01-01T00:00Z lies in the future"),
        (["--until", "2020-01-01T00:00Z"], "--until: 2020-01-01T00:00Z is less than a minute"),
        (["--since", "0m"], "'--since': 0m is out of range: from 1m"),
        (["--since", "soon"], "nor is it an RFC 3339 time"),
        (["--url", "127.0.0.1:8000"], "'--url': '127.0.0.1:8000' is not the address of an API"),
        (["--url", "http://x:99999"], "'--url': 'http://x:99999' is not the address"),
        (["--vehicles", "0"], "'--vehicles'"),
        (["--batch", "10001"], "'--batch'"),
        (["--late", "0.6"], "'--late'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_argument_that_cannot_be_meant_is_named(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(fleetwatt, ["simulate", *arguments])

    assert result.exit_code == 2
    assert complaint in result.stderr


def test_without_its_http_client_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['urllib3'] = None\nfrom fleetwatt.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "simulate"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert "urllib3 is missing; install fleetwatt with its extra" in result.stderr
