"""Links by words of titles: what a plain look finds, page by page, and never by reading all."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, insert, text, update

from models import queries
from models.calendar import CalendarMeeting
from models.database import make_engine
from models.filters import LinkFilter
from models.link import Link
from models.queries import Listing, links
from models.rows import LinkRow
from models.settings import Settings
from models.titles import read_words
from tests.asked import statements_of
from tests.conftest import alembic_config, migrate, new_database
from tests.population import populate
from tests.rows import add_bot, later
from workers.scrub import scrub_meetings

TITLES = (
    "Roadmap sync",
    "roadmap SYNC, weekly",
    "Sync: Q3/Q4 roadmap (draft)",
    "re-sync foo-bar baz",
    "https://example.com/a/b?x=1 call",
    "Mail ada@example.com",
    "Größe prüfen ÄÖÜ İstanbul",
    "1.5 -3 4e5 v2.0.1",
    "it's o'clock",
    "a_b c <b>bold</b> &amp; more",
    "日本語 会議",
    "🚀 launch",
    "!!!",
    "",
    None,
    "x" * 900 + " long",
    "日" * 600 + " long",
    # A lexeme of more than 2,046 bytes is none: it is found by the other words alone.
    "日" * 900 + " long",
    "roadmap roadmap Roadmap",
    " ".join(f"word{n}" for n in range(140)),
)
ASKED = (
    "sync roadmap", "SYNC sync Sync", "zebra", "sync zebra", "!!!", '"', "-", "' OR 1=1 --",
    "NOT sync", "sync | weekly", "sync:*", "long", "foo bar", "foo-bar", "b more", "example.com",
    "ada@example.com", "/a/b", "3", "-3", "4e5", "istanbul", "größe", "会議", "日" * 200,
    " ".join(f"word{n}" for n in range(25)),
)  # fmt: skip
KEPT = "SELECT word, start_time, meeting_id, marks FROM meeting_title_words ORDER BY 1, 2, 3"
DUE = """SELECT word, start_time, id, meeting_title_marks(meeting_title_lexemes(title))
    FROM calendar_meetings, unnest(meeting_title_lexemes(title)) AS word ORDER BY 1, 2, 3"""


@pytest.fixture(scope="module")
def shared(postgres_url: str, postgres_template: str) -> Iterator[Engine]:
    """A PostgreSQL with a link to a meeting of each title, for tests that change nothing."""
    with new_database(postgres_url, postgres_template) as url:
        engine = make_engine(Settings.read({"DATABASE_URL": url}), "write")
        for number, title in enumerate(TITLES):
            write(engine, f"m{number:02d}", title, 60 * number)
        yield engine
        engine.dispose()


@pytest.fixture
def postgres(postgres_url: str, postgres_template: str) -> Iterator[Engine]:
    """An empty PostgreSQL of one test's own."""
    with new_database(postgres_url, postgres_template) as url:
        engine = make_engine(Settings.read({"DATABASE_URL": url}), "write", pool_size=2)
        yield engine
        engine.dispose()


def write(engine: Engine, meeting: str, title: str | None, seconds: float, bots: int = 1) -> None:
    """Write a meeting, and links to it of bots of its own."""
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
    """The list of links that hold the words."""
    return links(LinkFilter(title=words, **others), engine.dialect.name)


def found(engine: Engine, words: str, **others: Any) -> list[str]:
    """The bots that it lists."""
    with engine.connect() as connection:
        return [row.bot_id for row in by_title(engine, words, **others).all(connection, 500)]


# -- what is found -------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [*ASKED, *(title[:200] for title in TITLES if title)], ids=lambda words: words[:20]
)
def test_what_is_found_is_what_a_plain_look_finds(shared: Engine, words: str) -> None:
    """In any case, with whatever is no letter, words twice and words that are none."""
    plain = """SELECT id FROM calendar_meetings WHERE
        to_tsvector('simple', coalesce(title, '')) @@ plainto_tsquery('simple', :words)"""
    with shared.connect() as connection:
        expected = set(connection.scalars(text(plain), {"words": words.strip()}))
        listing = by_title(shared, words)
        rows = listing.page(connection, 100).rows
        assert {row.meeting_id for row in rows} == expected
        assert listing.count(connection, 100) == len(expected)


@given(
    title=st.text(st.sampled_from("abÄ1-./@_'&<> ,:日!"), max_size=30),
    asked=st.text(st.sampled_from("abÄ1-./@_'&<> ,:日!"), max_size=10),
)
def test_a_title_holds_what_is_asked_by_one_meaning_of_words(
    shared: Engine, title: str, asked: str
) -> None:
    """The table's words are PostgreSQL's own, and marks never miss one."""
    both = text("""SELECT to_tsvector('simple', :title) @@ plainto_tsquery('simple', :asked),
        meeting_title_lexemes(:title), meeting_title_lexemes(:asked),
        meeting_title_marks(meeting_title_lexemes(:title)),
        meeting_title_marks(meeting_title_lexemes(:asked))""")
    with shared.connect() as connection:
        row = connection.execute(both, {"title": title, "asked": asked}).one()
    is_found, held, words, marks_held, marks = row
    assert is_found == (bool(words) and set(words) <= set(held))
    assert not is_found or marks_held & marks == marks


def test_the_latest_meeting_comes_first(engine: Engine) -> None:
    """On both databases, whenever its link was made."""
    for number, seconds in enumerate((50, 10, 90, 30)):
        write(engine, f"m{number}", f"Weekly {number}", seconds)
    assert found(engine, "weekly") == ["m2-0", "m0-0", "m3-0", "m1-0"]
    assert found(engine, "weekly", meeting_id=None, status="done")[0] == "m2-0"


@pytest.mark.parametrize("most", [0, 10_000], ids=["walked", "looked at"])
@pytest.mark.parametrize("words", ["weekly", "weekly crew"])
def test_pages_of_any_size_hold_every_link_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, words: str, most: int
) -> None:
    """Meetings at one time, and bots at one meeting, are never torn apart wrongly."""
    monkeypatch.setattr(queries, "MOST_LOOKED_AT", most)
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


@pytest.mark.parametrize("most", [0, 10_000], ids=["walked", "looked at"])
@pytest.mark.parametrize("words", ["sync", "sync roadmap", "7 sync"])
def test_words_go_with_every_other_filter(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, words: str, most: int
) -> None:
    """What is found is what both find: nothing is lost by the shorter way."""
    populate(engine, 600, users=5)
    monkeypatch.setattr(queries, "MOST_LOOKED_AT", most)
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


# -- how it is found -----------------------------------------------------------


def test_a_page_reads_what_it_shows_however_common_the_words_are(postgres: Engine) -> None:
    """Also by words of which the planner knows nothing, and behind a first page."""
    _write_many(postgres)
    with postgres.connect() as connection:
        for words, most in (("weekly", 150), ("weekly crew", 150), ("crew 42 weekly", 10)):
            listing = by_title(postgres, words)
            first = listing.page(connection, 5)
            for after in (None, first.next):
                asked = statements_of(connection, partial(listing.page, connection, 5, after))
                assert max(_rows_read(connection, *asked[-1])) <= most, (words, after)


def test_the_rarest_word_leads(postgres: Engine) -> None:
    """By how far back its newest titles reach, where there are many of each."""
    _write_many(postgres)
    with postgres.connect() as connection:
        assert read_words(connection, "Weekly CREW").rarest == "crew"
        assert read_words(connection, "crew weekly board").rarest == "board"
        assert read_words(connection, "weekly 42 crew").rarest == "42"
        assert read_words(connection, "weekly zebra").rarest == "zebra"
        assert read_words(connection, "?!").rarest is None


def test_two_words_that_never_meet_cost_one_look_along_the_rarer(postgres: Engine) -> None:
    """The other word's rows are not even probed, but for a few whose marks are alike."""
    _write_many(postgres)
    with postgres.connect() as connection:
        listing = by_title(postgres, "crew board")
        asked = statements_of(connection, lambda: listing.page(connection, 5))
        assert listing.page(connection, 5).rows == []
        assert sum(_rows_read(connection, *asked[-1])) == 0


def test_a_common_word_is_not_walked_for_the_sake_of_a_rare_state(postgres: Engine) -> None:
    """The bots of that state are looked at instead."""
    _write_many(postgres)
    with postgres.begin() as connection:
        few = text("UPDATE bots SET link_state = 'partial' WHERE id IN ('b7', 'b9', 'b11')")
        connection.execute(few)
        connection.execute(text("ANALYZE"))
    with postgres.connect() as connection:
        listing = by_title(postgres, "weekly crew", link_state="partial")
        asked = statements_of(connection, lambda: listing.page(connection, 5))
        assert [row.bot_id for row in listing.page(connection, 5).rows] == ["b11", "b9", "b7"]
        assert max(_rows_read(connection, *asked[-1])) <= 10


def _write_many(engine: Engine) -> None:
    # 4,000 weekly meetings: of the crew's three in four, of the board's one.
    statements = """
        INSERT INTO bots (id, status, status_at, first_seen_at)
        SELECT 'b' || n, 'done', now(), now() FROM generate_series(1, 4000) AS n;
        INSERT INTO calendar_meetings (id, start_time, end_time, state, title)
        SELECT 'm' || n, now() + n * interval '1 s', now() + n * interval '2 s', 'found',
            CASE n % 4 WHEN 0 THEN 'Board weekly ' ELSE 'Crew weekly ' END || n
        FROM generate_series(1, 4000) AS n;
        INSERT INTO links (bot_id, meeting_id, seen_start, seen_end, linked_at, last_seen_at)
        SELECT 'b' || n, 'm' || n, now(), now(), now(), now() FROM generate_series(1, 4000) AS n"""
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


# -- how the table is kept -----------------------------------------------------


def _is_kept(connection: Connection) -> bool:
    kept, due = connection.execute(text(KEPT)).all(), connection.execute(text(DUE)).all()
    return kept == due


def test_the_table_follows_every_change(postgres: Engine) -> None:
    """Of title, of time, of id; a title that comes, goes, and comes back; a row that goes."""
    for number in range(3):
        write(postgres, f"m{number}", f"Weekly {number}", number)
    first = CalendarMeeting.id == "m0"
    change = update(CalendarMeeting)
    for statement in (
        change.values(title="Weekly of the crew, the crew"),
        change.where(first).values(title="Sync", start_time=later(900)),
        change.where(first).values(start_time=later(1)),
        change.where(first).values(title=None),
        change.where(first).values(start_time=later(2)),
        change.where(first).values(title="日" * 900 + " " + "日" * 600),
        change.where(first).values(id="m9"),
        delete(CalendarMeeting).where(CalendarMeeting.id == "m1"),
        delete(CalendarMeeting),
    ):
        with postgres.begin() as connection:
            connection.execute(statement)
            assert _is_kept(connection)
            left = connection.execute(text(KEPT)).all()
    assert left == []


def test_the_same_title_again_writes_nothing(postgres: Engine) -> None:
    """Workers write every meeting again at a bot's last look."""
    write(postgres, "m", "Weekly", 0)
    where = text("SELECT ctid, xmin FROM meeting_title_words")
    again = update(CalendarMeeting).values(title="Weekly", start_time=later(0), state="gone")
    with postgres.connect() as connection:
        before = connection.execute(where).all()
    with postgres.begin() as connection:
        connection.execute(again)
    with postgres.connect() as connection:
        assert connection.execute(where).all() == before


def test_a_scrubbed_meeting_leaves_no_word(postgres: Engine) -> None:
    """What erasing and retention empty is emptied here as well, and nobody else's."""
    write(postgres, "hers", "Salary talks", 0)
    write(postgres, "theirs", "Roadmap talks", 1)
    with postgres.begin() as connection:
        assert scrub_meetings(connection, ["hers"]) == 1
        left = connection.execute(text(KEPT)).all()
    assert [(row.word, row.meeting_id) for row in left] == [
        ("roadmap", "theirs"),
        ("talks", "theirs"),
    ]


def test_a_release_fills_the_table_from_what_is_there(postgres: Engine) -> None:
    """And one step back, the old look serves again."""
    url = postgres.url.render_as_string(hide_password=False)
    config = alembic_config()
    with postgres.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
    for number, title in enumerate(TITLES):
        write(postgres, f"m{number:02d}", title, number)
    with postgres.connect() as connection:
        index = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE '%title_words'"
        assert connection.scalar(text(index)) == 1
    migrate(Settings.read({"DATABASE_URL": url}))
    with postgres.connect() as connection:
        assert _is_kept(connection)
        assert len(connection.execute(text(KEPT)).all()) > 150
