"""Title search: the same words match on both databases, and every write keeps the index."""

import shutil
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, insert, text, update

from models.core.engine import make_engine
from models.core.title_words import LONGEST_WORD, title_columns, title_words
from models.queries.filters import LinkFilter
from models.queries.lists import links
from models.queries.pagination import Listing
from models.queries.rows import LinkRow
from models.settings.environment import Settings
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from tests.conftest import MakeSettings, alembic_config, migrate, new_database
from tests.support.bulk_data import populate
from tests.support.query_plans import statements_of
from tests.support.rows import add_bot, later, rows
from tests.support.title_writes import BY_AN_OLD_RELEASE, missing_words
from workers.linking.backfill import EVERY_SECONDS, Backfill
from workers.linking.title_index import index_titles
from workers.privacy.redact import redact_meetings

TITLES = (
    "Roadmap sync",
    "roadmap SYNC, weekly",
    "Sync: Q3/Q4 roadmap (draft)",
    "Acme/Globex 1:1",
    "Q3/Q4 planning v1.2",
    "<Intro> Contoso call",
    "Kickoff Foo.bar",
    "re-sync foo-bar baz",
    "https://example.com/a/b?x=1 call",
    "Mail ada@example.com",
    "Größe prüfen ÄÖÜ İstanbul ΑΘΉΝΑ Ёлка",
    "Réunion d’équipe, café",
    "ﬁnance ２０２６ №1 Ⅷ ½ ²",
    "회의 हिन्दी ガイド",
    "1.5 -3 4e5 v2.0.1",
    "it's o'clock",
    "a_b c <b>bold</b> &amp; more",
    "日本語 会議",
    "🚀 launch 🚀party",
    "NOT this AND that OR NEAR",
    "!!!",
    "",
    None,
    "x" * 900 + " long",
    "日" * 600 + " long",
    "ﷺ" * 600 + " long",
    "roadmap roadmap Roadmap",
    " ".join(f"word{n}" for n in range(140)),
)
ASKED = (
    "acme", "1", "q3", "intro", "bar", "planning q4", "v1", "2", "ALS", "groesse", "grosse",
    "GRÖSSE", "istanbul", "İSTANBUL", "αθηνα", "елка", "reunion", "cafe", "CAFÉ", "equipe d",
    "finance", "2026", "no1", "viii", "회의", "हिन्दी", "がいと", "ガイド", "party",
    "sync roadmap", "SYNC sync Sync", "zebra", "sync zebra", "!!!", '"', "-", "' OR 1=1 --",
    "NOT sync", "and", "NOT", "near this", "sync | weekly", "sync:*", "syn*", "^sync", "long",
    "foo bar", "foo-bar", "b more", "a_b", "example.com", "ada@example.com", "/a/b", "3", "-3",
    "4e5", "größe", "会議", "会", "日" * 200, "x" * 200, "ﷺ" * 200, "🚀", "🚀 launch",
    " ".join(f"word{n}" for n in range(25)),
)  # fmt: skip


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A database with one meeting and link for each title, for read-only tests."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("titles") / "titles.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield from _titled(f"sqlite:///{path}")
        return
    server_url = request.getfixturevalue("postgres_url")
    with new_database(server_url, request.getfixturevalue("postgres_template")) as url:
        yield from _titled(url)


def _titled(url: str) -> Iterator[Engine]:
    engine = make_engine(Settings.read({"DATABASE_URL": url}), "write")
    for number, title in enumerate(TITLES):
        write(engine, f"m{number:02d}", title, 60 * number)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_url: str, postgres_template: str) -> Iterator[Engine]:
    """An empty PostgreSQL database for one test."""
    with new_database(postgres_url, postgres_template) as url:
        engine = make_engine(Settings.read({"DATABASE_URL": url}), "write", pool_size=2)
        yield engine
        engine.dispose()


def write(engine: Engine, meeting: str, title: str | None, seconds: float, bots: int = 1) -> None:
    """Write a meeting with its bots and links."""
    times = {"start_time": later(seconds), "end_time": later(seconds + 60)}
    seen = {"seen_start": later(seconds), "seen_end": later(seconds + 60)}
    seen |= {"linked_at": later(0), "last_seen_at": later(0)}
    with engine.begin() as connection:
        row = {"id": meeting, "title": title, "state": "found", **times}
        connection.execute(insert(CalendarMeeting).values(row))
        for number in range(bots):
            link = {"bot_id": f"{meeting}-{number}", "meeting_id": meeting, **seen}
            connection.execute(insert(Link).values(link))
    for number in range(bots):
        add_bot(engine, f"{meeting}-{number}", status="done", link_state="linked")


def by_title(engine: Engine, words: str, **others: Any) -> Listing[LinkRow]:
    """The list of links whose title contains the words."""
    return links(LinkFilter(title=words, **others), engine.dialect.name)


def found(engine: Engine, words: str, **others: Any) -> list[str]:
    """The ids of the bots found."""
    with engine.connect() as connection:
        return [row.bot_id for row in by_title(engine, words, **others).all(connection, 500)]


# -- words ------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Acme/Globex 1:1", "acme globex 1"),
        ("Q3/Q4 planning v1.2", "q3 q4 planning v1 2"),
        ("<Intro> Contoso call", "intro contoso call"),
        ("Kickoff Foo.bar", "kickoff foo bar"),
        ("a_b it's foo-bar", "a b it s foo bar"),
        ("Größe ÄÖÜ İstanbul Straße STRASSE", "grosse aou istanbul strasse"),
        ("Ελλάδα ΕΛΛΆΔΑ ς σ", "ελλαδα σ"),
        ("ﬁnance ２０２６ ½ ²", "finance 2026 1 2"),
        ("회의 日本語", "회의 日本語"),
        ("sync SYNC Sync", "sync"),
        ("🚀 !!! \t\n", ""),
        ("x" * 300, "x" * LONGEST_WORD),
    ],
)
def test_a_word_is_a_run_of_letters_and_digits(title: str, words: str) -> None:
    """Without case and accents, split at other characters, each word once."""
    assert " ".join(title_words(title)) == words


@given(title=st.text(max_size=80))
def test_stored_words_are_split_into_the_same_words(title: str) -> None:
    """By our function, by PostgreSQL and by SQLite."""
    words = title_words(title)
    assert all(word.isalnum() and 0 < len(word.encode()) <= 2046 for word in words)
    assert title_words(" ".join(words)) == words
    assert " ".join(words).split() == words


@given(title=st.text(max_size=80))
def test_the_migration_and_the_code_make_the_same_words(title: str) -> None:
    """The migration has its own copy of the function, because it imports nothing of ours."""
    made: str = _migration().words_of(title)
    assert made == title_columns(title)["title_words"]


def _migration() -> Any:
    return ScriptDirectory.from_config(alembic_config()).get_revision("0011").module


# -- matches -------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [*ASKED, *(title[:200] for title in TITLES if title)], ids=lambda words: words[:20]
)
def test_both_databases_find_the_titles_with_every_word(shared: Engine, words: str) -> None:
    """In any case, with any separators and repetitions. A text without words finds nothing."""
    asked = set(title_words(words))
    expected = {
        f"m{number:02d}"
        for number, title in enumerate(TITLES)
        if asked and asked <= set(title_words(title or ""))
    }
    with shared.connect() as connection:
        listing = by_title(shared, words.strip() or words)
        rows = listing.page(connection, 100).rows
        assert {row.meeting_id for row in rows} == expected
        assert listing.count(connection, 100) == len(expected)


@given(title=st.text(max_size=40), data=st.data())
def test_any_title_is_found_by_any_of_its_words(
    shared: Engine, title: str, data: st.DataObject
) -> None:
    """Neither database splits our words further."""
    title = title.replace("\0", "").encode(errors="ignore").decode()
    words = title_words(title)
    asked = data.draw(st.lists(st.sampled_from(words), max_size=3)) if words else []
    with shared.connect() as connection, connection.begin() as transaction:
        connection.execute(_first_title(title))
        found = {row.meeting_id for row in by_title(shared, " ".join(asked) or "!").all(connection)}
        transaction.rollback()
    assert ("m00" in found) == bool(asked)


def _first_title(title: str) -> Any:
    return update(CalendarMeeting).where(CalendarMeeting.id == "m00").values(title_columns(title))


def test_the_latest_meeting_comes_first(engine: Engine) -> None:
    """On both databases, whenever the link was made."""
    for number, seconds in enumerate((50, 10, 90, 30)):
        write(engine, f"m{number}", f"Weekly {number}", seconds)
    assert found(engine, "weekly") == ["m2-0", "m0-0", "m3-0", "m1-0"]
    assert found(engine, "weekly", meeting_id=None, status="done")[0] == "m2-0"


@pytest.mark.parametrize("words", ["weekly", "weekly crew"])
def test_pages_of_any_size_hold_every_link_once(engine: Engine, words: str) -> None:
    """Also with several meetings at one time and several bots in one meeting."""
    for number in range(9):
        crew = "crew" if number % 4 else "board"
        write(engine, f"m{number}", f"Weekly of the {crew}", number // 3 * 60, 1 + number % 3)
    listing = by_title(engine, words, status="done")
    with engine.connect() as connection:
        whole = [(r.meeting_start, r.meeting_id, r.bot_id) for r in listing.all(connection)]
        assert whole == sorted(set(whole), reverse=True)
        assert len(whole) == (18 if words == "weekly" else 12)
        for size in range(1, len(whole)):
            paged = [row.bot_id for row in listing.all(connection, size)]
            assert paged == [bot for _, _, bot in whole]


@pytest.mark.parametrize("words", ["sync", "sync roadmap", "7 sync"])
def test_words_combine_with_every_other_filter(engine: Engine, words: str) -> None:
    """The result is the intersection of both filters."""
    populate(engine, 600, users=5)
    others: tuple[dict[str, Any], ...] = (
        {}, {"current": True}, {"status": "fatal"}, {"link_state": "partial"},
        {"status": "done", "link_state": "linked"}, {"platform": "zoom"},
        {"since": later(6000)}, {"until": later(9000), "since": later(3000)},
        {"external_id": "person-00003"}, {"email": "person-00003@north.example"},
        {"email": "guest7@south.example", "until": later(30_000)},
    )  # fmt: skip
    for other in others:
        with engine.connect() as connection:
            every = list(links(LinkFilter(**other), engine.dialect.name).all(connection))
        asked = set(words.split())
        expected = {
            row.bot_id for row in every if asked <= set((row.meeting_title or "").lower().split())
        }
        got = found(engine, words, **other)
        assert set(got) == expected, other
        assert len(got) == len(expected), other


# -- query plans -----------------------------------------------------------


def test_a_page_reads_few_rows_however_common_the_words_are(postgres: Engine) -> None:
    """Common words follow the time index until the page is full; rare ones use their index."""
    _write_many(postgres)
    with postgres.connect() as connection:
        for words, most in (("weekly", 150), ("weekly crew", 150), ("crew 42 weekly", 10)):
            listing = by_title(postgres, words)
            first = listing.page(connection, 5)
            for after in (None, first.next):
                asked = statements_of(connection, partial(listing.page, connection, 5, after))
                assert max(_rows_read(connection, *asked[-1])) <= most, (words, after)


def _write_many(engine: Engine) -> None:
    # 4,000 weekly meetings, of which three in four are the crew's and one is the board's.
    statements = """
        INSERT INTO bots (id, status, status_at, first_seen_at)
        SELECT 'b' || n, 'done', now(), now() FROM generate_series(1, 4000) AS n;
        INSERT INTO calendar_meetings (id, start_time, end_time, state, title, title_words,
            indexed_title)
        SELECT 'm' || n, now() + n * interval '1 s', now() + n * interval '2 s', 'found', title,
            CAST(lower(title) AS tsvector), title
        FROM generate_series(1, 4000) AS n,
            LATERAL (SELECT CASE n % 4 WHEN 0 THEN 'Board' ELSE 'Crew' END || ' weekly ' || n
                AS title) AS titles;
        INSERT INTO links (bot_id, meeting_id, seen_start, seen_end, linked_at, last_seen_at)
        SELECT 'b' || n, 'm' || n, now(), now(), now(), now() FROM generate_series(1, 4000) AS n;
        ANALYZE"""
    with engine.begin() as connection:
        for statement in statements.split(";"):
            connection.execute(text(statement))


def _rows_read(connection: Connection, statement: str, values: Any) -> Iterator[float]:
    explain = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "
    (plan,) = connection.exec_driver_sql(explain + statement, values).scalar_one()
    nodes = [plan["Plan"]]
    while nodes:
        node = nodes.pop()
        yield node["Actual Rows"] * node["Actual Loops"]
        nodes += node.get("Plans", [])


# -- index maintenance ----------------------------------------------------


INSERT = "INSERT INTO calendar_meetings (id, title, title_words, indexed_title) VALUES (?)"


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("UPDATE calendar_meetings SET title=NULL WHERE x", {"title_words", "indexed_title"}),
        ("UPDATE calendar_meetings SET title=?, title_words=?, indexed_title=?", set()),
        ("UPDATE calendar_meetings SET state=?", set()),
        ("INSERT INTO calendar_meetings (id, title) VALUES (?)", {"title_words", "indexed_title"}),
        (f"{INSERT} ON CONFLICT (id) DO UPDATE SET title = x", {"title_words", "indexed_title"}),
    ],
)  # fmt: skip
def test_a_statement_that_forgets_the_words_is_detected(statement: str, missing: set[str]) -> None:
    """The test suite checks every statement that it executes."""
    assert missing_words(statement) == missing


def test_a_redacted_meeting_leaves_no_words(engine: Engine) -> None:
    """Erasure and retention also empty the index, and only for their meetings."""
    write(engine, "hers", "Salary talks", 0)
    write(engine, "theirs", "Roadmap talks", 1)
    with engine.begin() as connection:
        assert redact_meetings(connection, ["hers"]) == 1
    kept = {row.id: (row.title_words, row.indexed_title) for row in rows(engine, CalendarMeeting)}
    assert kept["hers"] == (None, None)
    assert kept["theirs"][1] == "Roadmap talks"
    assert found(engine, "talks") == ["theirs-0"]


RETITLE = "UPDATE calendar_meetings SET title = 'Daily'"
OLD_WRITES = (
    """INSERT INTO calendar_meetings (id, start_time, end_time, state, title)
       SELECT 'new', start_time, end_time, state, 'Brand new' FROM calendar_meetings
       WHERE id = 'kept'""",
    "UPDATE calendar_meetings SET title = 'Retitled since' WHERE id = 'changed'",
    "UPDATE calendar_meetings SET title = NULL WHERE id = 'erased'",
)


def test_a_worker_indexes_what_an_old_release_writes(engine: Engine) -> None:
    """New, changed and erased titles, each within a minute."""
    for meeting in ("kept", "changed", "erased"):
        write(engine, meeting, f"Weekly {meeting}", 0)
    with engine.begin() as connection:
        for statement in OLD_WRITES:
            connection.execute(text(BY_AN_OLD_RELEASE + statement))
    now = [1000.0]
    worker = Backfill(engine, index_titles, clock=lambda: now[0])
    assert worker.fill_when_due() == 3
    kept = {row.id: row.title_words for row in rows(engine, CalendarMeeting)}
    assert kept["erased"] is None
    assert "retitled" in kept["changed"]
    assert "weekly" not in kept["changed"]
    assert found(engine, "weekly") == ["kept-0"]
    assert found(engine, "retitled since") == ["changed-0"]
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    now[0] += EVERY_SECONDS
    assert worker.fill_when_due() == 0


def test_a_worker_looks_for_unindexed_titles_once_a_minute(engine: Engine) -> None:
    """Not at every turn."""
    write(engine, "m", "Weekly", 0)
    now = [1000.0]
    worker = Backfill(engine, index_titles, clock=lambda: now[0])
    assert worker.fill_when_due() == 0
    with engine.begin() as connection:
        connection.execute(text(BY_AN_OLD_RELEASE + RETITLE))
    assert worker.fill_when_due() == 0
    now[0] += EVERY_SECONDS
    assert worker.fill_when_due() == 1


def test_looking_for_missing_words_uses_an_index(engine: Engine) -> None:
    """A partial index contains only the unindexed rows."""
    populate(engine, 3000)
    with engine.begin() as connection:
        asked = statements_of(connection, lambda: index_titles(connection, 500))
        explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        plan = connection.exec_driver_sql(explain + asked[0][0], asked[0][1]).all()
    assert "ix_calendar_meetings_title_unindexed" in str(plan)


# -- migration --------------------------------------------------


def test_the_migration_indexes_every_existing_title(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """After a downgrade, the previous release finds titles with its own index."""
    downgrade(engine)
    old_release_writes(engine, TITLES)
    migrate(make_settings())
    _are_indexed(engine)
    assert found(engine, "q3") == ["m04-0", "m02-0"]
    downgrade(engine)
    with engine.connect() as connection:
        asked = "SELECT count(*) FROM meeting_title_words WHERE word = 'sync'"
        if engine.dialect.name == "sqlite":
            asked = "SELECT count(*) FROM meeting_titles WHERE meeting_titles MATCH 'sync'"
        assert connection.scalar(text(asked)) == 4


def downgrade(engine: Engine) -> None:
    """Downgrade to the previous release."""
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0010")


def old_release_writes(engine: Engine, titles: tuple[str | None, ...]) -> None:
    """Write a meeting and a link for each title, as the previous release did."""
    for number, title in enumerate(titles):
        times = {"start": later(number).isoformat(" ", "microseconds")[:26], "id": f"m{number:02d}"}
        with engine.begin() as connection:
            connection.execute(text(BY_AN_OLD_RELEASE + MEETING), {**times, "title": title})
            connection.execute(text(LINK), times)
        add_bot(engine, f"m{number:02d}-0", status="done", link_state="linked")


MEETING = """INSERT INTO calendar_meetings (id, start_time, end_time, state, title)
    VALUES (:id, :start, :start, 'found', :title)"""
LINK = """INSERT INTO links (bot_id, meeting_id, seen_start, seen_end, linked_at, last_seen_at)
    VALUES (:id || '-0', :id, :start, :start, :start, :start)"""


def _are_indexed(engine: Engine) -> None:
    with engine.begin() as connection:
        assert index_titles(connection, 500) == 0
        whole = "SELECT id, title, title_words FROM calendar_meetings"
        kept = {row.id: row for row in connection.execute(text(whole))}
        for number, title in enumerate(TITLES):
            row = kept[f"m{number:02d}"]
            connection.execute(_first_title(title or ""))
            made = "SELECT title_words FROM calendar_meetings WHERE id = 'm00'"
            expected = None if title is None else connection.scalar(text(made))
            assert (row.title, row.title_words) == (title, expected)
        connection.rollback()


class OldWorker:
    """An old worker that writes a title between any two steps of the migration."""

    def __init__(self, url: str, cut_at: str | None = None) -> None:
        self._url = url
        self._cut_at = cut_at
        self.titles: list[str] = []

    def __call__(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        """Write a title if this step of the migration runs in its own transaction."""
        if self._cut_at and self._cut_at in statement:
            raise ConnectionError("cut off")
        driver: Any = connection.connection.driver_connection
        if driver.autocommit:
            title = f"Written meanwhile {len(self.titles)}"
            with psycopg.connect(self._url, options="-c lock_timeout=500ms") as worker:
                worker.execute("UPDATE calendar_meetings SET title = %s WHERE id = 'm00'", [title])
            self.titles.append(title)


def test_the_migration_does_not_block_old_workers(postgres: Engine) -> None:
    """No step holds a lock that they wait for. A worker indexes what they wrote meanwhile."""
    downgrade(postgres)
    old_release_writes(postgres, TITLES)
    old_worker = OldWorker(
        postgres.url.render_as_string(hide_password=False).replace("+psycopg", "")
    )
    _migrate_with(postgres, old_worker)
    # The steps: a batch is read and filled, two indexes are created, settings are set.
    assert len(old_worker.titles) >= 8
    with postgres.begin() as connection:
        assert index_titles(connection, 500) == 1
    assert found(postgres, old_worker.titles[-1]) == ["m00-0"]
    assert found(postgres, "roadmap sync") == ["m02-0", "m01-0"]


@pytest.mark.parametrize("step", ["title_unindexed ON", "DROP TRIGGER"])
def test_an_interrupted_migration_can_be_repeated(postgres: Engine, step: str) -> None:
    """Although a part of it is already committed."""
    downgrade(postgres)
    old_release_writes(postgres, TITLES)
    url = postgres.url.render_as_string(hide_password=False).replace("+psycopg", "")
    with pytest.raises(ConnectionError):
        _migrate_with(postgres, OldWorker(url, cut_at=step))
    migrate(Settings.read({"DATABASE_URL": url}))
    with postgres.begin() as connection:
        index_titles(connection, 500)
    assert found(postgres, "q3") == ["m04-0", "m02-0"]


def _migrate_with(engine: Engine, old_worker: OldWorker) -> None:
    config = alembic_config()
    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", old_worker)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def test_a_locked_row_does_not_block_the_indexing(postgres: Engine) -> None:
    """The row is skipped and indexed a minute later."""
    write(postgres, "m", "Weekly", 0)
    write(postgres, "busy", "Weekly", 0)
    with postgres.begin() as connection:
        connection.execute(text(BY_AN_OLD_RELEASE + RETITLE))
    busy = text("SELECT 1 FROM calendar_meetings WHERE id = 'busy' FOR UPDATE")
    with postgres.begin() as settle, postgres.begin() as connection:
        settle.execute(busy)
        assert index_titles(connection, 500) == 1
