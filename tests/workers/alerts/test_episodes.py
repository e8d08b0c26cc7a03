"""How long an alarm must last to be told of, and what is told when. Times are made up."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from models.queries.alarms.alerts import Alarm
from workers.alerts.episodes import Episode, active_names, after_report, changes, news, observe
from workers.alerts.message import heartbeat_url, message

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
SILENCE = Alarm("silence", "No webhooks arrive", "no webhook for 4 h", "check the endpoint")
STALLED = Alarm("stalled", "Work is stuck", "it waits <!channel> & more", "add workers")


def story(looks: Iterable[str], minutes: float = 1, arrives: str | None = None) -> list[str]:
    """What is told when an alarm is active (x) or not (.) at each look; `!` is a lost message."""
    told, episodes = [], dict[str, Episode]()
    pattern = list(looks)
    for n, (look, fate) in enumerate(zip(pattern, arrives or "." * len(pattern), strict=True)):
        now = NOON + timedelta(minutes=n * minutes)
        episodes = observe(episodes, [SILENCE] if look == "x" else [], now)
        found = news(episodes, now)
        if fate == "!":
            continue
        told += [f"{n} {one.kind}" for one in found]
        episodes = after_report(episodes, now)
    return told


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ("xxxxxx", ["2 started"]),
        ("xxxxx...", ["2 started", "6 ended"]),
        ("x......", []),
        ("xx.....", []),
        # Each time off and on within the two minutes: one alarm.
        ("x.x.x.x.x.x", ["2 started"]),
        ("xxx.x.x.x...", ["2 started", "10 ended"]),
        # Seldom enough never to count.
        ("x..x..x..x..", []),
        ("xxx..xxx..", ["2 started", "4 ended", "7 started", "9 ended"]),
    ],
)
def test_an_alarm_is_reported_once_it_lasts_and_once_it_is_over(
    looks: str, told: list[str]
) -> None:
    """Two minutes either way: one that flaps is one alarm."""
    assert story(looks) == told


@pytest.mark.parametrize(
    ("looks", "arrives", "told"),
    [
        ("xxxxx", "..!!.", ["4 started"]),
        ("xxxxx....", ".....!!!.", ["2 started", "8 ended"]),
        # Over before its start could be told: that it was is told still.
        ("xxx.....", "..!!!!..", ["6 ended"]),
        # Back before its end could be told: for whoever was told, it never ended.
        ("xxxx..xxxx", "....!!!!!.", ["2 started"]),
        ("xxxx..x....", "....!!!!...", ["2 started", "8 ended"]),
    ],
)
def test_a_lost_message_is_reported_later(looks: str, arrives: str, told: list[str]) -> None:
    """Until it arrives, and then no more."""
    assert story(looks, arrives=arrives) == told


def test_an_alarm_that_lasts_is_reported_again_after_a_day() -> None:
    """And a day after that."""
    hours = "x" * 55
    assert story(hours, minutes=60) == []
    episodes = observe({}, [SILENCE], NOON)
    told = []
    for minute in range(1, 55 * 60):
        now = NOON + timedelta(minutes=minute)
        episodes = observe(episodes, [SILENCE], now)
        told += [(one.kind, minute) for one in news(episodes, now)]
        episodes = after_report(episodes, now)
    day = 24 * 60
    assert told == [("started", 2), ("continues", 2 + day), ("continues", 2 + 2 * day)]


def test_what_was_seen_before_a_gap_does_not_count_as_lasting() -> None:
    """Nobody looked for ten minutes: the alarm of before may have been another."""
    before = observe({}, [SILENCE], NOON)
    after = observe(before, [SILENCE], NOON + timedelta(minutes=10))
    assert after["silence"].phase == "held"
    active = {"silence": Episode(SILENCE, NOON, NOON, "active")}
    assert observe(active, [SILENCE], NOON + timedelta(hours=9))["silence"].phase == "active"


def test_what_begins_to_count_and_what_ceases_to_are_changes() -> None:
    """Each once: they become events."""
    seen, kinds = dict[str, Episode](), []
    for n, look in enumerate("xxxx.....xxx"):
        now = NOON + timedelta(minutes=n)
        after = observe(seen, [SILENCE] if look == "x" else [], now)
        kinds += [(n, one.kind) for one in changes(seen, after)]
        seen = after
    assert kinds == [(2, "started"), (5, "ended"), (11, "started")]


def test_a_message_has_the_words_the_remedy_and_a_link() -> None:
    """And nothing in it is Slack's to interpret."""
    ten = NOON + timedelta(minutes=10)
    started = Episode(STALLED, NOON, ten, "active")
    ended = Episode(SILENCE, NOON, ten, "over", reported_at=NOON)
    episodes = {"stalled": started, "silence": ended}
    assert message(news(episodes, ten), "https://links.example") == {
        "text": "Alarm: Work is stuck (`stalled`)\n"
        "It waits &lt;!channel&gt; &amp; more.\nWhat to do: add workers.\n\n"
        "Alarm ended: No webhooks arrive (`silence`). It was active for 10 min.\n"
        "https://links.example/console/"
    }
    assert message(news(episodes, ten), None)["text"].endswith("active for 10 min.")


def test_a_message_says_what_could_not_be_told_before() -> None:
    """A second day, and a start that never arrived."""
    later = NOON + timedelta(hours=25)
    still = Episode(SILENCE, NOON, later, "active", reported_at=NOON)
    missed = Episode(STALLED, NOON, later, "over")
    (first, second) = message(news({"a": still, "b": missed}, later), None)["text"].split("\n\n")
    assert first.startswith("Alarm still active after 25 h: No webhooks arrive (`silence`)\n")
    assert second.endswith("It was active for 25 h. Its start could not be reported.")


@pytest.mark.parametrize(
    ("url", "active", "called"),
    [
        ("https://hc.example/id", [], "https://hc.example/id"),
        ("https://hc.example/id", ["a"], "https://hc.example/id/fail?alarms=a"),
        ("https://hc.example/id/", ["a", "b"], "https://hc.example/id/fail?alarms=a,b"),
        ("https://hc.example/id?create=1", ["a"], "https://hc.example/id/fail?create=1&alarms=a"),
    ],
)
def test_a_heartbeat_names_the_alarms(url: str, active: list[str], called: str) -> None:
    """By healthchecks.io's convention: /fail after the path."""
    assert heartbeat_url(url, active) == called


def test_only_an_alarm_that_counts_fails_the_heartbeat() -> None:
    """One that is held may be a blip, which would page somebody."""
    held, over = Episode(SILENCE, NOON, NOON), Episode(SILENCE, NOON, NOON, "over")
    active = Episode(STALLED, NOON, NOON, "active")
    assert active_names({"a": held, "b": over, "stalled": active}) == ["stalled"]
