"""A search that outlives its statement's time-out says so, and asks for a time range."""

import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from models.core import postgresql
from models.core.database_remedies import TOO_SLOW
from models.core.engine import make_engine
from models.settings.environment import Settings
from tests.conftest import new_database
from tests.support.console_client import READ, logged_in
from webhook.app import create_app, resources_of
from webhook.cli import main

ROUTES = ("/api/links?title=weekly", "/api/bots", "/console/links?title=weekly", "/console/bots")


@pytest.fixture
def slow_url(
    postgres_url: str, postgres_template: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A PostgreSQL on which whatever reads bots or meetings runs into a short time-out."""
    monkeypatch.setitem(postgresql._SETTINGS, "statement_timeout", "100ms")
    with new_database(postgres_url, postgres_template) as url:
        engine = make_engine(Settings.read({"DATABASE_URL": url}), "write")
        with engine.begin() as holder:
            holder.execute(text("LOCK TABLE bots, calendar_meetings IN ACCESS EXCLUSIVE MODE"))
            yield url
        engine.dispose()


@pytest.mark.parametrize("route", ROUTES)
def test_a_slow_search_asks_for_a_span_of_time(slow_url: str, route: str) -> None:
    """It is not said to be away, and is not to be tried again as it is."""
    app = create_app(Settings.read({"DATABASE_URL": slow_url, "OPS_READ_TOKENS": READ}))
    answer = logged_in(app, READ).get(route, headers={"Authorization": f"Bearer {READ}"})
    resources_of(app).close()
    assert answer.status_code == 503
    assert "time range (since, until)" in answer.text
    if route.startswith("/api"):
        assert (answer.json or {})["reason"] == "too_slow"
        assert "Retry-After" not in answer.headers


def test_the_command_line_asks_for_it_in_one_line(
    slow_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """3, since it had no answer; 1 would be a search that found nothing."""
    monkeypatch.setenv("DATABASE_URL", slow_url)
    monkeypatch.setattr(sys, "argv", ["recall-links", "links", "--title", "weekly"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 3
    assert capsys.readouterr().err == f"recall-links: {TOO_SLOW}\n"
