"""The page in Debian's Chromium, on a simulated fleet: what operators see and do."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.conftest import gunicorn, refresh
from tests.examples import at
from tests.native.server import free_port
from tests.web import packages
from tests.web.conftest import (
    HOSTILE_ID,
    HOSTILE_NAME,
    HOSTILE_SITE,
    METERS,
    PATIENCE,
    VEHICLES,
    Opened,
    answer,
    key,
)

VIEWS = {
    "": "Fleet",
    "vehicles": "Vehicles",
    "meters": "Meters",
    "vehicles/V-00001": "V-00001",
    "meters/M-00001": "M-00001",
    "operations": "Operations",
}
SIZES = [(1280, "light"), (390, "light"), (1280, "dark")]


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What checks a page for accessibility."""
    return (packages.install(tmp_path_factory.mktemp("axe")) / "axe-core/axe.min.js").read_text()


def value(page: Page, name: str) -> float:
    """Return the value that a figure of the page has."""
    return float(page.locator(f"data#{name}").get_attribute("value") or "nan")


def shown(page: Page, name: str) -> str:
    """Return a figure as it is read, without its unit."""
    return str(page.locator(f"data#{name}").evaluate("node => node.firstChild.textContent"))


def figure(number: float) -> str:
    """Write a number as the page does."""
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    return f"{number:,.{digits}f}"


@pytest.mark.parametrize("context", SIZES, indirect=True, ids=lambda size: f"{size[0]} {size[1]}")
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_shown_without_an_error_and_axe_finds_nothing_serious(
    service: str, page: Opened, view: str, axe: str
) -> None:
    seen = page.open(f"{service}/#/{view}")

    expect(seen.locator("h1")).to_contain_text(VIEWS[view])
    expect(seen.locator("#connection")).to_contain_text("Live")
    assert seen.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.errors == []
    assert page.violations() == []
    seen.evaluate(axe)
    found: list[dict[str, Any]] = seen.evaluate("axe.run().then(({violations}) => violations)")
    serious = [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]
    assert serious == []


def test_the_fleets_figures_are_those_of_the_api(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/")

    address = page.first_asked("/v1/analytics/fleet?")
    fleet = answer(address)
    assert value(seen, "ac-window") == fleet["kwhConsumedAc"]
    assert value(seen, "dc-window") == fleet["kwhDeliveredDc"]
    assert value(seen, "efficiency-window") == fleet["efficiency"]
    assert shown(seen, "ac-window") == figure(fleet["kwhConsumedAc"])
    assert shown(seen, "dc-window") == figure(fleet["kwhDeliveredDc"])
    assert shown(seen, "efficiency-window") == f"{fleet['efficiency'] * 100:.1f} %"
    assert value(seen, "vehicles-total") == sum(fleet["vehicles"].values()) == VEHICLES
    assert value(seen, "meters-total") == sum(fleet["meters"].values()) == METERS
    states = seen.locator(".tile.devices").first.locator("data").all()
    assert [state.get_attribute("value") for state in states[1:]] == [
        str(fleet["vehicles"][state]) for state in ("reporting", "stale", "silent")
    ]


def test_todays_energy_is_what_the_api_answers_from_local_midnight_on(
    service: str, page: Opened
) -> None:
    seen = page.open(f"{service}/")
    expect(seen.locator(".tiles")).to_contain_text("kWh since", timeout=PATIENCE)

    midnight = seen.evaluate("new Date(new Date().setHours(0, 0, 0, 0)).toISOString()")
    end = at(datetime.now(UTC) + timedelta(hours=1))
    query = f"start={midnight}&end={end}&tz=Europe/Berlin"
    today = answer(f"{service}/v1/analytics/fleet?{query}")
    assert value(seen, "ac-today") == pytest.approx(today["kwhConsumedAc"], abs=1e-6)
    assert value(seen, "dc-today") == pytest.approx(today["kwhDeliveredDc"], abs=1e-6)
    assert value(seen, "efficiency-today") == pytest.approx(today["efficiency"], abs=1e-6)


def test_the_chart_as_a_table_has_the_apis_hours(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/")
    expect(seen.locator("#exact")).to_contain_text("the hour that runs", timeout=PATIENCE)
    seen.get_by_text("As a table").click()

    addresses = [address for address in page.asked if "/v1/analytics/fleet?" in address]
    rows = seen.locator(".chart tbody tr")
    hours = [hour for address in addresses[:2] for hour in answer(address)["items"]]
    expect(rows).to_have_count(len(hours))
    for row, hour in zip(rows.all(), hours, strict=True):
        cells = row.locator("td").all_inner_texts()
        assert cells == [figure(hour["kwhConsumedAc"]), figure(hour["kwhDeliveredDc"])]


def test_a_site_filters_the_fleet_and_sets_the_time_zone(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/")
    page.asked.clear()

    seen.get_by_label("Site").select_option("S-1")

    expect(seen.locator("data#vehicles-total")).to_have_attribute("value", "1", timeout=PATIENCE)
    address = page.first_asked("/v1/analytics/fleet?")
    assert "tz=Asia%2FKolkata" in address
    assert "site=S-1" in address


def test_a_devices_figures_are_those_of_the_api(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/#/vehicles/V-00001")

    status = answer(f"{service}/v1/status/vehicles/V-00001")
    assert value(seen, "soc") == status["soc"]
    assert value(seen, "register") == status["kwhDeliveredDc"]
    assert value(seen, "temperature") == status["batteryTemp"]
    assert shown(seen, "temperature") == f"{status['batteryTemp']:.1f}"
    assert shown(seen, "register") == f"{status['kwhDeliveredDc']:,.1f}"


def test_the_sessions_of_a_vehicle_are_those_of_the_api(service: str, page: Opened) -> None:
    busiest = answer(f"{service}/v1/analytics/performance?sort=-kwhConsumedAc&limit=1")
    vehicle = busiest["items"][0]["vehicleId"]
    seen = page.open(f"{service}/#/vehicles/{vehicle}")

    address = page.first_asked("/sessions?")
    sessions = answer(address)["items"]
    assert sessions
    rows = seen.locator("section:has(#sessions) tbody tr")
    expect(rows).to_have_count(len(sessions))
    for row, session in zip(rows.all(), reversed(sessions), strict=True):
        values = [cell.get_attribute("value") for cell in row.locator("data").all()]
        names = ("kwhConsumedAc", "kwhDeliveredDc", "efficiency", "peakKw")
        expected = [session[name] for name in names]
        assert [float(text) if text else None for text in values] == expected


def test_a_table_row_is_the_apis_status(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/#/vehicles")

    rows = seen.locator(".virtual tbody tr:not(.space)")
    for row, status in zip(
        rows.all(), answer(f"{service}/v1/status/vehicles")["items"], strict=True
    ):
        assert row.locator("th a").inner_text() == status["vehicleId"]
        assert row.locator(".soc data").get_attribute("value") == f"{status['soc']:g}"


def test_what_came_late_is_marked_by_exact_until(service: str, fleet: str, page: Opened) -> None:
    with closing(psycopg2.connect(fleet)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            hour = datetime.now(UTC) - timedelta(hours=5)
            cursor.execute(
                "INSERT INTO vehicle_telemetry (vehicle_id, time, soc, kwh_delivered_dc,"
                " battery_temp) VALUES ('V-00003', %s, 50, 1, 20)",
                (hour,),
            )
        try:
            seen = page.open(f"{service}/")
            expect(seen.locator("#exact")).to_contain_text("Exact until", timeout=PATIENCE)
        finally:
            with connection.cursor() as cursor:
                cursor.execute(
                    "DELETE FROM vehicle_telemetry WHERE vehicle_id = 'V-00003' AND time = %s",
                    (hour,),
                )
            refresh(connection)


def test_a_service_that_goes_away_is_said_and_what_was_seen_stays(
    fleet: str, page: Opened, tmp_path: Path
) -> None:
    port = str(free_port())
    with gunicorn(fleet, 1, tmp_path / "log", FLEETWATT_PORT=port) as (url, _):
        seen = page.open(f"{url}/#/vehicles")
        expect(seen.locator("#trouble .banner")).to_have_count(0)

    expect(seen.locator("#connection")).to_contain_text("Away", timeout=PATIENCE)
    expect(seen.locator("#trouble")).to_contain_text("can't be reached")
    expect(seen.get_by_role("link", name="V-00001")).to_be_visible()
    with gunicorn(fleet, 1, tmp_path / "log", FLEETWATT_PORT=port):
        expect(seen.locator("#connection")).to_contain_text("Live", timeout=PATIENCE)
        expect(seen.locator("#trouble .banner")).to_have_count(0)
    # The browser itself reports requests that reach no service.
    ours = [error for error in page.errors if "Failed to load resource" not in error]
    assert ours == []


def test_answers_that_do_not_come_are_said_to_be_old(service: str, page: Opened) -> None:
    page.page.clock.install()
    seen = page.open(f"{service}/#/vehicles")
    page.page.route("**/v1/**", lambda _: None)  # No answer comes.

    page.page.clock.fast_forward(45_000)

    expect(seen.locator("#connection")).to_contain_text("Old", timeout=PATIENCE)
    page.page.unroute_all(behavior="ignoreErrors")


def test_it_asks_whether_an_answer_still_holds(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/#/operations")
    seen.goto(f"{service}/#/")
    page.settle()

    def is_conditional(request: Request) -> bool:
        return "/v1/analytics/fleet" in request.url and "if-none-match" in request.headers

    with seen.expect_request(is_conditional, timeout=PATIENCE) as asked:
        pass
    response = asked.value.response()
    assert response
    assert response.status == 304


def test_where_keys_are_required_it_asks_for_one_and_keeps_it_in_the_tab(
    guarded: str, fleet: str, page: Opened, context: BrowserContext
) -> None:
    whole = key(fleet, "read")
    seen = page.open(f"{guarded}/")
    field = seen.get_by_label("API key")
    assert page.errors == []

    field.fill("fw_nonsense")
    seen.get_by_role("button", name="Open").click()
    expect(seen.get_by_role("alert")).to_contain_text("no key")
    field.fill(whole)
    seen.get_by_role("button", name="Open").click()

    expect(seen.locator("h1")).to_contain_text("Fleet", timeout=PATIENCE)
    assert seen.evaluate("Object.values(sessionStorage)") == [whole]
    assert whole not in seen.evaluate("JSON.stringify(localStorage) + document.cookie")
    assert whole not in seen.url
    other = context.new_page()
    other.goto(f"{guarded}/")
    expect(other.get_by_label("API key")).to_be_visible()
    seen.get_by_role("button", name="forget the key").click()
    expect(seen.get_by_label("API key")).to_be_visible()
    assert seen.evaluate("sessionStorage.length") == 0


def with_key(page: Opened, address: str, whole: str) -> Page:
    page.page.goto(address)
    page.page.get_by_label("API key").fill(whole)
    page.page.get_by_role("button", name="Open").click()
    expect(page.page.locator("nav.side")).to_be_visible(timeout=PATIENCE)
    page.settle()
    return page.page


def test_a_key_that_may_only_read_sees_no_operations_and_edits_nothing(
    guarded: str, fleet: str, page: Opened
) -> None:
    seen = with_key(page, f"{guarded}/#/operations", key(fleet, "read"))
    expect(seen.locator("#missing-scope")).to_contain_text("read")
    expect(seen.locator("main")).to_contain_text("scope admin")

    seen.goto(f"{guarded}/#/vehicles/V-00001")
    page.settle()

    expect(seen.locator("#missing-scope")).to_contain_text("admin")
    expect(seen.get_by_role("button", name="Edit the entry")).to_have_count(0)
    assert page.errors == []
    assert page.violations() == []


def test_a_key_that_may_not_read_is_said_to(guarded: str, fleet: str, page: Opened) -> None:
    seen = with_key(page, f"{guarded}/", key(fleet, "ingest"))

    expect(seen.locator("#missing-scope")).to_contain_text("scope read")
    assert page.errors == []


def test_an_administrator_edits_the_register(guarded: str, fleet: str, page: Opened) -> None:
    seen = with_key(page, f"{guarded}/#/vehicles/V-00005", key(fleet, "admin"))

    seen.get_by_role("button", name="Register it").click()
    seen.get_by_label("Name").fill("Van 5")
    seen.get_by_label("Maximum power (kW)").fill("22")
    seen.get_by_role("button", name="Save").click()

    expect(seen.locator(".facts")).to_contain_text("Van 5")
    expect(seen.locator(".facts")).to_contain_text("22 kW")
    seen.get_by_role("button", name="Edit the entry").click()
    seen.get_by_label("Reports every (s)").fill("99999999")
    seen.get_by_role("button", name="Save").click()
    expect(seen.locator("#intervalSeconds-hint")).to_contain_text("Must be")
    seen.on("dialog", lambda dialog: dialog.accept())
    seen.get_by_role("button", name="Remove the entry").click()
    expect(seen.get_by_role("button", name="Register it")).to_be_visible()


def test_hostile_names_and_ids_are_text(service: str, fleet: str, page: Opened) -> None:
    with closing(psycopg2.connect(fleet)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO vehicles_latest SELECT %s, time, soc, kwh_delivered_dc, battery_temp,"
                " received_at FROM vehicles_latest WHERE vehicle_id = 'V-00001'",
                (HOSTILE_ID,),
            )
        try:
            for view in ("vehicles", "", "vehicles/V-00002", "operations", "vehicles?site=S-2"):
                seen = page.open(f"{service}/#/{view}")
                assert seen.evaluate("window.hacked") is None
                assert seen.locator("main img, main script, main svg[onload]").count() == 0
                if view == "vehicles":
                    expect(seen.get_by_role("link", name=HOSTILE_ID)).to_be_visible()
                    expect(seen.locator("tbody")).to_contain_text(HOSTILE_NAME)
                    seen.get_by_role("link", name=HOSTILE_ID).click()
                    expect(seen.locator("h1")).to_contain_text(HOSTILE_ID)
                if not view:
                    options = seen.get_by_label("Site").locator("option").all_inner_texts()
                    assert HOSTILE_SITE in options
            for hostile in (HOSTILE_ID, "%3Cscript%3E", "%", "javascript:hacked=4"):
                seen = page.open(f"{service}/#/vehicles/{hostile}")
                assert seen.evaluate("window.hacked") is None
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM vehicles_latest WHERE vehicle_id = %s", (HOSTILE_ID,))
    assert page.violations() == []


def test_a_table_of_ten_thousand_has_few_rows_in_the_page_and_scrolls_to_its_end(
    service: str, fleet: str, page: Opened
) -> None:
    with closing(psycopg2.connect(fleet)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO meters_latest SELECT 'X-' || lpad(n::text, 5, '0'), time,"
                " kwh_consumed_ac, voltage, received_at"
                " FROM meters_latest, generate_series(1, 10000) AS n WHERE meter_id = 'M-00001'"
            )
        try:
            seen = page.open(f"{service}/#/meters")
            count = f"{10_000 + METERS:,} meters"
            expect(seen.locator("#found")).to_have_text(count, timeout=PATIENCE)
            table = seen.get_by_role("region", name="Meters")
            assert seen.locator(".virtual tr").count() < 100

            table.evaluate("node => node.scrollTo(0, node.scrollHeight)")

            expect(seen.get_by_role("link", name="X-10000")).to_be_visible()
            assert seen.locator(".virtual tr").count() < 100
            seen.get_by_role("searchbox").fill("x-0777")
            expect(seen.locator("#found")).to_have_text("10 meters")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM meters_latest WHERE meter_id LIKE 'X-%'")
    assert page.errors == []


def test_the_keyboard_skips_to_the_content_and_reads_a_chart(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/")
    seen.keyboard.press("Tab")
    expect(seen.locator(".skip")).to_be_focused()
    seen.keyboard.press("Enter")
    expect(seen.locator("h1")).to_be_focused()

    seen.locator(".plot").focus()
    seen.keyboard.press("End")
    last = seen.locator(".chart output").inner_text()
    seen.keyboard.press("ArrowLeft")

    assert re.search(r"AC .* kWh, DC .* kWh", last)
    assert seen.locator(".chart output").inner_text() != last


def test_a_chosen_theme_stays(service: str, page: Opened) -> None:
    seen = page.open(f"{service}/#/operations")
    background = "getComputedStyle(document.body).backgroundColor"
    light = seen.evaluate(background)
    theme = seen.get_by_role("button", name="Colours")
    theme.click()
    theme.click()
    dark = seen.evaluate(background)

    page.open(f"{service}/#/operations")

    assert dark != light
    assert seen.evaluate(background) == dark
    assert json.loads(seen.evaluate("JSON.stringify(localStorage)")) == {"fleetwatt.theme": "dark"}
