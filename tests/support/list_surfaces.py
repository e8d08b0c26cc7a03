"""The surfaces on which a list can be asked for, each asked as its users ask it."""

import csv
import io
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Engine, insert
from sqlalchemy.orm import QueryableAttribute

from models.core.engine import make_engine
from models.core.serialize import plain
from models.queries.filters import MOST_ROWS
from models.queries.registry import LISTS, ListKind
from models.settings.environment import Settings
from models.tables.audit import Audit
from models.tables.base import Base, db_now, longest
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.link import Link
from models.tables.missed_meeting import MissedMeeting
from models.tables.rejection import Rejection
from tests.support.bulk_data import an_id
from tests.support.cli_terminal import Typist
from tests.support.console_client import READ, WRITE, logged_in
from tests.support.demo_data import furnish
from tests.support.list_walk import Question, Row
from tests.support.rows import add_bot, add_delivery, later, set_bot
from webhook.app import create_app, resources_of
from webhook.web.auth import BEARER

BOTS_WRITTEN = 60
# Keys that a path, a quote or an escape would be read wrongly by.
ODD_METADATA = {"a.b": "dotted", '"quo\\ted"': "'x'=y", "é\u2028": "ü %", "": "no key", "n": 7}
Text = Callable[[QueryableAttribute[Any]], str]


class Walker:
    """Asks one furnished database over every surface that there is."""

    def __init__(
        self, engine: Engine, client: FlaskClient, page: FlaskClient, typist: Typist
    ) -> None:
        self.engine = engine
        self._client = client
        self._page = page
        self._typist = typist
        self.all = {kind.name: self.api_json(kind, {}, []) for kind in LISTS}

    def api_json(self, kind: ListKind, given: dict[str, str], _options: list[str]) -> list[Row]:
        """The rows of every page, some at a time."""
        found: list[Row] = []
        query = {**given, "limit": "23"}
        while True:
            answer = self._get(f"/api/{kind.name}", query).get_json()
            found += answer["items"]
            if answer["next"] is None:
                return found
            query["cursor"] = answer["next"]

    def api_csv(self, kind: ListKind, given: dict[str, str], _options: list[str]) -> list[Row]:
        """The rows of the whole list."""
        text = self._get(f"/api/{kind.name}", {**given, "format": "csv"}).text
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def command_line(self, kind: ListKind, _given: dict[str, str], options: list[str]) -> list[Row]:
        """The rows that the command prints, and its exit code."""
        said = self._typist.piped(*kind.words, *options, "--json", "--limit", "0")
        assert said.err == ""
        found: list[Row] = json.loads(said.out)["items"]
        assert said.code == (0 if found else 1)
        return found

    def page(self, kind: ListKind, given: dict[str, str]) -> tuple[int, set[str]]:
        """How many rows the console's page shows, and which bots it leads to."""
        query = {**given, "limit": str(MOST_ROWS)}
        response = self._page.get(f"/console/{kind.name}", query_string=query)
        assert response.status_code == 200, response.text
        (body,) = re.findall(r"<tbody>(.*?)</tbody>", response.text, re.DOTALL) or [""]
        return body.count("<tr"), set(re.findall(r'href="/console/bots/([^"]+)"', body))

    def previews(self, question: Question) -> Iterator[tuple[int, list[str]]]:
        """How many bots a relink would touch, and some of them, from each who can be asked."""
        headers = {"Authorization": BEARER + WRITE}
        body = {**question.given, "preview": True}
        answer = self._client.post("/api/relink", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        told = answer.get_json()
        yield told["count"], [row["bot_id"] for row in told["sample"]]
        said = self._typist.piped("relink", *question.options, "--preview", "--json")
        found = json.loads(said.out)
        yield found["count"], [row["bot_id"] for row in found["sample"]]
        page = self._page.get("/console/relink", query_string=question.given)
        assert page.status_code == 200, page.text
        counted = re.search(r"<strong>([\d,]+) bots?", page.text)
        bots = re.findall(r'href="/console/bots/([0-9a-f-]{36})"', page.text)
        yield int(counted[1].replace(",", "")) if counted else 0, bots

    def listed(self, kind: ListKind, given: dict[str, str]) -> tuple[int, list[Row]]:
        """What the list itself counts and reads."""
        with self.engine.connect() as connection:
            listing = kind.listing(kind.wanted.model_validate(given), connection.dialect.name)
            count = listing.count(connection, MOST_ROWS)
        with self.engine.connect() as connection:
            return count, [plain(row) for row in listing.page(connection, MOST_ROWS).rows]

    def _get(self, path: str, query: dict[str, str]) -> Any:
        headers = {"Authorization": BEARER + READ}
        answer = self._client.get(path, query_string=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer


@contextmanager
def a_walker(url: str, zygote: "subprocess.Popen[str]", folder: Path) -> Iterator[Walker]:
    """Furnish a migrated database, and ask it in each way."""
    given = {"DATABASE_URL": url, "OPS_READ_TOKENS": READ, "OPS_WRITE_TOKENS": WRITE}
    settings = Settings.read(given)
    engine = make_engine(settings, "write")
    furnish(engine, BOTS_WRITTEN)
    _add_oddities(engine)
    app = create_app(settings)
    typist = Typist(zygote, folder, DATABASE_URL=url)
    yield Walker(engine, app.test_client(), logged_in(app, READ), typist)
    resources_of(app).close()
    engine.dispose()


def _add_oddities(engine: Engine) -> None:
    """Add what a day seldom leaves behind, and a filter asks for."""
    add_delivery(engine, None, None, event=None, outcome="malformed", reason="not_json")
    add_delivery(engine, an_id(7, 1), "done")
    _add_a_bot_with(engine, 1, lambda column: f" {column.key} ")
    _add_a_bot_with(engine, 2, lambda column: "x" * longest(column))


def _add_a_bot_with(engine: Engine, number: int, text: Text) -> None:
    """Add a bot of which each text is made for its column."""
    bot, meeting, seen = an_id(7, number), an_id(8, number), later(number)
    metadata = {text(CalendarMeeting.title): text(CalendarMeeting.title), **ODD_METADATA}
    ended = {"recorded": False, "ended_sub_code": text(Bot.ended_sub_code), "metadata": metadata}
    # The first is overdue, the second due.
    due = db_now(-600 if number == 1 else -1)
    add_bot(engine, bot, status=text(Bot.status), first_seen_at=seen, due_at=due, **ended)
    set_bot(engine, bot, lease_until=db_now(86_400 if number == 1 else -5))
    user, soon = an_id(6, number), datetime.now(UTC) + timedelta(hours=number)
    message_id = text(Delivery.id)
    add_delivery(engine, bot, None, id=message_id, event="bot.log", outcome="ignored")
    email = text(MeetingPerson.email).strip()
    times = {"start_time": seen, "end_time": seen}
    rows: list[tuple[type[Base], Row]] = [
        (CalendarMeeting, {
            "id": meeting, **times, "state": "found", "title": text(CalendarMeeting.title),
            "ical_uid": text(CalendarMeeting.ical_uid), "organizer_email": email,
            "meeting_key": text(CalendarMeeting.meeting_key),
            "meeting_platform": text(CalendarMeeting.meeting_platform),
        }),
        (MeetingPerson, {"meeting_id": meeting, "email": email}),
        (CalendarUser, {
            "id": user, "external_id": text(CalendarUser.external_id), "email": email,
            "google_connected": False, "microsoft_connected": False, "seen_at": seen,
        }),
        (MissedMeeting, {
            "meeting_id": meeting, "external_id": text(MissedMeeting.external_id),
            "title": text(MissedMeeting.title), "start_time": seen, "end_time": seen,
            "reason": "not_admitted", "bot_id": bot, "found_at": seen,
        }),
        (CalendarFinding, {
            "calendar_user_id": user, "kind": "two_bots_on_one_meeting", "subject": meeting,
            "title": text(CalendarFinding.title), "starts_at": soon, "ends_at": soon,
            "bot_ids": [bot], "found_at": seen,
        }),
        (Link, {
            "bot_id": bot, "meeting_id": meeting, "external_id": text(Link.external_id),
            "seen_start": seen, "seen_end": seen, "linked_at": seen, "last_seen_at": seen,
        }),
        (Rejection, {
            "received_at": seen, "reason": "stale_timestamp", "message_id": message_id,
            "headers": {},
        }),
        (Audit, {
            "at": seen, "actor": text(Audit.actor), "action": text(Audit.action),
            "subject": text(Audit.subject), "details": {},
        }),
    ]  # fmt: skip
    with engine.begin() as connection:
        for table, row in rows:
            connection.execute(insert(table).values(**row))
