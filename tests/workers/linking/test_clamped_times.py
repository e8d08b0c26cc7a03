"""Times that no calendar of ours has: the link is kept, the time is clamped, and that is said."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from models.core.sanitize import EARLIEST, LATEST, is_clamped, utc_time
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from tests.conftest import MakeContext
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.support.cli import link, teller, told
from tests.support.fakes import BOT, bot_body, meeting_item
from tests.support.rows import rows
from webhook.receiver.events import classify
from workers.recall_api.bot_list import read_bot_page
from workers.recall_api.schemas import read_bot

LATE = [
    "9999-12-31T23:59:59-08:00",
    "9999-12-31T23:59:59.999999-23:59",
    "9999-12-31T23:00:00-01:01",
]
EARLY = [
    "0001-01-01T00:00:00+08:00",
    "0001-01-01T23:00:00+23:59",
    "0001-01-01T00:00:00.000001+00:01",
]


@pytest.mark.parametrize("text", [*LATE, *EARLY])
def test_a_time_out_of_the_calendar_is_clamped_and_known_to_be(text: str) -> None:
    """To its first or last moment."""
    assert utc_time(text) == (LATEST if text in LATE else EARLIEST)
    assert is_clamped(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T10:00:00+08:00",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59+14:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01",
        "0001-01-01T00:00:00-12:00",
    ],
)
def test_a_time_of_the_calendar_is_taken_as_it_is(text: str) -> None:
    """Nothing is said of it."""
    moment = datetime.fromisoformat(text)
    assert utc_time(text) == (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    assert not is_clamped(text)


@pytest.mark.parametrize("nonsense", [None, 7, "soon", "", "9999-13-01", "99999-01-01"])
def test_nonsense_is_no_time_and_not_clamped(nonsense: object) -> None:
    """A number of seconds is none either: no field of Recall's has one."""
    assert utc_time(nonsense) is None
    assert not is_clamped(nonsense)


@pytest.mark.parametrize("early", EARLY)
@pytest.mark.parametrize("late", LATE)
def test_a_bots_meeting_is_kept_whatever_its_times(early: str, late: str) -> None:
    """It was lost, and its bot was partial for ever."""
    item = {**meeting_item(0), "start_time": early, "end_time": late}
    (ref,) = read_bot(bot_body(item), BOT).meetings
    assert (ref.start_time, ref.end_time) == (EARLIEST, LATEST)
    assert ref.clamped == {"start_time": early, "end_time": late}


@pytest.mark.parametrize("late", LATE)
def test_a_status_of_the_year_9999_is_ahead_of_time_in_every_spelling(late: str) -> None:
    """Clamped it is still to come: it must not freeze a bot's status."""
    now = datetime.now(UTC)
    status = f'{{"code": "done", "created_at": "{late}", "sub_code": null, "message": null}}'
    body = f'{{"event": "bot.status_change", "data": {{"bot_id": "{BOT}", "status": {status}}}}}'
    assert classify(body.encode(), now).reason == "time_ahead"
    page = f'{{"results": [{{"id": "{BOT}", "status_changes": [{status}]}}], "next": null}}'
    (bot,) = read_bot_page(page.encode(), "https://recall.example", now).bots
    assert bot.statuses == ()


@pytest.mark.parametrize("where", ["bot/{id}", "calendar/meetings/{id}", "both"])
def test_the_link_is_kept_and_the_clamped_time_is_marked(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, where: str, database_url: str
) -> None:
    """In `calendar_meetings.details`, as Recall wrote it; every list shows the link."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user("ines"))])
    times = {"start_time": EARLY[0], "end_time": LATE[0]}

    def stretch(body: Any) -> Any:
        for item in body.get("calendar_meetings", [body]):
            item.update(times)
        return body

    for path in ("bot/{id}", "calendar/meetings/{id}"):
        if where in (path, "both"):
            recall.faults.add(Fault(act="transform", path=path, transform=stretch))
    # Twice, since what was clamped must be what it was at the next look.
    link(engine, make_context(), bot.id)
    link(engine, make_context(), bot.id, code="done")
    (kept,), (meeting,) = rows(engine, Link), rows(engine, CalendarMeeting)
    assert [row.link_state for row in rows(engine, Bot)] == ["linked"]
    if where != "calendar/meetings/{id}":
        assert (kept.seen_start, kept.seen_end) == (EARLIEST, LATEST)
    if where != "bot/{id}":
        assert (meeting.start_time, meeting.end_time) == (EARLIEST, LATEST)
        assert meeting.details["clamped"] == times
    (shown,) = told(teller(database_url, recall)("links", "--json"))["items"]
    assert shown["meeting_id"] == kept.meeting_id


def test_a_meeting_that_cannot_be_fetched_is_marked_as_well(
    engine: Engine, recall: FakeRecall, make_context: MakeContext
) -> None:
    """There the bot's own word of the time is all that there is."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user("ines"))])
    recall.faults.add(Fault(path="calendar/meetings/{id}", status=404))

    def stretch(body: Any) -> Any:
        body["calendar_meetings"][0]["end_time"] = LATE[0]
        return body

    recall.faults.add(Fault(act="transform", path="bot/{id}", transform=stretch))
    link(engine, make_context(), bot.id)
    (row,) = rows(engine, CalendarMeeting)
    assert (row.state, row.end_time) == ("gone", LATEST)
    assert row.details == {"clamped": {"end_time": LATE[0]}}
    assert rows(engine, BotStatus)
