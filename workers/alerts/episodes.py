"""How long each alarm has been active, and what is to be reported. Pure: the caller gives the time.

An alarm counts once it has been active for two minutes, and ends once it has been quiet for two,
so that one that flaps is reported once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from models.queries.alarms.alerts import Alarm

HOLD = timedelta(minutes=2)
# Nobody looked for so long: the alarm may have ended and started again meanwhile.
UNSEEN = timedelta(minutes=5)
AGAIN = timedelta(days=1)

Phase = Literal["held", "active", "over"]
Kind = Literal["started", "continues", "ended"]


@dataclass(frozen=True, slots=True)
class Episode:
    """One alarm, from when it was first seen until its end has been reported."""

    alarm: Alarm
    since: datetime
    seen_at: datetime
    phase: Phase = "held"
    # When the webhook last took a message that it is active.
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What is to be reported about one alarm."""

    kind: Kind
    episode: Episode


Episodes = Mapping[str, Episode]


def observe(episodes: Episodes, active: Sequence[Alarm], now: datetime) -> dict[str, Episode]:
    """Return the episodes after a look that found these alarms active."""
    followed = {alarm.name: _seen(episodes.get(alarm.name), alarm, now) for alarm in active}
    for name, before in episodes.items():
        if name not in followed and (after := _unseen(before, now)) is not None:
            followed[name] = after
    return followed


def _seen(before: Episode | None, alarm: Alarm, now: datetime) -> Episode:
    if before is None:
        return Episode(alarm, now, now)
    since, phase = before.since, before.phase
    if phase == "over" or (phase == "held" and now - before.seen_at > UNSEEN):
        since, phase = now, "held"
    if phase == "held" and now - since >= HOLD:
        phase = "active"
    return replace(before, alarm=alarm, since=since, seen_at=now, phase=phase)


def _unseen(before: Episode, now: datetime) -> Episode | None:
    if before.phase == "over" or now - before.seen_at < HOLD:
        return before
    # An alarm that was never reported has no end to report either.
    is_known = before.phase == "active" or before.reported_at is not None
    return replace(before, phase="over") if is_known else None


def news(episodes: Episodes, now: datetime) -> list[News]:
    """Return what is to be reported now."""
    return [News(kind, one) for one in episodes.values() if (kind := _kind(one, now)) is not None]


def _kind(episode: Episode, now: datetime) -> Kind | None:
    if episode.phase == "over":
        return "ended"
    if episode.phase == "held":
        return None
    if episode.reported_at is None:
        return "started"
    return "continues" if now - episode.reported_at >= AGAIN else None


def after_report(episodes: Episodes, now: datetime) -> dict[str, Episode]:
    """Return the episodes once the whole message has arrived."""
    kinds = {name: _kind(one, now) for name, one in episodes.items()}
    return {
        name: one if kinds[name] is None else replace(one, reported_at=now)
        for name, one in episodes.items()
        if kinds[name] != "ended"
    }


def changes(before: Episodes, after: Episodes) -> list[News]:
    """Return which alarms began or ceased to count between two looks."""
    kinds: dict[tuple[bool, bool], Kind] = {(False, True): "started", (True, False): "ended"}
    found = []
    for name, one in after.items():
        was_active = name in before and before[name].phase == "active"
        if (kind := kinds.get((was_active, one.phase == "active"))) is not None:
            found.append(News(kind, one))
    return found


def active_names(episodes: Episodes) -> list[str]:
    """Name the alarms that count, in their order."""
    return [name for name, one in episodes.items() if one.phase == "active"]
