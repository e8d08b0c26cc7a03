"""Wrong tokens are limited per address: no guessing, and nobody with a token is shut out."""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.console_client import READ, WRITE
from webhook.web.auth import BEARER
from webhook.web.failed_logins import BURST, MOST_ADDRESSES, PER_SECOND, FailedLogins

ADDRESS, OTHER = "203.0.113.7", "203.0.113.8"
SECONDS = 1 / PER_SECOND

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
Try = Callable[[Flask, str, str], TestResponse]


def digest(token: object) -> bytes:
    """A token as it is kept."""
    return hashlib.sha256(str(token).encode()).digest()


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> FailedLogins:
    """The limit, by that clock."""
    return FailedLogins(clock)


def guess(limit: FailedLogins, address: str | None, count: int, start: int = 0) -> list[float]:
    """Try so many different wrong tokens."""
    numbers = range(start, start + count)
    return [limit.wait(address, digest(number), is_right=False) for number in numbers]


def test_guesses_end_after_a_burst_and_go_on_slowly(limit: FailedLogins, clock: Clock) -> None:
    """A right guess is not told either, or guessing would go on; other addresses do not wait."""
    assert guess(limit, ADDRESS, BURST) == [0.0] * BURST
    assert limit.wait(ADDRESS, digest("new"), is_right=False) == pytest.approx(SECONDS)
    assert limit.wait(ADDRESS, digest("right"), is_right=True) == pytest.approx(SECONDS)
    assert limit.wait(OTHER, digest("right"), is_right=True) == 0.0
    clock.now += SECONDS
    assert guess(limit, ADDRESS, 2, start=100) == [0.0, pytest.approx(SECONDS)]


def test_a_script_that_repeats_its_old_token_shuts_nobody_out(limit: FailedLogins) -> None:
    """One wrong token is one guess, however often it comes."""
    for _ in range(10 * BURST):
        assert limit.wait(ADDRESS, digest("old"), is_right=False) == 0.0
    assert limit.wait(ADDRESS, digest("right"), is_right=True) == 0.0


def test_who_was_let_in_stays_in_beside_a_guesser(limit: FailedLogins) -> None:
    """Behind a proxy that we do not trust, all callers have one address."""
    assert limit.wait(ADDRESS, digest("right"), is_right=True) == 0.0
    assert max(guess(limit, ADDRESS, 3 * BURST)) > 0
    assert limit.wait(ADDRESS, digest("right"), is_right=True) == 0.0
    assert limit.wait(ADDRESS, digest("another"), is_right=True) > 0.0


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        (None, "/run/a.socket", True),
    ],
)
def test_what_one_guesser_holds_counts_as_one_address(
    limit: FailedLogins, one: str | None, other: str, is_same: bool
) -> None:
    """A /64 of IPv6; an IPv4 address in either notation; whatever is no address."""
    guess(limit, one, BURST)
    assert (limit.wait(other, digest("new"), is_right=False) > 0) == is_same


def test_memory_is_bounded(limit: FailedLogins) -> None:
    """By addresses, the one seen longest ago first; and by tokens of each."""
    guess(limit, ADDRESS, BURST)
    for number in range(MOST_ADDRESSES):
        address = f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}"
        limit.wait(address, digest(number), is_right=False)
    assert limit.wait(ADDRESS, digest("new"), is_right=False) == 0.0
    for number in range(1000):
        limit.wait(OTHER, digest(number), is_right=True)
    kept = vars(limit)["_attempts"]
    assert len(kept) == MOST_ADDRESSES
    assert len(kept[OTHER].right) < 100


def by_header(app: Flask, token: str, address: str) -> TestResponse:
    """Ask the API."""
    given: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": address}}
    return app.test_client().get("/api/links", headers={"Authorization": BEARER + token}, **given)


def by_form(app: Flask, token: str, address: str) -> TestResponse:
    """Log in to the console."""
    given: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": address}}
    return app.test_client().post("/console/login", data={"token": token}, **given)


@on_sqlite
@pytest.mark.parametrize("ask", [by_header, by_form])
def test_a_guesser_is_told_when_to_come_again(app: Flask, ask: Try) -> None:
    """429 with Retry-After, by the API and by the login form, which share the count."""
    for number in range(BURST):
        assert ask(app, f"wrong-{number}", ADDRESS).status_code == 401
    for again in (by_header, by_form):
        refused = again(app, WRITE, ADDRESS)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= math.ceil(SECONDS)
        assert "oo many wrong tokens" in refused.text
        assert "Set-Cookie" not in refused.headers
    assert ask(app, READ, OTHER).status_code in (200, 303)


@on_sqlite
def test_a_session_outlives_the_guesses_of_others(app: Flask) -> None:
    """Its cookie cannot be guessed, so it is not limited; a page by a bearer token is."""
    browser = app.test_client()
    base: Any = {"REMOTE_ADDR": ADDRESS}
    logged = browser.post("/console/login", data={"token": READ}, environ_base=base)
    assert logged.status_code == 303
    for number in range(2 * BURST):
        by_header(app, f"wrong-{number}", ADDRESS)
    assert browser.get("/console/links", environ_base=base).status_code == 200
    page = app.test_client().get(
        "/console/links", headers={"Authorization": BEARER + WRITE}, environ_base=base
    )
    assert (page.status_code, page.mimetype) == (429, "text/html")
