"""How bots ended by day, and the alarm for when fewer than usual record."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from models.queries.alarms.bot_ends import DAYS, ends_by_day
from tests.models.queries.alarms.test_alerts import a_worker, active_alarms, add_count

RECORDED = "recorded call_ended_by_host"
BARRED = "not_admitted timeout_exceeded_waiting_room"
FATAL = "fatal other"
NOBODY = "not_recorded none"
Counts = dict[tuple[str, int], int]
USUAL: Counts = {(RECORDED, 30): 60, (RECORDED, 100): 36, (BARRED, 50): 4}


def write(engine: Engine, counts: Counts) -> None:
    """Write counts, by label and hours ago."""
    for (label, hours_ago), count in counts.items():
        add_count(engine, "bot_end", label, hours_ago, count)


def test_ends_are_told_by_day_and_the_days_without_any_too(engine: Engine) -> None:
    """The earliest first, today last, and nothing older."""
    now = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    ago = round((datetime.now(UTC) - now).total_seconds() / 3600)
    write(
        engine,
        {
            (FATAL, ago): 1,
            (RECORDED, ago): 5,
            (RECORDED, ago + 2): 2,
            (BARRED, ago + 24): 3,
            (NOBODY, ago + 24 * DAYS): 9,
        },
    )
    with engine.connect() as connection:
        days = ends_by_day(connection, now)
    assert len(days) == DAYS
    assert [day.day for day in days] == sorted(day.day for day in days)
    assert days[-1].day == datetime(2026, 11, 20, tzinfo=UTC)
    assert list(days[-1].ends.items()) == [("recorded", 7), ("fatal", 1)]
    assert days[-2].ends == {"not_admitted": 3}
    assert {day.day for day in days if not day.ends} == {
        days[-1].day - timedelta(days=n) for n in range(2, DAYS)
    }


@pytest.mark.parametrize(
    ("usual", "recent", "rings"),
    [
        (USUAL, {(BARRED, 0): 6, (RECORDED, 0): 6}, True),
        (USUAL, {(BARRED, 20): 6, (RECORDED, 20): 6}, True),
        (USUAL, {(BARRED, 1): 1}, False),
        (USUAL, {(BARRED, 1): 4, (FATAL, 1): 4}, False),
        (USUAL, {(BARRED, 1): 4, (RECORDED, 1): 6}, False),
        (USUAL, {(BARRED, 1): 5, (RECORDED, 1): 45}, False),
        (USUAL, {(BARRED, 1): 20, (RECORDED, 1): 60}, True),
        ({}, {(BARRED, 1): 500}, False),
        ({(RECORDED, 30): 29}, {(BARRED, 1): 500}, False),
        ({(RECORDED, 24 * 9): 500}, {(BARRED, 1): 500}, False),
        ({(RECORDED, 30): 50, (BARRED, 30): 50}, {(BARRED, 1): 8, (RECORDED, 1): 4}, False),
        ({(RECORDED, 30): 50, (BARRED, 30): 50}, {(BARRED, 1): 80, (RECORDED, 1): 20}, True),
        # Six good hours end it, whatever the day was like.
        (USUAL, {(BARRED, 12): 80, (RECORDED, 1): 20}, False),
    ],
)
def test_the_alarm_rings_where_clearly_more_bots_than_usual_record_nothing(
    engine: Engine, usual: Counts, recent: Counts, *, rings: bool
) -> None:
    """Not for one bot or a few, not without a usual share, not for what chance explains."""
    a_worker(engine)
    write(engine, usual | recent)
    assert set(active_alarms(engine)) == ({"not_recorded"} if rings else set())


def test_the_alarm_has_its_numbers_in_its_words(engine: Engine) -> None:
    """How many of how many, against what is usual, and the reason that most of them share."""
    a_worker(engine)
    write(engine, USUAL | {(BARRED, 0): 9, (FATAL, 1): 2, (RECORDED, 0): 9})
    alarm = active_alarms(engine)["not_recorded"]
    assert alarm.text == (
        "11 of 20 bots that ended in the last 6 h recorded nothing (55%), compared with 4 of 100"
        " in the week before (4%); the most frequent reason, 9 times: the bot waited in the lobby"
        " and was not let in"
    )
    assert "--recorded false" in alarm.remedy
