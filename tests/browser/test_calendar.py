"""The calendar companion as people meet it: a real web process, a real browser, a fake Recall."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import unavailable
from tests.lab.api.answers import html
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.sender.receiver import Receiver
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import Stack
from tests.support.browser import FLAGS, NoBrowserError, chromium, running_browser
from tests.support.calendar_app import calendar_settings, proof
from tests.support.processes import running, until

# apt may first have to bring a browser.
pytestmark = pytest.mark.timeout(600)
# All that a page of a new user knows: where tokens come from, where the API is, and who it is.
APPLICATION = """<!doctype html><title>application</title><ul></ul><pre></pre><script>
const asked = new URLSearchParams(location.search);
const [auth, host] = [asked.get('auth'), asked.get('host')];
async function list() {
  const headers = {'Content-Type': 'application/json'};
  const body = {userId: asked.get('user')};
  if (asked.get('by') === 'header') headers.Authorization = 'Bearer ' + asked.get('jwt');
  else body.jwt = asked.get('jwt');
  const answer = await fetch(auth, {method: 'POST', headers, body: JSON.stringify(body)});
  const {token} = await answer.json();
  if (!token) return say('AUTH_TOKEN_NOT_FOUND');
  const meetings = await fetch(host + '/api/v1/calendar/meetings/',
    {headers: {'X-RecallCalendarAuthToken': token}});
  for (const meeting of await meetings.json()) {
    const item = document.createElement('li');
    item.textContent = meeting.title;
    document.querySelector('ul').append(item);
  }
  say('listed');
}
function say(words) { document.querySelector('pre').textContent = words; }
if (auth) list().catch(error => say(String(error)));
</script>"""


@dataclass(frozen=True, slots=True)
class Town:
    """Everybody: Recall, our web process, an application's page, and a browser that visits."""

    recall: FakeRecall
    stack: Stack
    application: Receiver
    browser: Browser
    flags: tuple[str, ...]

    @property
    def app_url(self) -> str:
        """The application's origin: another one than ours, and allowed."""
        return f"http://localhost:{self.application.port}"

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Ask as the application's backend would."""
        return httpx.post(f"{self.stack.url}{path}", json=body, trust_env=False, timeout=30)

    def link(self, platform: str, user: str, **body: Any) -> str:
        """A link to connect a calendar, as the application shows it."""
        answer = self.post(f"/calendar/connect/{platform}", {"jwt": proof(user), **body})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Town]:
    """One of each, for all tests here: they use users of their own."""
    try:
        chromium()
    except NoBrowserError as error:
        unavailable(error)
    folder = tmp_path_factory.mktemp("town")
    shutil.copy(sqlite_template, folder / "town.db")
    port = free_port()
    with (
        FakeRecall(limits=False, tls_ca=folder / "ca.pem") as recall,
        Receiver(lambda _: html(APPLICATION)) as application,
    ):
        app_url = f"http://localhost:{application.port}"
        settings = calendar_settings(
            recall,
            PORT=port,
            PUBLIC_URL=f"http://127.0.0.1:{port}",
            CALENDAR_ALLOWED_ORIGINS=app_url,
            CALENDAR_RETURN_URLS=f"{app_url}/settings",
            SSL_CERT_FILE=folder / "ca.pem",
            LOG_LEVEL="DEBUG",
        )
        # The providers' real names, at the fake's door: nothing of ours knows of a lab.
        fake = f"127.0.0.1:{recall.port}"
        names = ("accounts.google.com", "login.microsoftonline.com")
        rules = ", ".join(f"MAP {name}:443 {fake}" for name in names)
        flags = (f"--host-resolver-rules={rules}", "--ignore-certificate-errors")
        url = f"sqlite:///{folder}/town.db"
        with (
            running(url, recall, folder, workers=0, **settings) as stack,
            running_browser(*flags) as browser,
        ):
            yield Town(recall, stack, application, browser, flags)


@pytest.fixture
def page(town: Town) -> Iterator[Page]:
    """A fresh tab, on the smallest telephone."""
    page = town.browser.new_page(viewport={"width": 320, "height": 640})
    yield page
    page.close()


@pytest.mark.parametrize("platform", ["google", "microsoft"])
def test_a_person_connects_and_comes_back(town: Town, page: Page, platform: str) -> None:
    """Link, consent page, our callback, Recall's, result page, application: by redirects alone."""
    user = f"ines-{platform}"
    target = f"{town.app_url}/settings?tab=calendar"
    page.goto(town.link(platform, user, returnTo=target))
    assert page.title() == f"{platform} (lab)"
    assert page.url.startswith("https://")
    page.click("#allow")
    page.wait_for_selector("h1")
    assert page.inner_text("h1").lower() == f"your {platform} calendar is connected"
    assert page.inner_text("strong") == f"someone@{platform}.example"
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    # By itself, after a moment, though no script of ours runs; or by hand.
    if platform == "microsoft":
        page.click("#go-on")
    page.wait_for_url(f"{target}&calendar=connected&platform={platform}")
    named = town.recall.world.user_named(user)
    assert named is not None
    assert named.connection(platform).connected


def test_a_person_who_unticks_the_box_reads_what_to_do(town: Town, page: Page) -> None:
    """And goes back by hand; nothing is connected."""
    target = f"{town.app_url}/settings"
    page.goto(town.link("google", "unticker", returnTo=target))
    page.click("#untick")
    page.wait_for_selector("h1")
    assert page.inner_text("h1") == "The calendar was not connected"
    assert page.inner_text("h2") == "The calendar checkbox was not ticked"
    assert page.evaluate("getComputedStyle(document.querySelector('section')).borderLeftStyle") == (
        "solid"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.click("#go-on")
    page.wait_for_url(f"{target}?calendar=failed&platform=google")


def test_a_person_who_comes_too_late_is_told(town: Town, page: Page) -> None:
    """The back button, or a link of yesterday: what happened, and what to do."""
    link = town.link("google", "late")
    page.goto(link)
    answer = page.goto(link)
    assert answer is not None
    assert answer.status == 410
    assert page.inner_text("h1") == "This link has expired"


def test_another_persons_calendar_cannot_be_had_by_a_link_to_the_consent_page(
    town: Town, page: Page
) -> None:
    """Mara allows at the page that Ines' link led to: nothing is connected, and she is told."""
    page.goto(town.link("google", "attacker"))
    with town.browser.new_context() as hers:
        victim = hers.new_page()
        victim.goto(page.url)
        victim.click("#allow")
        victim.wait_for_selector("h1")
        assert victim.inner_text("h1") == "This was started in another browser"
        assert victim.url.startswith(f"{town.stack.url}/calendar/callback/google?")
    user = town.recall.world.user_named("attacker")
    assert user is not None
    assert not [one for one in user.connections if one.connected]
    page.click("#allow")
    page.wait_for_selector("strong")
    assert user.connection("google").connected


def test_two_links_followed_in_one_browser_both_work(town: Town) -> None:
    """Two tabs at the providers' pages at once, the first one allowed last; and once more."""
    with town.browser.new_context() as context:
        tabs = [context.new_page(), context.new_page()]
        for tab, platform in zip(tabs, ("google", "microsoft"), strict=True):
            tab.goto(town.link(platform, "tabs"))
        for tab in reversed(tabs):
            tab.click("#allow")
            tab.wait_for_selector("strong")
    user = town.recall.world.user_named("tabs")
    assert user is not None
    assert {one.platform for one in user.connections if one.connected} == {"google", "microsoft"}


def test_a_browser_that_was_restarted_comes_back(town: Town, tmp_path: Path) -> None:
    """Its tab at the provider's is restored, and the way back is still known."""
    start = town.browser.browser_type.launch_persistent_context
    options: dict[str, Any] = {"executable_path": chromium(), "args": [*FLAGS, *town.flags]}
    with start(tmp_path, **options) as context:
        page = context.new_page()
        page.goto(town.link("google", "restarted"))
        consent = page.url
    with start(tmp_path, **options) as context:
        page = context.new_page()
        page.goto(consent)
        page.click("#allow")
        page.wait_for_selector("h1")
        assert page.inner_text("h1") == "Your Google calendar is connected"


def test_a_token_of_yesterday_is_explained(town: Town, page: Page) -> None:
    """Somebody stayed at the consent page until the token in the state had run out."""
    page.goto(town.link("google", "sleeper"))
    town.recall.world.expire_tokens("sleeper")
    page.click("#allow")
    page.wait_for_selector("h1")
    assert page.inner_text("h2") == "Connecting took too long"


def test_a_provider_that_gives_no_lasting_access_is_explained(town: Town, page: Page) -> None:
    """`refresh_token missing`: the FAQ's first error, with what the operator has to mend."""
    page.goto(town.link("google", "fleeting"))
    page.goto(page.url.replace("access_type=offline", "access_type=online"))
    page.click("#allow")
    page.wait_for_selector("h1")
    assert page.inner_text("h2") == "The provider did not grant lasting access"
    assert "client id and secret" in page.inner_text("section")


def test_a_second_calendar_of_a_platform_asks_first(town: Town, page: Page) -> None:
    """Refused with the reason; with replace=1 the newest one stands."""
    page.goto(town.link("google", "mover"))
    page.click("#allow")
    page.wait_for_selector("strong")
    refused = town.post("/calendar/connect/google", {"jwt": proof("mover")})
    assert refused.status_code == 409
    assert "clears the bots" in refused.json()["detail"]
    page.goto(f"{town.link('google', 'mover', replace=1)}")
    page.goto(f"{page.url}&login_hint=new@google.example")
    page.click("#allow")
    page.wait_for_selector("strong")
    assert page.inner_text("strong") == "new@google.example"


@pytest.mark.parametrize("by", ["header", "json"])
def test_a_new_users_page_lists_its_meetings(town: Town, page: Page, by: str) -> None:
    """It knows the exchange's address and the API's: a preflight, a token, a list."""
    user = town.recall.build.user()
    titles = {town.recall.build.meeting(user).title for _ in range(3)}
    page.goto(visit(town, str(user.external_id), by))
    page.wait_for_function("document.querySelector('pre').textContent")
    assert page.inner_text("pre") == "listed"
    assert set(page.locator("li").all_inner_texts()) == titles


def test_a_new_users_page_cannot_read_anothers(town: Town, page: Page) -> None:
    """The demo's error, and no exception: the answer is JSON without a token."""
    page.goto(visit(town, "somebody-else", "json", jwt=proof("me")))
    page.wait_for_function("document.querySelector('pre').textContent")
    assert page.inner_text("pre") == "AUTH_TOKEN_NOT_FOUND"
    assert town.recall.world.user_named("somebody-else") is None


def test_a_foreign_page_is_kept_out_by_the_browser(town: Town, page: Page) -> None:
    """The same page at an origin that is not allowed."""
    address = visit(town, "ines", "json").replace("localhost", "127.0.0.1", 1)
    page.goto(address)
    page.wait_for_function("document.querySelector('pre').textContent")
    assert "Failed to fetch" in page.inner_text("pre")


def test_no_secret_reaches_a_log(town: Town, page: Page) -> None:
    """At DEBUG, after a whole connection: no JWT, link, code, state or calendar token."""
    jwt = proof("quiet")
    answer = town.post("/calendar/auth-token", {"jwt": jwt})
    link = str(town.post("/calendar/connect/google", {"jwt": jwt}).json()["url"])
    page.goto(link)
    page.click("#allow")
    page.wait_for_selector("strong")
    words = town.stack.web.log.read_text()
    assert "listening" in words
    secrets = [answer.json()["token"], jwt, link.partition("link=")[2], "code=", "trip="]
    secrets += list(town.recall.world.tokens)
    for secret in (*secrets, "recall_calendar_auth_token", town.recall.api_key):
        assert secret not in words


def test_a_recall_that_hangs_stops_no_webhook(town: Town) -> None:
    """Whoever waits for Recall holds a quarter of the threads at most, and for seconds only."""

    def exchange(number: int) -> int:
        return town.post("/calendar/auth-token", {"jwt": proof(f"waiting-{number}")}).status_code

    hang = Fault("hang", path="calendar/authenticate")
    with town.recall.faults.during(hang), ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(exchange, number) for number in range(24)]
        until(lambda: town.recall.in_flight == 4, "four wait at Recall")
        # Signed by nobody, so 401: what counts is that a thread was free to say so.
        answer = httpx.post(f"{town.stack.url}/webhooks/recall", content=b"{}", trust_env=False)
        assert answer.status_code == 401
        assert not all(one.done() for one in asked)
        assert {one.result() for one in asked} == {503}


def visit(town: Town, user: str, by: str, jwt: str | None = None) -> str:
    """The application's address, with all that its page needs to know."""
    known = {
        "auth": f"{town.stack.url}/calendar/auth-token",
        "host": town.recall.url,
        "user": user,
        "by": by,
        "jwt": jwt or proof(user),
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in known.items())
    return f"{town.app_url}/?{query}"
