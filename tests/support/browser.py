"""A real browser for tests: Debian's Chromium, found or installed, driven by playwright."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
LOCK = Path(tempfile.gettempdir()) / "recall-links-chromium.lock"
# No word to anybody but the page: a browser fresh from its package looks for updates.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class NoBrowserError(Exception):
    """No Chromium is here and none can be installed; the message says why."""


def chromium() -> str:
    """Return Chromium's path, installing it where apt can; NoBrowserError."""
    # pytest's workers come here at once, and apt lets one in.
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := _found():
            return found
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise NoBrowserError("no Chromium: apt install chromium")
        environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            command = ["apt-get", "-q", *step]
            done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
            if done.returncode:
                raise NoBrowserError(f"no Chromium: {' '.join(command)}: {done.stderr[-300:]}")
        return _found() or ""


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running_browser(*flags: str) -> Iterator[Browser]:
    """Run a headless Chromium with a profile of its own."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        yield browser
        browser.close()


def log_in(page: Page, url: str, token: str) -> None:
    """Trade a token for a session, as a person does."""
    page.goto(f"{url}/console/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/console/")
