"""Recall's answers, strange and mutated, to the real linker: every bot settled, nothing broken."""

import json
import logging
import math
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import OperationalError

from models.core.database_errors import is_bad_row
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting, CalendarUser
from models.tables.link import Link, LinkAttempt
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.http.wire import Request, Response
from tests.lab.recall import FakeRecall
from tests.lab.sender.receiver import Receiver
from tests.lab.world.shapes import Bot as FakeBot
from tests.support.fakes import MEETINGS, USERS
from tests.support.json_mutations import ODD_TEXTS, changed, changes, paths
from tests.support.rows import add_delivery, rows
from workers.db.transactions import in_transaction
from workers.linking.drain import Drain
from workers.recall_api.client import CALL_SECONDS, Recall
from workers.recall_api.errors import RecallError
from workers.recall_api.transport import (
    MAX_BODY_BYTES,
    BodyTooLargeError,
    HttpClient,
    make_ssl_context,
)
from workers.shutdown import Stop

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
OUR_PATHS = re.compile(rf"/api/v1/(bot/{UUID}/|calendar/authenticate/|calendar/meetings/{UUID}/)\Z")
PATHS = {"bot": "bot/{id}", "token": "calendar/authenticate", "meeting": "calendar/meetings/{id}"}

Ended = tuple[str, str | None, str | None]
Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Strange:
    """A row of the matrix: an answer, on which call, and how the bot (and its meeting) end."""

    row: int
    on: str
    fault: dict[str, Any] = field(hash=False)
    ended: Ended

    @property
    def name(self) -> str:
        """What a failure is told by."""
        return f"{self.row} {self.on} {self.fault}"[:110]


def on_bot(row: int, ended: Ended, **fault: Any) -> Strange:
    """The bot's own answer is strange."""
    return Strange(row, "bot", fault, ended)


def on_meeting(row: int, ended: Ended, **fault: Any) -> Strange:
    """The meeting's answer is."""
    return Strange(row, "meeting", fault, ended)


def on_token(row: int, variant: str) -> Strange:
    """The token that is answered cannot be one."""
    fault = {"act": "token", "variant": variant}
    return Strange(row, "token", fault, ("partial", "unreadable", "owed"))


def meetings(change: Change) -> dict[str, Any]:
    """A fault that changes a bot's calendar_meetings."""

    def transform(body: Any) -> Any:
        return body | {"calendar_meetings": change(body["calendar_meetings"])}

    return {"act": "transform", "transform": transform}


def first_item(**fields: Any) -> dict[str, Any]:
    """A fault that changes the first of a bot's calendar_meetings."""
    return meetings(lambda items: [items[0] | fields, *items[1:]])


def named(external_id: object) -> dict[str, Any]:
    """A fault that gives the bot's calendar user another external_id."""
    return first_item(calendar_user={"id": USERS[0], "external_id": external_id})


def without_meetings(body: Any) -> Any:
    """A body that has no calendar_meetings at all."""
    return {key: value for key, value in body.items() if key != "calendar_meetings"}


UNREADABLE: Ended = ("pending", "unreadable", None)
OWED: Ended = ("partial", "unreadable", "owed")
NO_MEETINGS: Ended = ("no_meetings", None, None)
LINKED: Ended = ("linked", None, "found")
NAMELESS: Ended = ("linked", None, "unfetchable")
GARBAGE = ("nan", "deep", "latin1")
STRANGE = (
    *[on_bot(61, UNREADABLE, act=act) for act in ("html", "empty")],
    *[on_bot(61, UNREADABLE, act="garbage", variant=variant) for variant in GARBAGE],
    *[on_meeting(61, OWED, act="garbage", variant=variant) for variant in GARBAGE],
    on_bot(62, ("pending", "http_204", None), status=204, body=""),
    *[on_bot(62, ("failed", f"http_{n}", None), status=n) for n in (400, 405, 418, 422)],
    on_meeting(62, ("linked", None, "unfetchable"), status=400),
    *[on_bot(63, ("failed", f"http_{n}", None), act="redirect", status=n) for n in (302, 308)],
    *[
        on_bot(63, ("failed", "http_302", None), act="redirect", location=location)
        for location in ("http://[", "//xn--", "A:0", "http://\x7f", "../../", "x" * 8000)
    ],
    on_meeting(63, ("linked", None, "unfetchable"), act="redirect", location="//xn--"),
    *[on_bot(64, ("pending", "network", None), act=act) for act in ("partial", "reset", "close")],
    on_meeting(64, ("partial", "network", "owed"), act="reset"),
    on_bot(66, ("failed", "too_large", None), act="endless"),
    on_meeting(66, ("linked", None, "unfetchable"), act="endless"),
    on_bot(67, UNREADABLE, act="gzip_bomb"),
    on_meeting(67, OWED, act="gzip_bomb"),
    on_bot(71, ("pending", "bot_not_found", None), status=404),
    on_meeting(71, ("linked", None, "gone"), status=404),
    *[on_bot(72, ("pending", f"http_{n}", None), status=n) for n in (409, 425, 500, 503, 507)],
    on_bot(74, UNREADABLE, act="garbage", variant="list"),
    on_bot(74, UNREADABLE, act="garbage", variant="null"),
    on_bot(75, ("failed", "wrong_body", None), act="other_bot"),
    on_meeting(75, ("linked", None, "unfetchable"), act="other_bot"),
    on_bot(76, NO_MEETINGS, **meetings(lambda _: None)),
    on_bot(76, NO_MEETINGS, **meetings(lambda _: [])),
    on_bot(76, NO_MEETINGS, act="transform", transform=without_meetings),
    on_bot(77, UNREADABLE, **meetings(lambda items: {"0": items[0]})),
    on_bot(79, LINKED, **meetings(lambda items: [*items, *items])),
    on_bot(80, NAMELESS, **named(None)),
    on_bot(80, NAMELESS, **first_item(calendar_user=None)),
    on_bot(81, NAMELESS, **named(17)),
    *[on_bot(82, NAMELESS, **named(odd)) for odd in ("a\x00b", "\ud800", "x" * 300)],
    *[
        on_bot(83, ("partial", "unusable_meeting", None), **first_item(id=odd))
        for odd in (7, "../../x", "..", None, MEETINGS[0] + "\n")
    ],
    *[on_token(84, variant) for variant in ("crlf", "non_ascii", "null", "number")],
    on_token(85, "empty"),
    on_token(86, "huge"),
    on_bot(87, LINKED, act="transform", transform=lambda body: body | {"new": {"x": [1]}}),
)


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A traceback means that something strange came further than it should."""
    with caplog.at_level(logging.ERROR):
        yield
    assert [record.getMessage() for record in caplog.records] == []


def a_bot(recall: FakeRecall) -> FakeBot:
    """A bot of one user's meeting."""
    return recall.build.bot([recall.build.meeting(recall.build.user())])


def drain(engine: Engine, make_context: MakeContext, *bots: FakeBot) -> None:
    """Let these bots' first webhooks come, and link what is due."""
    for bot in bots:
        add_delivery(engine, bot.id, "joining_call")
    Drain(make_context(), Stop()).run()


def endings(engine: Engine) -> dict[str, Ended]:
    """How each bot ended: its state, the first word of what is wrong, its meeting's state."""
    states = {row.id: row.state for row in rows(engine, CalendarMeeting)}
    of_bot = {link.bot_id: states[link.meeting_id] for link in rows(engine, Link)}
    return {
        bot.id: (
            bot.link_state,
            bot.last_error and bot.last_error.partition(":")[0],
            of_bot.get(bot.id),
        )
        for bot in rows(engine, Bot)
    }


def assert_only_our_urls_were_called(recall: FakeRecall) -> None:
    """Whatever ids came in answers: three shapes of URL, and only ids that are plain UUIDs."""
    odd = {call.path for call in recall.calls.all() if not OUR_PATHS.match(call.path)}
    assert odd == set()


def test_each_strange_answer_ends_as_the_design_says(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Side by side in one drain, with a good bot among them: nobody's trouble is another's."""
    expected: dict[str, tuple[str, Ended]] = {}
    good = a_bot(recall)
    for case in STRANGE:
        bot = a_bot(recall)
        ref = bot.calendar_meetings[0]
        match = {"bot": bot.id, "meeting": ref.id, "token": str(ref.external_id)}[case.on]
        recall.faults.add(Fault(path=PATHS[case.on], match=match, **case.fault))
        expected[bot.id] = (case.name, case.ended)
    bots = [good, *(recall.world.bots[bot_id] for bot_id in expected)]
    drain(engine, make_context, *bots)
    found = endings(engine)
    wrong = {
        name: (found[bot_id], ended)
        for bot_id, (name, ended) in expected.items()
        if found[bot_id] != ended
    }
    assert wrong == {}
    assert found[good.id] == LINKED
    assert_only_our_urls_were_called(recall)
    assert all(bot.crashes == 0 and bot.lease_token is None for bot in rows(engine, Bot))


def test_a_thousand_meetings_of_one_bot_are_linked(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """All of their ids are kept; only those with a user whom we may ask for cost a call."""
    bot = a_bot(recall)
    recall.faults.add(Fault(path=PATHS["bot"], match=bot.id, **meetings(_a_thousand)))
    drain(engine, make_context, bot)
    assert rows(engine, Bot)[0].link_state == "linked"
    assert len(rows(engine, Link)) == 1000
    assert len(recall.calls.all()) == 3


def _a_thousand(items: list[Any]) -> list[Any]:
    others = [
        items[0] | {"id": f"0e0e0e0e-1b1b-4c4c-8d8d-{n:012d}", "calendar_user": None}
        for n in range(999)
    ]
    return [*items, *others]


def test_text_that_no_index_holds_is_cut_until_it_does(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """An invitation's sender picks its UID: PostgreSQL's index takes 2,704 bytes of it."""
    # Characters of four bytes that do not compress.
    long = "".join(chr(0x1F300 + n * 37 % 700) for n in range(3000))
    person = {"email": f"{long}@example.com", "name": long, "status": long}
    odd = {
        "ical_uid": long,
        "title": long,
        "organizer_email": long,
        "attendees": [person],
        "attendee_emails": [long],
        "meeting_platform": long,
        "calendar_platform": long,
        "will_record_reason": long,
        "visibility": long,
    }
    bot, other = a_bot(recall), a_bot(recall)
    poisoned = bot.calendar_meetings[0].id
    recall.faults.add(
        Fault("transform", PATHS["meeting"], match=poisoned, transform=lambda body: body | odd)
    )
    drain(engine, make_context, bot, other)
    assert endings(engine) == {bot.id: LINKED, other.id: LINKED}
    (row,) = rows(engine, CalendarMeeting, id=poisoned)
    assert long.startswith(row.ical_uid)
    assert len(row.ical_uid) >= 500


def test_what_outgrows_an_index_is_the_rows_fault_and_waits_for_nobody(engine: Engine) -> None:
    """Psycopg calls it operational, as it does a database that is away: not to be waited for."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite's indexes take text of any length")
    long = "".join(chr(0x1F300 + n * 37 % 700) for n in range(3000))
    user = insert(CalendarUser).values(id=USERS[0], external_id=long)
    started = time.monotonic()
    with pytest.raises(OperationalError) as caught:
        in_transaction(engine, lambda connection: connection.execute(user))
    assert is_bad_row(caught.value)
    assert time.monotonic() - started < 5


def test_a_meeting_from_the_first_year_to_the_last_is_stored(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Absurd times are Recall's to tell: kept, and read back as they were."""
    times = {"start_time": "0001-01-01T00:00:00Z", "end_time": "9999-12-31T23:59:59.999999Z"}
    bot = a_bot(recall)
    recall.faults.add(Fault("transform", PATHS["meeting"], transform=lambda body: body | times))
    recall.faults.add(Fault(path=PATHS["bot"], match=bot.id, **first_item(**times)))
    drain(engine, make_context, bot)
    assert endings(engine) == {bot.id: LINKED}
    (link,) = rows(engine, Link)
    (meeting,) = rows(engine, CalendarMeeting)
    assert (link.seen_start, link.seen_end) == (meeting.start_time, meeting.end_time)
    assert (meeting.start_time.year, meeting.end_time.year) == (1, 9999)


def test_nul_and_surrogates_in_answers_survive_the_database(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """In every text of a bot and of a meeting: linked, and U+FFFD in their place."""
    odd = "a\x00b\ud800"
    bot = a_bot(recall)
    strings = {"title": odd, "ical_uid": odd, "organizer_email": odd, "meeting_platform": odd}
    of_meeting = strings | {"attendees": [{"email": odd, "name": odd}], "zoom_invite": {odd: odd}}
    of_bot = {"bot_name": odd, "metadata": {odd: odd}, "meeting_url": {"platform": odd}}
    for path, fields in (("meeting", of_meeting), ("bot", of_bot)):

        def spoil(body: Any, fields: dict[str, Any] = fields) -> Any:
            return body | fields

        recall.faults.add(Fault("transform", PATHS[path], transform=spoil))
    drain(engine, make_context, bot)
    assert endings(engine) == {bot.id: LINKED}
    with engine.connect() as connection:
        view = connection.execute(text("SELECT meeting_title, ical_uid FROM bot_links")).one()
    assert tuple(view) == ("a\ufffdb\ufffd", "a\ufffdb\ufffd")
    assert rows(engine, Bot)[0].metadata == {"a\ufffdb\ufffd": "a\ufffdb\ufffd"}


# -- mutations -------------------------------------------------------------------


def sample(on: str) -> Any:
    """A documented answer of each call, by its shape alone: the ids in it are another's."""
    with FakeRecall(limits=False) as recall, httpx.Client(base_url=recall.url) as client:
        bot = a_bot(recall)
        key = {"authorization": f"Token {recall.api_key}"}
        ref = bot.calendar_meetings[0]
        asked = {"user_id": ref.external_id}
        token = client.post("/api/v1/calendar/authenticate/", headers=key, json=asked).json()
        if on == "token":
            return token
        if on == "bot":
            return client.get(f"/api/v1/bot/{bot.id}/", headers=key).json()
        as_user = {"x-recallcalendarauthtoken": token["token"]}
        return client.get(f"/api/v1/calendar/meetings/{ref.id}/", headers=as_user).json()


Mutation = tuple[str, list[Any]]


def mutations() -> st.SearchStrategy[Mutation]:
    """One to three changes to one of the three answers."""
    places = {on: paths(sample(on)) for on in PATHS}
    return st.sampled_from(["bot", "bot", "meeting", "meeting", "token"]).flatmap(
        lambda on: st.tuples(st.just(on), st.lists(changes(places[on]), min_size=1, max_size=3))
    )


def mutate(recall: FakeRecall, bot: FakeBot, mutation: Mutation) -> None:
    """Let one of the calls for this bot be answered so."""
    on, made = mutation

    def transform(body: Any) -> Any:
        for change in made:
            body = changed(body, change)
        return body

    ref = bot.calendar_meetings[0]
    match = {"bot": bot.id, "meeting": ref.id, "token": str(ref.external_id)}[on]
    recall.faults.add(Fault("transform", PATHS[on], match=match, transform=transform))


@pytest.mark.hypothesis
def test_no_mutated_answer_breaks_a_thread_a_drain_or_a_row(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """Bots, tokens and meetings changed anywhere: each is settled, with words, and none crashed."""
    known = {"pending", "linked", "no_meetings", "partial", "failed"}

    @settings(
        max_examples=5,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(mutations(), min_size=20, max_size=20))
    def each(batch: list[Mutation]) -> None:
        recall.faults.clear()
        bots = [a_bot(recall) for _ in batch]
        for bot, mutation in zip(bots, batch, strict=True):
            mutate(recall, bot, mutation)
        drain(engine, make_context, *bots)
        found = {row.id: row for row in rows(engine, Bot)}
        for bot in bots:
            row = found[bot.id]
            assert row.settled_at is not None
            assert (row.crashes, row.lease_token) == (0, None)
            assert row.link_state in known
            assert row.last_error or row.link_state in ("linked", "no_meetings")
            assert not (row.last_error or "").startswith("internal")

    each()
    assert_only_our_urls_were_called(recall)
    assert len({row.outcome for row in rows(engine, LinkAttempt)}) > 1
    # What was kept can be read back, on either database.
    assert all(row.id for row in rows(engine, CalendarUser))
    assert all(row.start_time for row in rows(engine, CalendarMeeting))


# -- the wire --------------------------------------------------------------------


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """A server that says these bytes to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    line.settimeout(5)
                    try:
                        line.recv(65536)
                        line.sendall(raw)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


HEADS = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: ",
    b"HTTP/1.1 200 OK\r\nContent-Length: ",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: ",
    b"HTTP/1.1 429 Slow\r\nRetry-After: ",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 ",
    b"HTTP/1.1 99999 Odd\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    start=st.sampled_from(HEADS) | st.binary(max_size=20),
    rest=st.binary(max_size=60),
    end=st.sampled_from([b"\r\n\r\n{}", b"\r\n", b""]),
)
def test_no_answer_makes_the_wire_raise_anything_foreign(
    start: bytes, rest: bytes, end: bytes
) -> None:
    """An answer, a transport error or a body too large: nothing else ever reaches the linker."""
    wire = HttpClient(_CONTEXT)
    with answering(start + rest + end) as url:
        try:
            answer = wire.call("GET", f"{url}/x", {}, seconds=5)
        except (httpx.TransportError, BodyTooLargeError):
            return
        finally:
            wire.close()
    assert len(answer.body) <= MAX_BODY_BYTES


_CONTEXT = make_ssl_context()


@pytest.fixture
def wire() -> Iterator[HttpClient]:
    """A connection."""
    wire = HttpClient(_CONTEXT)
    yield wire
    wire.close()


@pytest.mark.parametrize("act", ["endless", "gzip_bomb"])
def test_an_answer_is_read_to_2_mib_in_as_much_memory(wire: HttpClient, act: Any) -> None:
    """Neither an endless body nor a packed one takes more than what is read of it."""
    with FakeRecall(limits=False) as recall:
        bot = a_bot(recall)
        recall.faults.add(Fault(act))
        # The bomb is made in this process: once before, so that it is not measured.
        with pytest.raises(RecallError):
            a_client(recall, wire).bot(bot.id)
        tracemalloc.start()
        with pytest.raises(RecallError):
            a_client(recall, wire).bot(bot.id)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


def a_client(recall: FakeRecall, wire: HttpClient) -> Recall:
    """A client with a minute left."""
    return Recall(wire, recall.url, recall.api_key, until=math.inf)


def test_a_call_takes_15_seconds_in_all_and_an_answer_2_mib() -> None:
    """The numbers that the design promises; what they do is tested beside the client."""
    assert (CALL_SECONDS, MAX_BODY_BYTES) == (15.0, 2 * 1024 * 1024)


def test_a_cookie_is_not_carried_to_the_next_call(wire: HttpClient) -> None:
    """One thread's calls are many calendar users': what one is told is not told for another."""

    def react(_request: Request) -> Response:
        return Response(200, b"{}", headers=[("Set-Cookie", "session=mara; Path=/")])

    with Receiver(react) as receiver:
        for _ in range(2):
            assert wire.call("GET", f"{receiver.url}/x", {}, seconds=5).status == 200
        assert [request.headers.get("cookie") for request in receiver.requests] == [None, None]


# A lone surrogate is no text that could be sent, and no external_id or UUID holds one.
@pytest.mark.parametrize(
    "odd", [odd for odd in ODD_TEXTS[:-1] if not re.search("[\ud800-\udfff]", odd)]
)
def test_an_id_from_outside_is_one_folder_of_the_path(wire: HttpClient, odd: str) -> None:
    """On the wire itself: whatever the id, the request is for it, and for nothing above it."""
    with Receiver(lambda _: Response(404, b"{}")) as receiver:
        recall = Recall(wire, receiver.url, "key", until=math.inf)
        for call in (lambda: recall.bot(odd), lambda: recall.meeting(odd, "token")):
            with pytest.raises(RecallError):
                call()
        targets = [request.target for request in receiver.requests]
    escaped = r"(?:[A-Za-z0-9_~-]|%[0-9A-F]{2})*"
    for target, folder in zip(targets, ("bot", "calendar/meetings"), strict=False):
        assert re.fullmatch(rf"/api/v1/{folder}/{escaped}/", target), target


def test_a_refused_redirect_tells_nobody_anything(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """From each of the three calls: the other host hears nothing, neither key nor token."""
    with Receiver() as elsewhere:
        for path in PATHS.values():
            recall.faults.clear()
            recall.faults.add(Fault("redirect", path, location=f"{elsewhere.url}/taken"))
            drain(engine, make_context, a_bot(recall))
        assert elsewhere.requests == []
    assert {json.dumps(row.calls).count("http_302") for row in rows(engine, LinkAttempt)} == {1}


def test_the_bodies_of_fakes_and_faults_are_of_the_right_shape() -> None:
    """Else the mutations would change nothing that is read."""
    assert {"calendar_meetings", "meeting_url", "id"} <= set(sample("bot"))
    assert {"title", "attendees", "ical_uid"} <= set(sample("meeting"))
    assert set(sample("token")) == {"token"}
