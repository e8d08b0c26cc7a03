"""The nightly look at every connected calendar: once for the whole fleet, and never in the way.

It runs in a thread of the sweeper, with a connection of its own to each side. Drains come first:
while bots are due it waits, and it takes a tenth of what Recall allows at most.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.exc import SQLAlchemyError

from models.base import db_now
from models.care import CALENDAR_SWEEP
from models.database import make_engine
from models.link import Link
from models.outside import storable
from models.workspace import WorkspaceState
from workers.bodies import EXTERNAL_ID_LIMIT, is_usable_external_id
from workers.calendar_bodies import CalendarUser
from workers.calendar_check import LISTED, RECENT, Check, CheckResult
from workers.calendar_client import CalendarClient
from workers.calendar_findings import same_person
from workers.calendar_users import CalendarUsers
from workers.errors import RecallError
from workers.outlook import look
from workers.recall import Recall
from workers.stop import Stop
from workers.tokens import UserErasedError
from workers.tombstones import is_pseudonym
from workers.tools import Tools
from workers.upsert import upsert
from workers.wire import LIST_BYTES, Wire
from workers.workspace import read_workspace

NIGHT_HOUR = 3
LOOK_SECONDS = 60.0
# Thirty users a minute, where three hundred tokens are allowed: what drains need is left.
PACE_SECONDS = 2.0
# A claim that nobody has renewed for so long is a dead dyno's; the slowest call takes three.
LEASE_SECONDS = 600.0
CALL_SECONDS = 180.0
PATIENCE_SECONDS = 60.0
_STATE = cast("Table", WorkspaceState.__table__)

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Night:
    """One night's sweep: when the next begins, whom it has come to, what it has done."""

    next_at: datetime
    lease_until: datetime | None = None
    # The last external_id that was looked at; None when the night is over.
    position: str | None = None
    users: int = 0
    changed: int = 0
    failed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return what workspace_state keeps of it."""
        lease = self.lease_until.isoformat() if self.lease_until else None
        kept = {"next_at": self.next_at.isoformat(), "lease_until": lease}
        counts = {"users": self.users, "changed": self.changed, "failed": self.failed}
        return {**kept, "position": self.position, **counts}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> "Night":
        """Read it back."""
        lease = kept["lease_until"]
        times = {
            "next_at": datetime.fromisoformat(kept["next_at"]),
            "lease_until": datetime.fromisoformat(lease) if lease else None,
        }
        return cls(**{**kept, **times})


class CalendarSweep:
    """Starts the night's sweep when it is due, where no other worker has."""

    def __init__(self, tools: Tools, stop: Stop, pace: float = PACE_SECONDS) -> None:
        self._tools = tools
        self._stop = stop
        self._pace = pace
        self._look_at = 0.0
        self._thread: threading.Thread | None = None

    def start_when_due(self) -> bool:
        """Look once a minute; returns whether a sweep was started here."""
        is_at_work = self._thread is not None and self._thread.is_alive()
        if is_at_work or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_SECONDS
        with self._tools.engine.begin() as connection:
            night = claim_night(connection)
        if night is None:
            return False
        # A daemon: the dyno's end waits for nobody's calendar.
        work = threading.Thread(target=self.run, args=(night,), name="calendars", daemon=True)
        self._thread = work
        work.start()
        return True

    def run(self, night: Night) -> Night:
        """Look at every calendar that is left of this night; errors end it until its lease does."""
        try:
            with self._opened() as (engine, client):
                return self._sweep(night, engine, client)
        except (RecallError, SQLAlchemyError) as error:
            logger.warning("the calendars' sweep is cut off", error=str(error)[:200])
            return night

    @contextmanager
    def _opened(self) -> Iterator[tuple[Engine, CalendarClient]]:
        settings, tools = self._tools.settings, self._tools
        engine, wire = make_engine(settings, "write"), Wire(tools.context, LIST_BYTES)
        recall = Recall(wire, settings.api_url, settings.api_key, seconds=CALL_SECONDS)
        patience = PATIENCE_SECONDS
        try:
            yield engine, CalendarClient(recall, tools.limits, tools.buckets, patience=patience)
        finally:
            wire.close()
            engine.dispose()

    def _sweep(self, night: Night, engine: Engine, client: CalendarClient) -> Night:
        everybody = client.users()
        # As links are written, so that an id that was cut there is found again here.
        listed = {
            storable(user.external_id, EXTERNAL_ID_LIMIT): user
            for user in everybody
            if user.external_id
        }
        doubles = same_person(everybody)
        check, users = Check(engine, client), CalendarUsers(engine, self._tools.vault, client)
        with engine.begin() as connection:
            if read_workspace(connection).open_for:
                return night
            names = _to_look_at(connection, listed, night.position)
        for name in names:
            if not self._may_go_on(engine, night):
                return night
            user = listed.get(name)
            try:
                # No token for who is not listed: it would make them again.
                result = (
                    check.gone(name)
                    if user is None
                    else _look(check, users, client, user, doubles.get(user.id, ()))
                )
            except (RecallError, UserErasedError) as error:
                logger.info("a calendar was not looked at", error=type(error).__name__)
                night = replace(night, failed=night.failed + 1)
                result = CheckResult()
            night = replace(
                night, position=name, users=night.users + 1, changed=night.changed + result.changed
            )
            _keep(engine, night, LEASE_SECONDS)
        done = replace(night, position=None, lease_until=None)
        _keep(engine, done, None)
        logger.info("calendars looked at", users=done.users, changed=done.changed)
        return done

    def _may_go_on(self, engine: Engine, night: Night) -> bool:
        while not self._stop.is_requested:
            time.sleep(self._pace)
            with engine.begin() as connection:
                if not look(connection).is_work:
                    return True
            # Waiting for drains is work too, as far as other dynos are concerned.
            _keep(engine, night, LEASE_SECONDS)
        return False


def _look(
    check: Check,
    users: CalendarUsers,
    client: CalendarClient,
    user: CalendarUser,
    doubles: tuple[str, ...],
) -> CheckResult:
    def work(token: Any) -> Any:
        return client.meetings(token, after)

    if not is_usable_external_id(str(user.external_id)):
        return CheckResult()
    with check.engine.connect() as connection:
        after = connection.execute(select(db_now())).scalar_one() - LISTED
    return check.user(user, users.act(str(user.external_id), work), doubles)


def claim_night(connection: Connection) -> Night | None:
    """Claim the sweep that is due, or one that was cut off; None when there is none.

    On first sight it only sets the hour: a deployment at noon is no reason to look by day.
    """
    kept = select(WorkspaceState.value, db_now().label("now")).where(
        WorkspaceState.key == CALENDAR_SWEEP
    )
    row = connection.execute(kept.with_for_update()).one_or_none()
    if row is None:
        now = connection.execute(select(db_now())).scalar_one()
        _write(connection, Night(next_night(now)), now)
        return None
    night = Night.read(row.value)
    lease_until = row.now + timedelta(seconds=LEASE_SECONDS)
    if night.lease_until is not None:
        if night.lease_until > row.now:
            return None
        claimed = replace(night, lease_until=lease_until)
    elif night.next_at <= row.now:
        claimed = Night(next_night(row.now), lease_until=lease_until)
    else:
        return None
    _write(connection, claimed, row.now)
    return claimed


def next_night(now: datetime) -> datetime:
    """Return the next three o'clock in the morning, UTC, after a moment."""
    tonight = now.replace(hour=NIGHT_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight > now else tonight + timedelta(days=1)


def _to_look_at(
    connection: Connection, listed: Mapping[str, CalendarUser], position: str | None
) -> list[str]:
    # By when they were linked, which has an index: a link comes when its meeting does.
    recent = (
        select(Link.external_id).distinct().where(Link.linked_at >= db_now(-RECENT.total_seconds()))
    )
    names = {name for name in connection.scalars(recent) if name and not is_pseudonym(name)}
    names |= {name for name, user in listed.items() if any(c.connected for c in user.connections)}
    return sorted(name for name in names if position is None or name > position)


def _keep(engine: Engine, night: Night, lease: float | None) -> None:
    with engine.begin() as connection:
        now = connection.execute(select(db_now())).scalar_one()
        until = None if lease is None else now + timedelta(seconds=lease)
        _write(connection, replace(night, lease_until=until), now)


def _write(connection: Connection, night: Night, now: datetime) -> None:
    row = {"key": CALENDAR_SWEEP, "value": night.as_json(), "updated_at": now}
    upsert(connection, _STATE, [row], update=("value", "updated_at"))
