"""The questions that docs/sql.md answers: each is run, and none reads a big table whole."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, text, update

from models.core.engine import make_engine
from models.queries.alarms.alerts import alarms
from models.queries.bot_detail import explain
from models.queries.calendars.calendar_users import CalendarUserFilter
from models.queries.calendars.findings import FindingFilter
from models.queries.calendars.missed import MissedFilter
from models.queries.failures.failures import FailureFilter
from models.queries.filters import (
    BotFilter,
    DeliveryFilter,
    Filter,
    LinkFilter,
    RecordingFilter,
    RejectionFilter,
)
from models.queries.registry import (
    BOTS,
    CALENDAR_USERS,
    DELIVERIES,
    FAILURES,
    FINDINGS,
    LINKS,
    MISSED,
    RECORDINGS,
    REJECTIONS,
    ListKind,
)
from models.queries.search import look_up
from models.queries.service_status import overview
from models.settings.environment import Settings
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarUser
from models.tables.calendar_finding import CalendarFinding
from models.tables.delivery import Delivery
from models.tables.hourly_count import BOT_END, HourlyCount
from models.tables.missed_meeting import MissedMeeting
from models.tables.reconcile_run import ReconcileRun
from models.tables.recording import Recording
from models.tables.rejection import Rejection
from models.tables.relink_batch import RelinkBatch, RelinkBatchBot
from tests.conftest import ROOT, new_database
from tests.support.bulk_data import a_meeting_key, bot_id, meeting_id, populate
from tests.support.fakes import START
from tests.support.query_plans import statements_of, walks, whole_scans
from tests.support.rows import later

BOTS_WRITTEN = 20_000
LINKED, FAILED = bot_id(10_010), bot_id(10_003)
EXAMPLES = {
    # Somebody of few meetings: beside those of many a small table whole is as cheap.
    "ada@example.com": "guest1@south.example",
    "user-17": "person-00017",
}
EXAMPLE_BOT = "5b1f0c52-3f55-4a1e-8f0e-1a2b3c4d5e01"


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def big(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A database of twenty thousand bots, and of as much else as goes with them."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("big") / "big.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield from _filled(f"sqlite:///{path}")
        return
    server_url = request.getfixturevalue("postgres_url")
    with new_database(server_url, request.getfixturevalue("postgres_template")) as url:
        yield from _filled(url)


def _filled(url: str) -> Iterator[Engine]:
    engine = make_engine(Settings.read({"DATABASE_URL": url}), "write")
    with engine.begin() as connection:
        _write_the_rest(connection)
    populate(engine, BOTS_WRITTEN)
    with engine.begin() as connection:
        due = update(Bot).where(Bot.id.in_([bot_id(n) for n in range(20)]))
        connection.execute(due.values(due_at=db_now(-60)))
        expiring = update(Recording).where(Recording.bot_id == LINKED)
        connection.execute(expiring.values(expires_at=db_now(86_400)))
        unapplied = update(Delivery).where(Delivery.bot_id == FAILED)
        connection.execute(unapplied.values(applied_at=None))
    yield engine
    engine.dispose()


def _write_the_rest(connection: Connection) -> None:
    """Write the ledger tables first: `populate` ends with an ANALYZE of everything."""
    hours = [START + timedelta(hours=n) for n in range(2000)]
    refused = {"reason": "no_matching_signature", "headers": {}}
    changed = {"actor": "cli x", "action": "relink", "details": {}}
    counted = {"name": "delivery", "count": 7}
    connection.execute(
        insert(Rejection), [{"received_at": later(n), **refused} for n in range(10_000)]
    )
    connection.execute(insert(Audit), [{"at": later(n), **changed} for n in range(5000)])
    labels = ("accepted", "ignored", "duplicate")
    rows = [{"hour": hour, "label": label, **counted} for hour in hours for label in labels]
    ended = {"name": BOT_END, "label": "not_admitted timeout_exceeded_waiting_room"}
    rows += [{"hour": hour, **counted, **ended} for hour in hours]
    connection.execute(insert(HourlyCount), rows)
    runs = [{"started_at": later(n), "beat_at": later(n), "position": {}} for n in range(5000)]
    connection.execute(
        insert(ReconcileRun), [run | {"finished_at": run["beat_at"]} for run in runs]
    )
    about = [
        {
            "meeting_id": meeting_id(n),
            "reason": ("no_bot", "not_admitted")[n % 2],
            "external_id": f"person-{n % 200:05d}",
            "start_time": later(60 * n),
            "end_time": later(60 * n + 1800),
            "found_at": later(60 * n + 3600),
        }
        for n in range(9000)
    ]
    connection.execute(insert(MissedMeeting), about)
    batches = [{"id": n + 1, "at": later(n), "actor": "ann"} for n in range(2000)]
    connection.execute(insert(RelinkBatch), batches)
    members = [{"batch_id": n // 5 + 1, "bot_id": bot_id(n)} for n in range(10_000)]
    connection.execute(insert(RelinkBatchBot), members)
    users = [{"id": str(n), "seen_at": later(n), "google_connected": n > 9} for n in range(5000)]
    connection.execute(insert(CalendarUser), users)
    amiss = {"kind": "two_bots_on_one_meeting", "bot_ids": []}
    connection.execute(
        insert(CalendarFinding),
        [
            {"calendar_user_id": str(n), "subject": meeting_id(n), "found_at": later(n), **amiss}
            for n in range(5000)
        ],
    )


def sql_blocks(page: str) -> list[str]:
    """What stands in a page between ```sql and ```."""
    return re.findall(r"```sql\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def documented_statements() -> list[str]:
    """Every statement of the page, its question before it as a comment."""
    blocks = sql_blocks("docs/sql.md")
    found = [one.strip() for block in blocks for one in block.split(";\n") if one.strip()]
    return [one.removesuffix(";") for one in found]


def is_for(statement: str, dialect: str) -> bool:
    """Whether a statement is meant for this database; most are for both."""
    head = statement.partition("\nSELECT")[0].lower()
    others = {"postgresql": "sqlite", "sqlite": "postgresql"}
    return others[dialect] not in head


def test_the_page_numbers_its_questions() -> None:
    """One after the other, so that people can name them."""
    numbers = {
        int(found) for found in re.findall(r"-- (\d+)\.", "\n".join(documented_statements()))
    }
    assert numbers == set(range(1, max(numbers) + 1))
    assert len(numbers) > 12


def test_the_readme_shows_one_of_them() -> None:
    """Word for word, so that the page's tests hold for it."""
    shown = [block.strip().removesuffix(";") for block in sql_blocks("README.md")]
    answers = [re.sub(r"^--.*\n", "", one, flags=re.MULTILINE) for one in documented_statements()]
    assert len(shown) == 1
    assert shown[0] in answers


def test_every_documented_answer_runs_and_needs_no_whole_table(big: Engine) -> None:
    """At twenty thousand bots, in the page's own words, with values that are there."""
    with big.connect() as connection:
        for statement in documented_statements():
            if is_for(statement, connection.dialect.name):
                _try(connection, statement)


def _try(connection: Connection, statement: str) -> None:
    for example, there in EXAMPLES.items():
        statement = statement.replace(example, there)
    filled = [statement.replace(EXAMPLE_BOT, bot) for bot in (LINKED, FAILED)]
    # Bound values would be taken for parameters: there are none, but there are colons.
    assert any(connection.execute(text(one)).first() for one in filled), statement
    # The driver's own words: to psycopg a single % would be a parameter.
    percent = "%%" if connection.dialect.name == "postgresql" else "%"
    assert whole_scans(connection, filled[0].replace("%", percent)) == [], statement


def test_a_question_without_an_index_would_be_noticed(big: Engine) -> None:
    """The plans are read as they are meant: this one has no index to go by."""
    with big.connect() as connection:
        for question in (
            "SELECT id FROM bots WHERE bot_name = 'x'",
            "SELECT bot_id FROM bot_links ORDER BY meeting_title LIMIT 5",
        ):
            assert whole_scans(connection, question) != [], question


ASKED: list[tuple[ListKind, Filter]] = [
    (LINKS, LinkFilter()),
    (LINKS, LinkFilter(bot_id=LINKED)),
    (LINKS, LinkFilter(title="sync", bot_id=LINKED[:8])),
    (LINKS, LinkFilter(meeting_id=meeting_id(20))),
    (LINKS, LinkFilter(external_id="person-00017")),
    (LINKS, LinkFilter(external_id="person-00017", since=later(0), until=later(90_000))),
    (LINKS, LinkFilter(email="person-00017@north.example")),
    (LINKS, LinkFilter(title="roadmap sync 42")),
    (LINKS, LinkFilter(title="sync")),
    (LINKS, LinkFilter(title="sync", external_id="person-00017")),
    (LINKS, LinkFilter(title="sync", since=later(60_000), until=later(90_000))),
    (LINKS, LinkFilter(recorded=False, external_id="person-00017")),
    (LINKS, LinkFilter(recorded=False, since=later(60_000), until=later(66_000))),
    (LINKS, LinkFilter(ical_uid="00000014@calendar.example")),
    (LINKS, LinkFilter(meeting_key=a_meeting_key(110))),
    (LINKS, LinkFilter(since=later(60_000), until=later(66_000))),
    (LINKS, LinkFilter(changed_since=later(60_000))),
    (LINKS, LinkFilter(metadata={"deal": "deal-110"})),
    (BOTS, BotFilter()),
    (BOTS, BotFilter(link_state="failed")),
    (BOTS, BotFilter(link_state="unlinked")),
    (BOTS, BotFilter(link_state="failing")),
    (BOTS, BotFilter(link_state="failing", error="bot_not_found")),
    (FAILURES, FailureFilter()),
    (BOTS, BotFilter(status="fatal")),
    (BOTS, BotFilter(due=True)),
    (BOTS, BotFilter(in_progress=True)),
    (BOTS, BotFilter(error="bot_not_found", link_state="failed")),
    (BOTS, BotFilter(metadata={"deal": "deal-110"})),
    (BOTS, BotFilter(recorded=False)),
    (BOTS, BotFilter(recorded=True)),
    (BOTS, BotFilter(sub_code="meeting_not_found")),
    (BOTS, BotFilter(sub_code="meeting_not_found", since=later(60_000), until=later(90_000))),
    (BOTS, BotFilter(since=later(60_000), until=later(90_000))),
    (RECORDINGS, RecordingFilter()),
    (RECORDINGS, RecordingFilter(bot_id=LINKED)),
    (RECORDINGS, RecordingFilter(status="failed")),
    (RECORDINGS, RecordingFilter(transcript_status="failed")),
    (RECORDINGS, RecordingFilter(since=later(60_000), until=later(90_000))),
    (RECORDINGS, RecordingFilter(expires_since=later(800_000), expires_until=later(900_000))),
    (DELIVERIES, DeliveryFilter()),
    (DELIVERIES, DeliveryFilter(bot_id=LINKED)),
    (DELIVERIES, DeliveryFilter(outcome="malformed")),
    (DELIVERIES, DeliveryFilter(unapplied=True)),
    (DELIVERIES, DeliveryFilter(since=later(60_000), until=later(90_000))),
    (REJECTIONS, RejectionFilter()),
    (REJECTIONS, RejectionFilter(since=later(60), until=later(900))),
    (MISSED, MissedFilter()),
    (MISSED, MissedFilter(unresolved=True)),
    (MISSED, MissedFilter(external_id="person-00017")),
    (MISSED, MissedFilter(reason="not_admitted")),
    (MISSED, MissedFilter(since=later(60_000), until=later(90_000))),
    (CALENDAR_USERS, CalendarUserFilter()),
    (CALENDAR_USERS, CalendarUserFilter(external_id="person-00017")),
    (CALENDAR_USERS, CalendarUserFilter(email="person-00017@north.example")),
    (CALENDAR_USERS, CalendarUserFilter(disconnected=True)),
    (CALENDAR_USERS, CalendarUserFilter(gone=True)),
    (FINDINGS, FindingFilter()),
    (FINDINGS, FindingFilter(external_id="person-00017")),
    (FINDINGS, FindingFilter(since=later(60_000), until=later(90_000))),
]


def test_no_list_reads_a_table_whole(big: Engine) -> None:
    """First page and next, for each filter that an index serves."""
    for kind, wanted in ASKED:
        # A transaction each, as requests have: what one sets for itself ends with it.
        with big.connect() as connection:
            listing = kind.listing(wanted, connection.dialect.name)
            first = listing.page(connection, 5)
            for after in (None, first.next):
                assert _scans(connection, partial(listing.page, connection, 5, after)) == [], wanted


def test_metadata_is_looked_up_by_its_index(big: Engine) -> None:
    """Of bots and of links, a page and a relink alike; SQLite has no such index, as docs say."""
    if big.dialect.name == "sqlite":
        return
    for kind, filter_of in ((BOTS, BotFilter), (LINKS, LinkFilter)):
        for metadata in ({"deal": "deal-110"}, {"team": "team-7", "deal": "deal-127"}):
            with big.connect() as connection:
                listing = kind.listing(filter_of(metadata=metadata), connection.dialect.name)
                assert len(listing.page(connection, 5).rows) == 1
                for work in (
                    partial(listing.page, connection, 5),
                    partial(listing.count, connection, 9),
                ):
                    ((statement, values),) = statements_of(connection, work)
                    plan = connection.exec_driver_sql("EXPLAIN " + statement, values).all()
                    assert "ix_bots_metadata" in str(plan), plan


BEGINNINGS: list[tuple[ListKind, Filter]] = [
    (LINKS, LinkFilter(bot_id=LINKED[:8])),
    (BOTS, BotFilter(bot_id=LINKED[:8])),
    (BOTS, BotFilter(bot_id=LINKED)),
    (DELIVERIES, DeliveryFilter(bot_id=LINKED[:8])),
    (DELIVERIES, DeliveryFilter(message_id="msg_00000020_done")),
]


def test_an_id_is_looked_up_and_not_passed_by(big: Engine) -> None:
    """Whole or its beginning: to walk a list in its order until the id comes by is a whole read."""
    with big.connect() as connection:
        for kind, wanted in BEGINNINGS:
            listing = kind.listing(wanted, connection.dialect.name)
            assert listing.page(connection, 5).rows, wanted
            _looks_up(connection, partial(listing.page, connection, 5))
        for text in (LINKED, LINKED[:8], LINKED[:20].upper(), "0" * 8, "msg_00000020_done"):
            _looks_up(connection, partial(look_up, connection, text))


def _looks_up(connection: Connection, work: Callable[[], object]) -> None:
    for statement, values in statements_of(connection, work):
        # The refused requests are few, and asked where nothing else has the id.
        if "rejections" not in statement:
            assert walks(connection, statement, values) == [], statement


def test_the_overview_and_one_bot_read_no_table_whole(big: Engine) -> None:
    """They are asked every few seconds by a page, a scrape or a person."""
    with big.connect() as connection:
        assert _scans(connection, lambda: explain(connection, LINKED)) == []
        # Of the counts by the hour, nearly all are asked for here: the whole is then the quicker.
        # Of the findings, 500 at most are counted, and each night takes away what is over.
        few = {"tallies", "calendar_findings"}
        assert set(_scans(connection, lambda: _look(connection))) <= few


def _look(connection: Connection) -> None:
    found = overview(connection)
    quiet = replace(found, last_delivery_at=found.at - timedelta(hours=3))
    alarms(connection, quiet)


def _scans(connection: Connection, work: Callable[[], object]) -> list[str]:
    asked = statements_of(connection, work)
    assert asked
    return [
        table for statement, values in asked for table in whole_scans(connection, statement, values)
    ]
