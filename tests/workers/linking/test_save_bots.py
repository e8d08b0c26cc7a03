"""Settling: what is written, by whom it may be, and what stays when Recall forgets."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from models.tables.base import db_now
from models.tables.calendar import CalendarMeeting, CalendarUser, MeetingPerson
from models.tables.link import Link, LinkAttempt
from tests.support.fakes import BOT, MEETINGS, START, USERS, ref
from tests.support.rows import add_bot, bot_row, count, rows, set_bot
from workers.linking.leases import claim
from workers.linking.outcome import LinkOutcome, outcome_of
from workers.linking.save_bots import save_one_by_one, save_outcomes
from workers.linking.types import Claim, LinkResult, MeetingResult
from workers.recall_api.client import Call
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.schemas import BotBody, MeetingBody, MeetingRef


def take(engine: Engine) -> Claim:
    """Claim the one bot that is due."""
    with engine.begin() as connection:
        (claimed,) = claim(connection, 5, 20)
    return claimed


def body(*refs: MeetingRef, **fields: Any) -> BotBody:
    """A bot's body with these meetings."""
    given: dict[str, Any] = {"meeting_url": None, "meeting_platform": None, "bot_name": None}
    return BotBody(refs, 0, **given | {"metadata": None} | fields)


def meeting_body(title: str | None = "Weekly", **fields: Any) -> MeetingBody:
    """A meeting's details."""
    given: dict[str, Any] = dict.fromkeys(MeetingBody.__slots__) | {
        "attendees": (),
        "people": frozenset(),
    }
    return MeetingBody(**given | {"title": title, "details": {"platform": "zoom"}} | fields)


def found(number: int, **fields: Any) -> MeetingResult:
    """A meeting that was found."""
    return MeetingResult(ref(number), "found", body=meeting_body(**fields), fetched_at=START)


def owed(number: int) -> MeetingResult:
    """A meeting that is still owed."""
    error = RecallError(Fault.SERVER, Endpoint.MEETING, status=503)
    return MeetingResult(ref(number), "owed", error.reason, error=error)


def outcome_for(claimed: Claim, **fields: Any) -> LinkOutcome:
    """Judge a result of this claim; chance is the shortest wait."""
    call = Call("GET", "bot/{id}", None, 200, 12, None)
    given: dict[str, Any] = {
        "started_at": START,
        "finished_at": START + timedelta(seconds=1),
        "calls": (call,),
    }
    return outcome_of(LinkResult(claim=claimed, **given | fields), lambda _low, high: high)


def save_now(engine: Engine, *outcomes: LinkOutcome) -> int:
    """Save in a transaction; returns how many held."""
    with engine.begin() as connection:
        return len(save_outcomes(connection, outcomes))


def owe_again(engine: Engine, **fields: Any) -> Claim:
    """Give the bot a new reason, and claim it."""
    seq = bot_row(engine, BOT).due_seq + 1
    set_bot(engine, BOT, due_seq=seq, due_at=db_now(-1), owed_since=db_now(), **fields)
    return take(engine)


def test_a_linked_bot_is_written_whole(engine: Engine) -> None:
    """Bot, user, meeting, people, link and attempt."""
    add_bot(engine, BOT)
    people = frozenset({"mara@example.com", "tom@example.org"})
    attendees = ({"name": None, "email": "Tom@Example.org"},)
    about = {"bot_name": "Scribe", "meeting_platform": "zoom", "metadata": {"team": "north"}}
    result = found(0, people=people, attendees=attendees, organizer_email="mara@example.com")
    save_now(engine, outcome_for(take(engine), bot=body(ref(0), **about), fetched=(result,)))
    bot = bot_row(engine, BOT)
    assert (bot.link_state, bot.due_at, bot.last_error) == ("linked", None, None)
    assert (bot.crashes, bot.lease_token, bot.lease_until) == (0, None, None)
    assert (bot.bot_name, bot.meeting_platform, bot.metadata) == (
        "Scribe",
        "zoom",
        {"team": "north"},
    )
    assert None not in (bot.settled_at, bot.fetched_at)
    (link,) = rows(engine, Link)
    assert (link.bot_id, link.meeting_id, link.external_id) == (BOT, MEETINGS[0], "crew-0")
    assert (link.seen_start, link.ended_at) == (START, None)
    (meeting,) = rows(engine, CalendarMeeting)
    assert (meeting.state, meeting.title, meeting.reason) == ("found", "Weekly", None)
    assert meeting.attendees == list(attendees)
    assert meeting.details == {"platform": "zoom"}
    assert [row.external_id for row in rows(engine, CalendarUser)] == ["crew-0"]
    assert {row.email for row in rows(engine, MeetingPerson)} == people
    (attempt,) = rows(engine, LinkAttempt)
    assert (attempt.bot_id, attempt.outcome, attempt.error) == (BOT, "linked", None)
    assert attempt.calls[0]["path"] == "bot/{id}"
    assert attempt.calls[0]["status"] == 200


def test_a_lost_lease_writes_nothing(engine: Engine) -> None:
    """A worker that was frozen past its lease finds another's result, and leaves it."""
    add_bot(engine, BOT)
    frozen = take(engine)
    set_bot(engine, BOT, lease_until=db_now(-1))
    other = take(engine)
    assert save_now(engine, outcome_for(other, bot=body(ref(0)), fetched=(found(0),))) == 1
    late = outcome_for(frozen, bot=body(ref(1)), fetched=(found(1),))
    assert save_now(engine, late) == 0
    assert [link.meeting_id for link in rows(engine, Link)] == [MEETINGS[0]]
    assert count(engine, LinkAttempt) == 1


def test_one_of_many_that_lost_its_lease_is_left_out(engine: Engine) -> None:
    """The others of its batch are settled."""
    other = "00000000-0000-4000-8000-000000000001"
    add_bot(engine, BOT)
    lost = take(engine)
    set_bot(engine, BOT, lease_token="another")
    add_bot(engine, other)
    kept = take(engine)
    outcomes = [outcome_for(lost, bot=body()), outcome_for(kept, bot=body())]
    assert save_now(engine, *outcomes) == 1
    assert bot_row(engine, other).link_state == "no_meetings"
    assert bot_row(engine, BOT).link_state == "pending"


def test_of_two_results_of_one_bot_only_the_holders_is_written(engine: Engine) -> None:
    """Its own drain claims it again when no renewal came through in time; both settle together."""
    add_bot(engine, BOT)
    lost = take(engine)
    set_bot(engine, BOT, lease_until=db_now(-1))
    holding = take(engine)
    both = [outcome_for(lost, bot=body()), outcome_for(holding, bot=body())]
    assert save_now(engine, *both) == 1
    assert count(engine, LinkAttempt) == 1


def test_an_event_that_landed_in_mid_link_is_not_lost(engine: Engine) -> None:
    """Its debt stands, due at once, and the bot's body is to be fetched again."""
    add_bot(engine, BOT)
    claimed = take(engine)
    set_bot(engine, BOT, due_seq=2, due_at=db_now(-1), owed_since=db_now(), attempts=0)
    save_now(engine, outcome_for(claimed, bot=body(ref(0)), fetched=(owed(0),)))
    bot = bot_row(engine, BOT)
    assert (bot.link_state, bot.attempts, bot.due_seq) == ("partial", 0, 2)
    assert bot.due_at is not None
    assert not take(engine).is_fetched


def test_giving_up_does_not_bury_a_reason_that_landed_meanwhile(engine: Engine) -> None:
    """The bot stays pending for the new one."""
    add_bot(engine, BOT)
    claimed = take(engine)
    set_bot(engine, BOT, due_seq=2)
    failure = RecallError(Fault.REFUSED, Endpoint.BOT, status=400)
    save_now(engine, outcome_for(claimed, failure=failure))
    assert bot_row(engine, BOT).link_state == "pending"


def test_a_failed_try_is_due_again_with_its_words(engine: Engine) -> None:
    """And counts an attempt; the state stays as it was."""
    add_bot(engine, BOT)
    failure = RecallError(Fault.SERVER, Endpoint.BOT, status=503, detail="down\x00")
    save_now(engine, outcome_for(take(engine), failure=failure))
    bot = bot_row(engine, BOT)
    assert (bot.link_state, bot.attempts, bot.fetched_at) == ("pending", 1, None)
    assert bot.last_error == "http_503: bot/{id}: down\ufffd"
    with engine.begin() as connection:
        assert claim(connection, 1, 20) == []


def test_partial_success_is_stored_and_the_rest_stays_owed(engine: Engine) -> None:
    """The retry is for the owed meeting alone."""
    add_bot(engine, BOT)
    outcome = outcome_for(take(engine), bot=body(ref(0), ref(1)), fetched=(found(0), owed(1)))
    save_now(engine, outcome)
    assert bot_row(engine, BOT).link_state == "partial"
    assert {row.id: row.state for row in rows(engine, CalendarMeeting)} == {
        MEETINGS[0]: "found",
        MEETINGS[1]: "owed",
    }
    set_bot(engine, BOT, due_at=db_now(-1))
    retry = take(engine)
    assert retry.is_fetched
    assert not retry.known[MEETINGS[1]].is_settled_for(ref(1))
    save_now(engine, outcome_for(retry, fetched=(found(1),)))
    assert bot_row(engine, BOT).link_state == "linked"
    assert count(engine, Link) == 2


def test_before_the_end_a_meeting_that_left_ends_its_link_and_a_return_reopens_it(
    engine: Engine,
) -> None:
    """A row is never deleted."""
    add_bot(engine, BOT)
    save_now(engine, outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0),)))
    claimed = owe_again(engine)
    save_now(engine, outcome_for(claimed, bot=body(ref(1)), fetched=(found(1),)))
    left, joined = sorted(rows(engine, Link), key=lambda link: link.meeting_id)
    assert (left.end_reason, left.ended_at is None) == ("left_calendar_meetings", False)
    assert joined.ended_at is None
    claimed = owe_again(engine)
    save_now(engine, outcome_for(claimed, bot=body(ref(0)), kept=(ref(0),)))
    back, gone = sorted(rows(engine, Link), key=lambda link: link.meeting_id)
    assert (back.ended_at, back.end_reason) == (None, None)
    assert gone.ended_at is not None


def test_after_the_end_a_meeting_that_left_is_only_annotated(engine: Engine) -> None:
    """A reconnected calendar clears Recall's side; history stays."""
    add_bot(engine, BOT, status="done")
    save_now(engine, outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0),)))
    assert bot_row(engine, BOT).sealed_at is not None
    save_now(engine, outcome_for(owe_again(engine), bot=body()))
    (link,) = rows(engine, Link)
    assert (link.ended_at, link.end_reason) == (None, "left_calendar_meetings")
    assert bot_row(engine, BOT).link_state == "linked"


@pytest.mark.parametrize("state", ["gone", "forbidden", "unfetchable"])
def test_details_that_were_found_once_are_never_emptied(engine: Engine, state: Any) -> None:
    """The state says what is true now, the details what was seen."""
    add_bot(engine, BOT)
    save_now(engine, outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0),)))
    moved = MeetingRef(MEETINGS[0], START, START + timedelta(hours=2), USERS[0], "crew-0")
    result = MeetingResult(moved, state, "http_404", fetched_at=START)
    save_now(engine, outcome_for(owe_again(engine), bot=body(moved), fetched=(result,)))
    (meeting,) = rows(engine, CalendarMeeting)
    assert (meeting.state, meeting.reason, meeting.title) == (state, "http_404", "Weekly")
    assert meeting.end_time == moved.end_time


def test_what_was_cleared_at_recall_stays_here(engine: Engine) -> None:
    """meeting_url is null some days later."""
    add_bot(engine, BOT)
    about = {"meeting_url": {"platform": "zoom"}, "bot_name": "Scribe"}
    save_now(engine, outcome_for(take(engine), bot=body(**about)))
    save_now(engine, outcome_for(owe_again(engine), bot=body()))
    bot = bot_row(engine, BOT)
    assert (bot.meeting_url, bot.bot_name) == ({"platform": "zoom"}, "Scribe")


def test_people_follow_the_latest_guest_list(engine: Engine) -> None:
    """Who is no longer invited is not found by the meeting."""
    add_bot(engine, BOT)
    for people in (frozenset({"a@x.test", "b@x.test"}), frozenset({"b@x.test"})):
        result = found(0, people=people)
        claimed = owe_again(engine)
        save_now(engine, outcome_for(claimed, bot=body(ref(0)), fetched=(result,)))
    assert [row.email for row in rows(engine, MeetingPerson)] == ["b@x.test"]


def test_an_external_id_is_shown_as_it_can_be_stored(engine: Engine) -> None:
    """NUL replaced, cut at 255: for display; no token is ever asked for the altered one."""
    add_bot(engine, BOT)
    odd = MeetingRef(MEETINGS[0], START, START, USERS[0], "a\x00" + "x" * 300)
    result = MeetingResult(odd, "unfetchable", "unusable_external_id", fetched_at=START)
    save_now(engine, outcome_for(take(engine), bot=body(odd), fetched=(result,)))
    (link,) = rows(engine, Link)
    assert link.external_id == "a\ufffd" + "x" * 253


def test_a_result_that_cannot_be_stored_is_settled_as_a_failed_try(engine: Engine) -> None:
    """And takes no other of its batch with it."""
    other = "00000000-0000-4000-8000-000000000001"
    add_bot(engine, BOT)
    bad = outcome_for(take(engine), bot=body(ref(0)), fetched=(found(0, title="\ud800"),))
    add_bot(engine, other)
    good = outcome_for(take(engine), bot=body(ref(1)), fetched=(found(1),))
    with pytest.raises(UnicodeEncodeError):
        save_now(engine, bad, good)
    with engine.begin() as connection:
        save_one_by_one(connection, [bad, good])
    assert bot_row(engine, other).link_state == "linked"
    bot = bot_row(engine, BOT)
    assert (bot.link_state, bot.attempts, bot.lease_token) == ("pending", 1, None)
    assert bot.last_error.startswith("internal: ")
