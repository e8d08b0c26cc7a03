"""The console in a real Chromium: what a new user does, in the light, the dark, and small."""

import csv
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from playwright.sync_api import Error as BrowserError
from sqlalchemy import Engine, delete, insert, update

from models.queries.registry import LISTS
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting, CalendarUser
from models.tables.calendar_finding import CalendarFinding
from models.tables.missed_meeting import MissedMeeting
from models.tables.workspace_state import WorkspaceState
from tests.conftest import MakeSettings
from tests.lab.recall import FakeRecall
from tests.models.queries.alarms.test_alerts import an_open_circuit
from tests.support.browser import NoBrowserError, chromium, log_in, running_browser
from tests.support.bulk_data import meeting_id
from tests.support.console_client import READ, WRITE
from tests.support.demo_data import GIVEN_UP, RETRIED, furnished
from tests.support.rows import add_delivery, bot_row, rows
from webhook.app import create_app, resources_of

# apt may first have to bring a browser.
pytestmark = pytest.mark.timeout(600)
PAGES = [
    "/console/",
    *(f"/console/{kind.name}" for kind in LISTS),
    f"/console/bots/{RETRIED}",
    "/console/bots?link_state=failing",
    "/console/failures/batches/1",
    "/console/relink?link_state=failed",
    "/console/links?since=someday",
    "/console/calendar/",
    "/console/calendar/findings",
    "/console/calendar/user?external_id=person-00007",
    "/console/people?email=person-00007@north.example",
    "/console/search?q=person-00007@north.example",
    "/console/events/resend?state=failed",
    "/console/events/endpoints",
]
# Whoever may look at these has no session, or follows a link of the calendar companion's.
OPEN_PAGES = [
    "/console/nowhere",
    "/console/links?limit=0",
    "/calendar/connect/google?link=x",
    "/calendar/callback/google?state=x",
    "/calendar/connected?trip=x",
    "/calendar/failed",
]
# 320: what a page must fit in (WCAG 1.4.10); then telephones, a tablet, and up to the cards' end.
WIDTHS = (320, 360, 390, 768, 820, 1000, 1120)
# What is wrong with the layout of a page, in words.
MISFITS = """() => {
  const screen = document.documentElement;
  const wrong = [];
  if (screen.scrollWidth > screen.clientWidth) wrong.push(`${screen.scrollWidth} px wide`);
  for (const row of document.querySelectorAll("table.rows tbody tr")) {
    if (getComputedStyle(row).display !== "block") continue;
    if (!row.querySelector("th[scope=row]")) wrong.push(`an untitled card: ${row.textContent}`);
    for (const cell of row.cells) {
      const label = getComputedStyle(cell, "::before").content;
      const isLabelled = cell.matches("th[scope=row], .choose:has([aria-label])")
        || (cell.dataset.label && label === JSON.stringify(cell.dataset.label));
      if (!isLabelled) wrong.push(`a cell without a label: ${cell.textContent}`);
      if (cell.scrollWidth > cell.clientWidth) wrong.push(`a full cell: ${cell.textContent}`);
    }
  }
  return wrong;
}"""
# Told by the browser itself, also of what no script on the page would notice.
LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skipped where none can be had, and no excuse where one is."""
    try:
        chromium()
    except NoBrowserError as error:
        pytest.skip(str(error))
    try:
        with running_browser() as browser:
            yield browser
    except BrowserError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"Chromium is here and does not start: {error}")


@pytest.fixture(scope="module")
def recall() -> Iterator[FakeRecall]:
    """A fake Recall, for what the console asks of it."""
    with FakeRecall(limits=False) as recall:
        yield recall


@pytest.fixture(scope="module")
def console(
    tmp_path_factory: pytest.TempPathFactory, recall: FakeRecall
) -> Iterator[tuple[str, Engine]]:
    """The web process over a furnished database: its address, and the database."""
    with furnished(tmp_path_factory.mktemp("console"), bots=80, recall=recall) as running:
        yield running


@contextmanager
def a_page(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page of a fresh profile; the test fails when it complains of anything."""
    context = browser.new_context(**{"timezone_id": "Europe/Berlin"} | options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    complaints: list[str] = []

    def note(said: ConsoleMessage) -> None:
        # What a browser says by the way, of autofocus and the like, is no complaint.
        if said.type in ("error", "warning"):
            complaints.append(said.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    if options.get("java_script_enabled", True):
        page.add_init_script(LISTEN)
    yield page
    # A page of ours that answers 400 or 410 is told of as a resource that failed: so it did.
    assert [words for words in complaints if "status of 4" not in words] == []
    context.close()


def test_a_new_user_finds_a_meeting_and_sees_why_a_bot_is_not_linked(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """Log in, search two words of a title, open the bot; then one that is not linked."""
    url, _ = console
    with a_page(browser) as page:
        page.goto(f"{url}/console/links")
        page.get_by_label("Token").fill("not the token 12345")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("That token is not valid")
        page.get_by_label("Token").fill(READ)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/console/links")
        page.keyboard.press("/")
        expect(page.get_by_placeholder("Words in the meeting's title")).to_be_focused()
        page.keyboard.type("review budget")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/links?title=review+budget")
        titles = page.locator("tbody th > bdi").all_inner_texts()
        assert titles
        assert all(title.startswith("Budget review") for title in titles)
        page.locator("tbody a.id").first.click()
        expect(page.locator(".why")).to_contain_text("1 meeting")
        page.get_by_role("link", name="Not linked").click()
        page.locator(f'a[href="/console/bots/{RETRIED}"]').click()
        expect(page.locator(".why")).to_contain_text("503")
        expect(page.locator(".moment-next")).to_contain_text("min")
        expect(page.get_by_role("button", name="Retry linking")).to_have_count(0)


def test_a_calendar_is_disconnected_from_its_users_page(
    browser: Browser, console: tuple[str, Engine], recall: FakeRecall
) -> None:
    """Search, ask Recall, refresh, disconnect one platform after a page that asks first."""
    url, engine = console
    user = recall.build.user("person-00007")
    recall.world.connect(user.id, "microsoft", "seven@north.example")
    with a_page(browser) as page:
        log_in(page, url, WRITE)
        page.get_by_role("link", name="Calendars").click()
        page.get_by_label("Calendar user").fill("person-00007")
        page.get_by_role("button", name="Open").last.click()
        page.get_by_role("button", name="Load from Recall").click()
        expect(page.get_by_text("seven@north.example")).to_be_visible()
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_role("status")).to_contain_text("read the calendars again")
        page.get_by_role("button", name="Disconnect microsoft").click()
        expect(page.get_by_role("heading")).to_contain_text("Disconnect microsoft of person-00007?")
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("status")).to_contain_text("microsoft is disconnected")
    assert [one.platform for one in user.connections if one.connected] == ["google"]
    done = {row.action for row in rows(engine, Audit, subject="person-00007")}
    assert done == {"calendar refresh", "calendar disconnect"}


@pytest.mark.parametrize("kind", ["links", "bots", "deliveries"])
def test_an_id_in_a_table_is_copied_whole(
    browser: Browser, console: tuple[str, Engine], kind: str
) -> None:
    """Its first eight characters are what is seen; marking them marks the id."""
    url, _ = console
    with a_page(browser) as page:
        log_in(page, url, READ)
        page.goto(f"{url}/console/{kind}")
        shown = page.locator("tbody a.id").first
        box = shown.bounding_box()
        assert box
        assert box["width"] < 100
        marked = """link => {
            const range = document.createRange();
            range.selectNode(link);
            getSelection().removeAllRanges();
            getSelection().addRange(range);
            return getSelection().toString();
        }"""
        assert str(shown.evaluate(marked)).strip() == shown.get_attribute("title")


def test_a_failed_bot_is_put_back_from_its_page(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """Preview, confirm, result; the audit has the row."""
    url, engine = console
    with a_page(browser) as page:
        log_in(page, url, WRITE)
        page.goto(f"{url}/console/bots/{GIVEN_UP}")
        page.get_by_role("button", name="Retry linking").click()
        expect(page.get_by_role("heading", name="Retry linking?")).to_be_visible()
        assert bot_row(engine, GIVEN_UP).link_state == "failed"
        page.get_by_role("button", name="Retry 1 bot").click()
        expect(page.get_by_role("heading", name="1 bot queued for retry")).to_be_visible()
        assert bot_row(engine, GIVEN_UP).link_state == "pending"
        before = len(rows(engine, Audit))
        page.reload()
        assert len(rows(engine, Audit)) == before
        page.get_by_role("link", name="Audit").click()
        expect(page.locator("tbody tr").first).to_contain_text(GIVEN_UP)


def test_chosen_bots_are_counted_before_they_are_put_back(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """The box at the head chooses all; the button says how many."""
    url, _ = console
    with a_page(browser) as page:
        log_in(page, url, WRITE)
        page.goto(f"{url}/console/bots?link_state=no_meetings")
        button = page.locator(".actions button")
        expect(button).to_be_disabled()
        page.get_by_label("Select all on this page").check()
        count = page.locator("tbody tr").count()
        expect(button).to_have_text(f"Retry {count} selected …")
        button.click()
        page.get_by_role("button", name=f"Retry {count} bots").click()
        expect(page.get_by_role("heading", name=f"{count} bots queued for retry")).to_be_visible()


def test_a_list_is_exported_as_csv(
    browser: Browser, console: tuple[str, Engine], tmp_path: Path
) -> None:
    """With the search that is on the page, whole."""
    url, _ = console
    with a_page(browser, accept_downloads=True) as page:
        log_in(page, url, READ)
        page.goto(f"{url}/console/links?title=review")
        shown = page.locator("tbody tr").count()
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        path = tmp_path / "links.csv"
        download.value.save_as(path)
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
        assert download.value.suggested_filename == "links.csv"
        assert len(found) == shown
        assert all("review" in row["meeting_title"] for row in found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_its_own_policy_and_each_fits_its_screen(
    browser: Browser, console: tuple[str, Engine], recall: FakeRecall, scheme: str
) -> None:
    """No complaint, no sideways scroll, a label in every cell of a card; with endless words too."""
    url, engine = console
    _fill_with_endless_words(engine)
    user = recall.build.user(f"person-{scheme}")
    recall.build.meeting(user, start=datetime.now(UTC) + timedelta(hours=3))
    with a_page(browser, color_scheme=scheme) as page:
        page.goto(f"{url}/console/login")
        assert _misfits(page) == []
        log_in(page, url, WRITE)
        for path in (*PAGES, *OPEN_PAGES):
            page.goto(url + path)
            assert _misfits(page) == [], path
        page.goto(f"{url}/console/calendar/user?external_id=person-{scheme}")
        for name in ("Load from Recall", "Compare with calendar", "Disconnect google …"):
            page.get_by_role("button", name=name).click()
            page.wait_for_url("**/calendar/user")
            assert _misfits(page) == [], name
        page.goto(f"{url}/console/relink?bot_ids={GIVEN_UP}")
        page.get_by_role("button", name="Retry 1 bot").click()
        page.wait_for_url("**/relink/done*")
        assert _misfits(page) == []


def _fill_with_endless_words(engine: Engine) -> None:
    endless = {"organizer_email": f"{'a' * 200}@example.com", "ical_uid": "u" * 300}
    finding = {"kind": "two_bots_on_one_meeting", "subject": meeting_id(1), "found_at": db_now()}
    with engine.begin() as connection:
        connection.execute(update(CalendarMeeting).values(endless))
        connection.execute(update(Bot).values(bot_name="n" * 200, sub_code="s" * 100))
        connection.execute(delete(CalendarFinding))
        bots = {"bot_ids": [RETRIED, GIVEN_UP], "starts_at": db_now(3600)}
        row = insert(CalendarFinding).values(
            calendar_user_id="u" * 100, title="t" * 300, **finding, **bots
        )
        connection.execute(row)
        connection.execute(update(CalendarUser).values(email=f"{'e' * 300}@example.com"))
        connection.execute(update(MissedMeeting).values(title="t" * 300, sub_code="s" * 100))


def _misfits(page: Page) -> list[str]:
    assert page.evaluate("window.violations") == []
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 740})
        found += [f"at {width}: {wrong}" for wrong in page.evaluate(MISFITS)]
    return found


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_walk_over_the_pages_leaves_none_out(make_settings: MakeSettings) -> None:
    """Every address of the console and of the calendar companion that a browser can open."""
    calendar = {"PUBLIC_URL": "http://localhost", "GOOGLE_OAUTH_CLIENT_ID": "x"}
    app = create_app(make_settings(OPS_READ_TOKENS=READ, **calendar))
    address = app.url_map.bind("localhost")
    paths = [path.partition("?")[0] for path in (*PAGES, *OPEN_PAGES)]
    # Where the others lead: the login's form, a form's result, a search for one bot, one event.
    seen = {"console.login", "console.relinked", "console.resent", "console.open_bot"}
    seen |= {"console.event", "console.person_erased"}
    seen |= {str(address.match(path)[0]) for path in paths}
    there = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(("/console", "/calendar"))
        and "GET" in (rule.methods or ())
        and not rule.endpoint.endswith(".static")
    }
    resources_of(app).close()
    assert seen == there


def test_the_dark_is_dark_and_the_light_is_light(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """By the reader's own choice, with letters that stand out in both (WCAG: 4.5 to 1)."""
    url, _ = console
    for scheme, is_dark in (("light", False), ("dark", True)):
        with a_page(browser, color_scheme=scheme) as page:
            log_in(page, url, READ)
            page.goto(f"{url}/console/bots?link_state=unlinked")
            ground = _luminance(page, "body", "backgroundColor")
            assert (ground < 0.1) is is_dark
            for what in (".chip-good", ".chip-bad", ".chip-warn", ".chip-wait", ".chip-idle"):
                ink, under = (_luminance(page, what, p) for p in ("color", "backgroundColor"))
                low, high = sorted((ink, under))
                assert (high + 0.05) / (low + 0.05) >= 4.5, f"{what} in the {scheme}"


def _luminance(page: Page, what: str, name: str) -> float:
    element = page.locator(what).first
    color = element.evaluate(f"one => getComputedStyle(one).{name}")
    parts = [int(part) / 255 for part in color.strip("rgba()").split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_everything_works_without_javascript(browser: Browser, console: tuple[str, Engine]) -> None:
    """Searching, paging, filters, choosing, putting back, logging out."""
    url, _ = console
    with a_page(browser, java_script_enabled=False) as page:
        log_in(page, url, WRITE)
        page.goto(f"{url}/console/links")
        page.get_by_label("Words in the meeting's title").fill("weekly")
        page.get_by_role("button", name="Search").click()
        assert page.locator("tbody tr").count() > 0
        page.goto(f"{url}/console/bots?limit=5")
        first = page.locator("tbody a.id").first.inner_text()
        page.get_by_role("link", name="Older").click()
        assert page.locator("tbody a.id").first.inner_text() != first
        page.get_by_text("Filters").click()
        page.get_by_label("Link state", exact=True).select_option("no_meetings")
        page.locator("form.search button").click()
        for box in page.locator("tbody input").all()[:2]:
            box.check()
        page.get_by_role("button", name="Retry selected").click()
        page.get_by_role("button", name="Retry 2 bots").click()
        expect(page.get_by_role("heading", name="2 bots queued for retry")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        page.goto(f"{url}/console/")
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_times_are_shown_in_utc_and_in_the_readers_own(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """Berlin is an hour ahead in November; where the two are one, one is shown."""
    url, _ = console
    for zone, local in (("Europe/Berlin", 1), ("UTC", 0)):
        with a_page(browser, timezone_id=zone) as page:
            log_in(page, url, READ)
            page.goto(f"{url}/console/links?since=2026-11-20T10:20&until=2026-11-20T10:21")
            expect(page.get_by_text("2026-11-20 10:20:00")).to_have_count(1)
            expect(page.get_by_text("11:20:00 GMT+1")).to_have_count(local)


def test_the_overview_keeps_itself_fresh(browser: Browser, console: tuple[str, Engine]) -> None:
    """What arrives shows without a reload; and nobody is asked to look at an old number."""
    url, engine = console
    with a_page(browser) as page:
        page.clock.install()
        log_in(page, url, READ)
        waiting = page.locator(".tile", has_text="Webhooks waiting to be processed").locator(
            ".figure"
        )
        expect(waiting).to_have_text("0")
        add_delivery(engine, RETRIED, "done")
        page.clock.run_for(11_000)
        expect(waiting).to_have_text("1")
        assert page.evaluate("window.violations") == []


# Everything that a screen reader would say: what is put into a live region, or is put in as one.
HEAR = """
window.said = [];
const LIVE = "[role=alert], [role=status], [role=log], [aria-live]:not([aria-live=off]), output";
new MutationObserver((changes) => {
  for (const change of changes) {
    const added = [...change.addedNodes].filter((node) => node.nodeType === Node.ELEMENT_NODE);
    const fresh = added.flatMap((node) => [node, ...node.querySelectorAll("*")]);
    const within = change.target.nodeType === Node.ELEMENT_NODE
      ? change.target : change.target.parentElement;
    const regions = [within?.closest(LIVE), ...fresh.filter((node) => node.matches(LIVE))];
    for (const region of regions.filter(Boolean)) window.said.push(region.textContent);
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


def test_alarms_are_announced_when_they_change_and_not_at_each_refresh(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """An alarm is said once when it starts and once when it ends, whatever else is fetched anew."""
    url, engine = console
    with a_page(browser) as page:
        page.clock.install()
        log_in(page, url, READ)
        page.evaluate(HEAR)
        page.evaluate("window.kept = document.querySelector('#live h1').firstChild")
        _refresh(page, engine, times=3)
        assert page.evaluate("window.said") == []
        _stop_recall(engine, 300)
        _refresh(page, engine, times=4)
        (said,) = page.evaluate("window.said")
        assert said.startswith(
            "Recall refuses all requests: calls are paused (http_401); next attempt in "
        )
        assert "min" in said
        shown = page.locator("[data-alarm=circuit_open]")
        expect(shown).to_be_visible()
        # Words that count down are kept fresh for who looks, and are no news for who listens.
        _stop_recall(engine, 100)
        _refresh(page, engine, times=1)
        expect(shown).to_contain_text(re.compile(r"next attempt in \d+ s"))
        assert page.evaluate("window.said") == [said]
        _stop_recall(engine, -1)
        _refresh(page, engine, times=3)
        assert page.evaluate("window.said.slice(1)") == [
            "No longer active: Recall refuses all requests."
        ]
        expect(shown).to_have_count(0)
        # What did not change was not taken out and put in again under a reader's eyes.
        assert page.evaluate("window.kept.isConnected")


def _stop_recall(engine: Engine, seconds: float) -> None:
    with engine.begin() as connection:
        connection.execute(delete(WorkspaceState).where(WorkspaceState.key == "circuit"))
    an_open_circuit(engine, seconds)


def _refresh(page: Page, engine: Engine, times: int) -> None:
    waiting = page.locator(".tile", has_text="Webhooks waiting to be processed").locator(".figure")
    for _ in range(times):
        # One more waits at each, so that it shows when the page was made anew.
        count = int(waiting.inner_text()) + 1
        add_delivery(engine, RETRIED, "done")
        page.clock.run_for(10_000)
        expect(waiting).to_have_text(str(count))


def test_only_the_overview_refreshes_and_no_live_region_is_fetched_anew(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """A region that is put in again is said again: it stands beside what is fetched."""
    url, _ = console
    with a_page(browser) as page:
        log_in(page, url, READ)
        for path in PAGES:
            page.goto(url + path)
            refreshed = page.locator("[data-refresh], meta[http-equiv=refresh]")
            expect(refreshed).to_have_count(int(path == "/console/"))
            live = "[role=alert], [role=status], [aria-live]"
            expect(page.locator("[data-refresh]").locator(live)).to_have_count(0)


def test_the_keyboard_reaches_the_content_first(
    browser: Browser, console: tuple[str, Engine]
) -> None:
    """The first stop skips the head of the page, and shows itself; every focus is seen."""
    url, _ = console
    with a_page(browser) as page:
        log_in(page, url, READ)
        page.goto(f"{url}/console/bots")
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
