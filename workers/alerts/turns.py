"""Which worker checks the alarms this minute: one row of workspace_state for the whole fleet.

A turn is a lease. It begins with the check and ends once it is known what was delivered. If a
worker dies in between, the next one sends what it was about to send.
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self, cast, get_args

from sqlalchemy import Connection, Table, select

from models.queries.alarms.alerts import Alarm, alarms
from models.queries.service_status import overview
from models.tables.base import db_now
from models.tables.workspace_state import ALERTS, WorkspaceState
from workers.alerts.episodes import (
    Episode,
    Episodes,
    News,
    Phase,
    after_report,
    changes,
    observe,
)
from workers.db.upsert import insert_into
from workers.db.workspace_state import write_state
from workers.outbox.write import NewEvent, Subject, write_events

EVERY_SECONDS = 60.0
# Two calls of 15 s, and a drain of 20 s before the poller writes what came of them.
LEASE_SECONDS = 90.0
BUSY_SECONDS = 5.0
_STATE = cast("Table", WorkspaceState.__table__)


@dataclass(frozen=True, slots=True)
class Problems:
    """What went wrong with the last message and the last heartbeat, in words."""

    webhook: str | None = None
    heartbeat: str | None = None


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is kept from turn to turn."""

    next_at: datetime
    lease_token: str | None = None
    lease_until: datetime | None = None
    episodes: Episodes = field(default_factory=dict)
    problems: Problems = Problems()

    def as_json(self) -> dict[str, Any]:
        """Return it as stored in workspace_state."""
        return {
            "next_at": self.next_at.isoformat(),
            "lease_token": self.lease_token,
            "lease_until": self.lease_until.isoformat() if self.lease_until else None,
            "episodes": [_episode_json(one) for one in self.episodes.values()],
            "problems": asdict(self.problems),
        }

    @classmethod
    def read(cls, kept: Mapping[str, Any], now: datetime) -> Self:
        """Parse it; what cannot be read begins anew."""
        try:
            return cls(
                next_at=_time(kept["next_at"], now + timedelta(seconds=EVERY_SECONDS)),
                lease_token=kept["lease_token"],
                lease_until=_maybe(kept["lease_until"], now + timedelta(seconds=LEASE_SECONDS)),
                episodes={one.alarm.name: one for one in _episodes(kept["episodes"], now)},
                problems=Problems(**kept["problems"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(next_at=now)

    def wait(self, now: datetime) -> float:
        """Return in how many seconds the next turn may begin; 0 or less when it may."""
        begins_at = self.next_at
        if self.lease_token is not None and self.lease_until is not None:
            begins_at = max(begins_at, self.lease_until)
        return (begins_at - now).total_seconds()


def _time(text: str, latest: datetime) -> datetime:
    # A time from a clock that was ahead must not delay the next turn for long.
    return min(datetime.fromisoformat(text), latest)


def _maybe(text: str | None, latest: datetime) -> datetime | None:
    return None if text is None else _time(text, latest)


def _episode_json(episode: Episode) -> dict[str, Any]:
    times = {name: getattr(episode, name) for name in ("since", "seen_at", "reported_at")}
    moments = {name: moment.isoformat() if moment else None for name, moment in times.items()}
    return {"alarm": asdict(episode.alarm), "phase": episode.phase, **moments}


def _episodes(kept: list[Mapping[str, Any]], now: datetime) -> list[Episode]:
    if not all(one["phase"] in get_args(Phase) for one in kept):
        raise ValueError("no such phase")
    return [
        Episode(
            alarm=Alarm(**one["alarm"]),
            since=_time(one["since"], now),
            seen_at=_time(one["seen_at"], now),
            phase=one["phase"],
            reported_at=_maybe(one["reported_at"], now),
        )
        for one in kept
    ]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was begun: when, under which lease, how the alarms stand, and for whom."""

    at: datetime
    token: str
    episodes: Episodes
    reports: bool


def read_alert_state(connection: Connection) -> AlertState | None:
    """Return what is kept; None before the first turn."""
    kept = select(WorkspaceState.value, db_now().label("now"))
    row = connection.execute(kept.where(WorkspaceState.key == ALERTS)).one_or_none()
    return AlertState.read(row.value, row.now) if row else None


def begin_turn(connection: Connection, *, reports: bool) -> Turn | float:
    """Begin a turn: check the alarms and write what changed. Or return the seconds until the next.

    Unless there is a webhook to report to (`reports`), an end is not kept.
    """
    _make_row(connection)
    found = _locked(connection, waits=False)
    if found is None:
        return BUSY_SECONDS
    now, state = found
    if (wait := state.wait(now)) > 0:
        return wait
    episodes = observe(state.episodes, alarms(connection, overview(connection)), now)
    write_events(connection, [_event(one, now) for one in changes(state.episodes, episodes)])
    if not reports:
        episodes = {name: one for name, one in episodes.items() if one.phase != "over"}
    turn = Turn(now, secrets.token_hex(8), episodes, reports)
    next_at, lease_until = (now + timedelta(seconds=s) for s in (EVERY_SECONDS, LEASE_SECONDS))
    begun = AlertState(next_at, turn.token, lease_until, episodes, state.problems)
    write_state(connection, ALERTS, begun.as_json(), now)
    return turn


def end_turn(connection: Connection, turn: Turn, problems: Problems) -> bool:
    """Write what was delivered; False when another worker has taken over meanwhile."""
    found = _locked(connection, waits=True)
    if found is None or found[1].lease_token != turn.token:
        return False
    is_reported = turn.reports and problems.webhook is None
    episodes = after_report(turn.episodes, turn.at) if is_reported else turn.episodes
    now, state = found
    ended = replace(state, lease_token=None, lease_until=None, episodes=episodes, problems=problems)
    write_state(connection, ALERTS, ended.as_json(), now)
    return True


def _make_row(connection: Connection) -> None:
    made = insert_into(connection, _STATE).values(key=ALERTS, value={}, updated_at=db_now())
    connection.execute(made.on_conflict_do_nothing(index_elements=["key"]))


def _locked(connection: Connection, *, waits: bool) -> tuple[datetime, AlertState] | None:
    kept = select(WorkspaceState.value, db_now().label("now"))
    kept = kept.where(WorkspaceState.key == ALERTS).with_for_update(skip_locked=not waits)
    row = connection.execute(kept).one_or_none()
    return (row.now, AlertState.read(row.value, row.now)) if row else None


def _event(news: News, now: datetime) -> NewEvent:
    until = now if news.kind == "ended" else None
    data = {"alarm": asdict(news.episode.alarm), "since": news.episode.since, "until": until}
    return NewEvent("alarm.started" if until is None else "alarm.ended", Subject(), data)
