"""`python -m tests.support.screenshots [FOLDER]`: take docs/images anew."""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.lab.recall import FakeRecall
from tests.support.browser import log_in, running_browser
from tests.support.console_client import WRITE
from tests.support.demo_data import RETRIED, furnished

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDE = {"width": 1120, "height": 720}
NARROW = {"width": 390, "height": 844}
PAGES = {
    "overview": "/console/",
    "links": "/console/links?title=roadmap+sync",
    "unlinked": "/console/bots?link_state=failing",
    "bot": f"/console/bots/{RETRIED}",
    "deliveries": "/console/deliveries",
    "rejections": "/console/rejections",
    "relink": "/console/relink?link_state=failed",
    "audit": "/console/audit",
    "calendar": "/console/calendar/user?external_id=person-00060",
}
# What is worth a scroll: the others say the same in every row.
TALLER = {"overview": 1120, "bot": 1130, "calendar": 1000}
ALSO_DARK = ("overview",)
ALSO_NARROW = ("links", "unlinked")


def main(folder: Path) -> None:
    """Take each page in the light, some in the dark, some on a narrow screen."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        FakeRecall(limits=False) as recall,
        furnished(Path(scratch), recall=recall) as (url, _),
        running_browser() as browser,
    ):
        _fill_calendar(recall)
        for name in ("login", *PAGES):
            _take(browser, url, name, folder / f"{name}.png", "light", WIDE)
        for name in ALSO_DARK:
            _take(browser, url, name, folder / f"{name}-dark.png", "dark", WIDE)
        for name in ALSO_NARROW:
            _take(browser, url, name, folder / f"{name}-narrow.png", "light", NARROW)


def _fill_calendar(recall: FakeRecall) -> None:
    user, today = recall.build.user("person-00060"), datetime.now(UTC)
    recall.world.connect(user.id, "microsoft", "sixty@north.example")
    for hours in (-30, 5, 26, 49):
        meeting = recall.build.meeting(user, start=today + timedelta(hours=hours))
        recall.build.bot([meeting], outcome=None if hours > 0 else "done")


def _take(
    browser: Browser, url: str, name: str, path: Path, scheme: str, size: dict[str, int]
) -> None:
    height = TALLER.get(name, size["height"]) if size is WIDE else size["height"]
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": size["width"], "height": height},
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
    )
    page: Page = context.new_page()
    if name == "login":
        page.goto(f"{url}/console/login")
    else:
        log_in(page, url, WRITE)
        page.goto(url + PAGES[name])
    if name == "calendar":
        page.get_by_role("button", name="Load from Recall").click()
        page.get_by_role("status").wait_for()
    page.screenshot(path=path)
    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
