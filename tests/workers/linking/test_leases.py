"""Leases: one holder at a time, by the database's clock, and no bot lost to a crash."""

import threading

from sqlalchemy import Engine, insert

from models.tables.base import db_now
from models.tables.calendar import CalendarMeeting
from models.tables.link import Link
from tests.support.fakes import BOT, MEETINGS, START, ref
from tests.support.ids import new_id
from tests.support.rows import add_bot, bot_row, set_bot
from workers.linking.leases import CRASH_LIMIT, any_claimable, claim, claim_suspect, release, renew
from workers.linking.types import Claim, KnownLink


def claim_now(engine: Engine, count: int = 10, seconds: float = 20) -> list[Claim]:
    """Claim in a transaction."""
    with engine.begin() as connection:
        return claim(connection, count, seconds)


def suspects(engine: Engine) -> list[str]:
    """Claim the suspect, if the longest-due bot is one."""
    with engine.begin() as connection:
        return [one.bot_id for one in claim_suspect(connection, 20)]


def test_a_due_bot_is_claimed_once_and_longest_due_first(engine: Engine) -> None:
    """And no more of them than requested."""
    bots = [new_id() for _ in range(3)]
    for age, bot in enumerate(bots):
        add_bot(engine, bot, due_at=db_now(-10 * age - 1))
    assert {one.bot_id for one in claim_now(engine, 2)} == {bots[2], bots[1]}
    assert [one.bot_id for one in claim_now(engine)] == [bots[0]]
    assert claim_now(engine) == []


def test_what_is_not_due_yet_is_not_claimed(engine: Engine) -> None:
    """Neither is what is due no more."""
    add_bot(engine, BOT, due_at=db_now(30))
    add_bot(engine, new_id(), due_at=None)
    assert claim_now(engine) == []
    with engine.begin() as connection:
        assert not any_claimable(connection)


def test_a_lease_that_ended_may_be_taken_by_another(engine: Engine) -> None:
    """With another token, so that the first holder's result is refused."""
    add_bot(engine, BOT)
    (first,) = claim_now(engine)
    assert claim_now(engine) == []
    set_bot(engine, BOT, lease_until=db_now(-1))
    (second,) = claim_now(engine)
    assert first.lease_token != second.lease_token


def test_a_claim_knows_what_is_on_file(engine: Engine) -> None:
    """The links, the state of their meetings, and whether the bot was fetched for this reason."""
    add_bot(engine, BOT, status="done", fetched_at=db_now(), attempts=3, due_seq=5)
    with engine.begin() as connection:
        for number, ended_at in ((0, None), (1, START)):
            one = ref(number)
            connection.execute(
                insert(CalendarMeeting).values(
                    id=one.meeting_id, start_time=START, end_time=START, state="owed"
                )
            )
            connection.execute(
                insert(Link).values(
                    bot_id=BOT,
                    meeting_id=one.meeting_id,
                    calendar_user_id=one.calendar_user_id,
                    external_id=one.external_id,
                    seen_start=one.start_time,
                    seen_end=one.end_time,
                    linked_at=START,
                    last_seen_at=START,
                    ended_at=ended_at,
                )
            )
    (claimed,) = claim_now(engine)
    assert (claimed.due_seq, claimed.attempts) == (5, 3)
    assert (claimed.is_fetched, claimed.is_terminal, claimed.is_sealed) == (True, True, False)
    assert 0.5 <= claimed.owed_seconds < 30
    assert claimed.known == {
        MEETINGS[0]: KnownLink(ref(0), "owed", is_open=True),
        MEETINGS[1]: KnownLink(ref(1), "owed", is_open=False),
    }


def test_a_bot_fetched_for_an_earlier_reason_is_fetched_again(engine: Engine) -> None:
    """The reason is newer than the fetch."""
    add_bot(engine, BOT, fetched_at=db_now(-60), owed_since=db_now(-5))
    (claimed,) = claim_now(engine)
    assert not claimed.is_fetched


def test_renewing_lengthens_only_our_own_leases(engine: Engine) -> None:
    """A lease that another took meanwhile stays as it is."""
    add_bot(engine, BOT)
    (mine,) = claim_now(engine, seconds=5)
    before = bot_row(engine, BOT).lease_until
    with engine.begin() as connection:
        renew(connection, [mine], 60)
    assert bot_row(engine, BOT).lease_until > before
    set_bot(engine, BOT, lease_token="another")
    kept = bot_row(engine, BOT).lease_until
    with engine.begin() as connection:
        renew(connection, [mine], 600)
        release(connection, [mine])
    assert bot_row(engine, BOT).lease_until == kept
    assert bot_row(engine, BOT).lease_token == "another"


def test_a_release_hands_the_bot_back_as_it_was(engine: Engine) -> None:
    """Due as before, and no crash counted."""
    add_bot(engine, BOT, attempts=2)
    due_at = bot_row(engine, BOT).due_at
    claimed = claim_now(engine)
    assert bot_row(engine, BOT).crashes == 1
    with engine.begin() as connection:
        release(connection, claimed)
    bot = bot_row(engine, BOT)
    assert (bot.lease_token, bot.lease_until, bot.crashes) == (None, None, 0)
    assert (bot.due_at, bot.attempts) == (due_at, 2)


def test_a_bot_that_crashed_workers_is_claimed_alone(engine: Engine) -> None:
    """So that a crash affects no other bot."""
    other = new_id()
    add_bot(engine, BOT, crashes=2, due_at=db_now(-60))
    add_bot(engine, other)
    assert [one.bot_id for one in claim_now(engine)] == [other]
    assert suspects(engine) == [BOT]
    assert suspects(engine) == []


def test_a_suspect_waits_for_its_turn(engine: Engine) -> None:
    """Bots that were due before it come first."""
    add_bot(engine, BOT, crashes=5)
    add_bot(engine, new_id(), due_at=db_now(-60))
    assert suspects(engine) == []


def test_eight_crashes_in_a_row_are_a_crash_loop(engine: Engine) -> None:
    """The bot is given up, with the reason, and is due no more."""
    other = new_id()
    add_bot(engine, BOT, crashes=CRASH_LIMIT, due_at=db_now(-60))
    add_bot(engine, other, crashes=CRASH_LIMIT - 1)
    assert suspects(engine) == [other]
    bot = bot_row(engine, BOT)
    assert (bot.link_state, bot.due_at, bot.lease_token) == ("failed", None, None)
    assert bot.last_error.startswith("crash_loop: ")


def test_many_claimers_at_once_share_the_bots(engine: Engine) -> None:
    """Each bot goes to one of them, and none is left."""
    bots = {new_id() for _ in range(60)}
    for bot in bots:
        add_bot(engine, bot)
    taken: list[str] = []

    def run() -> None:
        while claims := claim_now(engine, 7):
            taken.extend(one.bot_id for one in claims)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(bots)
