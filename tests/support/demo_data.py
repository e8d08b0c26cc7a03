"""A database and a web process to look at: a day of work, some of it gone wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from models.core.engine import make_engine
from models.queries.views import BOT_LINKS
from models.settings.environment import Settings
from models.settings.events import EVENT_TYPES
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import CalendarUser
from models.tables.calendar_finding import CalendarFinding
from models.tables.event import Event
from models.tables.hourly_count import BOT_END, HourlyCount
from models.tables.link import LinkAttempt
from models.tables.missed_meeting import MissedMeeting
from models.tables.reconcile_run import ReconcileRun
from models.tables.rejection import Rejection
from models.tables.relink_batch import RelinkBatch, RelinkBatchBot
from models.tables.workspace_state import WorkspaceState
from tests.conftest import migrate
from tests.lab.recall import FakeRecall
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import Stack, environment
from tests.support.bulk_data import an_id, bot_id, populate
from tests.support.console_client import READ, WRITE
from tests.support.rows import add_bot, add_delivery
from workers.outbox.numbering import Route, number_events
from workers.outbox.write import Subject, write_event

BOTS = 300
# The two that went wrong in the last hour: one is tried again, one was given up.
RETRIED, GIVEN_UP = an_id(9, 1), an_id(9, 2)


def furnish(engine: Engine, bots: int = BOTS) -> None:
    """Write what a day leaves behind."""
    populate(engine, bots)
    now = datetime.now(UTC)
    _troubled_bots(engine, now)
    _calendars(engine, now)
    _missed(engine, now)
    _reconciles(engine, now)
    with engine.begin() as connection:
        connection.execute(
            update(Bot)
            .where(Bot.link_state == "partial")
            .values(due_at=db_now(420), last_error="http_503: calendar/meetings/{id}")
        )
        connection.execute(insert(HourlyCount), [*_tallies(now), *_ends(now)])
        connection.execute(insert(Rejection), list(_rejections(now)))
        connection.execute(insert(Audit), list(_audits(now)))
        _add_events(connection)
        _add_batch(connection)
        facts = {
            "worker:worker.1:6": {"memory_mb": 71.4},
            "worker:worker.2:6": {"memory_mb": 69.8},
            "quota": {
                "bot_get": {"left": 11.4, "per_minute": 300.0},
                "authenticate": {"left": 12.0, "per_minute": 300.0},
            },
        }
        for key, value in facts.items():
            connection.execute(
                insert(WorkspaceState).values(key=key, value=value, updated_at=db_now())
            )


def _add_batch(connection: Connection) -> None:
    """Retry some bots at once: one came through, two failed again."""
    batch = insert(RelinkBatch).values(at=db_now(-6 * 3600), actor="ann", bots=3)
    number = connection.scalars(batch.returning(RelinkBatch.id)).one()
    failed: dict[str, Any] = {"outcome": "failed", "reason": "bot_not_found"}
    about = [{"outcome": "linked", "reason": None}, failed, failed]
    members = [{"batch_id": number, "bot_id": bot_id(n), **one} for n, one in enumerate(about)]
    connection.execute(insert(RelinkBatchBot), members)


def _add_events(connection: Connection) -> None:
    """Tell of some links, and deliver most of it to one of two endpoints."""
    links = connection.execute(select(BOT_LINKS).order_by(BOT_LINKS.c.bot_id).limit(24)).mappings()
    for number, link in enumerate(links):
        kind = EVENT_TYPES[number % len(EVENT_TYPES)]
        about = Subject(link["bot_id"], link["meeting_id"], link["external_id"])
        write_event(connection, kind, about, {"link": dict(link), "changed": ["bot_status"]})  # type: ignore[arg-type]
    crm = Route("crm.example-1a2b3c", {"link.created", "link.updated", "bot.ended"})
    number_events(connection, [crm, Route("slack.example-4d5e6f", {"meeting.missed"})])
    states = {"delivered": Event.type == "link.updated", "failed": Event.type == "bot.ended"}
    for state, those in states.items():
        connection.execute(update(Event).where(those).values(state=state, attempts=3))


def _troubled_bots(engine: Engine, now: datetime) -> None:
    seen = {"first_seen_at": now - timedelta(minutes=21), "bot_name": "Scribe"}
    add_bot(
        engine,
        RETRIED,
        **seen,
        status="done",
        status_at=now - timedelta(minutes=4),
        due_at=now + timedelta(minutes=7),
        owed_since=now - timedelta(minutes=20),
        attempts=2,
        last_error="http_503: bot/{id}",
        meeting_platform="zoom",
    )
    add_bot(
        engine,
        GIVEN_UP,
        **seen,
        status="fatal",
        sub_code="meeting_not_found",
        status_at=now - timedelta(minutes=15),
        due_at=None,
        link_state="failed",
        attempts=4,
        last_error="bot_not_found: bot/{id}",
    )
    for bot, codes in ((RETRIED, ("joining_call", "in_call_recording", "done")),
                       (GIVEN_UP, ("joining_call", "fatal"))):  # fmt: skip
        for number, code in enumerate(codes):
            at = now - timedelta(minutes=20 - 8 * number)
            later = at + timedelta(milliseconds=310)
            add_delivery(
                engine, bot, code, event=f"bot.{code}", occurred_at=at, received_at=later,
                last_received_at=later, applied_at=later, copies=1 + number % 2,
                id=f"msg_{bot[:6]}_{code}",
            )  # fmt: skip
            _add(engine, BotStatus, bot_id=bot, code=code, occurred_at=at, delivery_id=None)
        for minutes, error, calls in _attempts(bot):
            start = now - timedelta(minutes=minutes)
            end = start + timedelta(milliseconds=sum(call["ms"] for call in calls))
            _add(engine, LinkAttempt, bot_id=bot, started_at=start, finished_at=end,
                 outcome="retry", error=error, calls=calls)  # fmt: skip


def _calendars(engine: Engine, now: datetime) -> None:
    """Write what the night's check of calendars has seen: one in nine is disconnected."""
    night = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    for number in range(90):
        seen = update(CalendarUser).where(CalendarUser.id == an_id(3, number)).values(
            email=f"person-{number:05d}@north.example",
            google_connected=number % 9 > 3,
            microsoft_connected=number % 9 in (1, 2, 3),
            seen_at=night,
            gone_at=night if number % 40 == 5 else None,
        )  # fmt: skip
        with engine.begin() as connection:
            connection.execute(seen)
    soon = {"starts_at": now + timedelta(hours=3), "ends_at": now + timedelta(hours=4)}
    about = [
        ("will_record_without_bot", an_id(8, 90), "Renewal workshop", []),
        ("two_bots_on_one_meeting", an_id(8, 91), "Pricing review", [RETRIED, GIVEN_UP]),
    ]
    for number, (kind, subject, title, bots) in enumerate(about):
        _add(engine, CalendarFinding, calendar_user_id=an_id(3, number), kind=kind, title=title,
             subject=subject, bot_ids=bots, found_at=night, **soon)  # fmt: skip
    _add(engine, CalendarFinding, calendar_user_id=an_id(3, 4), bot_ids=[], found_at=night,
         kind="one_person_two_external_ids", subject=an_id(3, 5))  # fmt: skip


def _missed(engine: Engine, now: datetime) -> None:
    """Write what was missed in the last days: one of it was recorded after all."""
    about: list[tuple[str, str | None, str | None]] = [
        ("no_bot", None, None),
        ("not_admitted", "timeout_exceeded_waiting_room", bot_id(7)),
        ("bot_failed", "meeting_not_found", GIVEN_UP),
        ("not_recorded", "bot_kicked_from_call", bot_id(11)),
        ("no_bot", None, None),
    ]
    for number, (reason, sub_code, bot) in enumerate(about):
        start = now - timedelta(hours=26 + 9 * number)
        _add(
            engine, MissedMeeting, meeting_id=an_id(8, 80 + number), reason=reason, bot_id=bot,
            calendar_user_id=an_id(3, number % 3), external_id=f"person-{number % 3:05d}",
            title=f"Pricing workshop {number}", start_time=start, sub_code=sub_code,
            end_time=start + timedelta(minutes=30), found_at=now - timedelta(hours=25),
            resolved_at=now - timedelta(hours=20) if number == 4 else None,
        )  # fmt: skip


def _reconciles(engine: Engine, now: datetime) -> None:
    """Write the nights' runs: one was cut off, of one the list was too short."""
    about: list[tuple[str, str | None, dict[str, Any]]] = [
        ("nightly", None, {"is_complete": True}),
        ("nightly", "list_too_short: Recall lists 4 bots where 212 are held", {"bots_seen": 4}),
        ("cli ann", "http_503: bot/", {"finished_at": None}),
        ("nightly", None, {"bots_missed": 2, "statuses_missed": 9, "bots_due": 2}),
        ("nightly", None, {"is_complete": True}),
    ]
    for number, (who, error, fields) in enumerate(about):
        start = now - timedelta(days=number, hours=3)
        times = {"started_at": start, "beat_at": start, "finished_at": start}
        _add(
            engine, ReconcileRun, since=start - timedelta(hours=26), started_by=who, error=error,
            **times | {"position": {}, "pages": 3, "bots_seen": 212} | fields,
        )  # fmt: skip


def _attempts(bot: str) -> list[tuple[float, str, list[dict[str, Any]]]]:
    def call(status: int | None, ms: int, error: str | None = None) -> dict[str, Any]:
        return {"method": "GET", "path": "bot/{id}", "about": None, "status": status, "ms": ms,
                "error": error}  # fmt: skip

    if bot == GIVEN_UP:
        return [(19.5, "bot_not_found: bot/{id}", [call(404, 88)])]
    return [
        (19.5, "timeout: bot/{id}", [call(None, 15_000, "timeout")]),
        (3.6, "http_503: bot/{id}", [call(503, 214)]),
    ]


def _add(engine: Engine, table: type, **row: Any) -> None:
    with engine.begin() as connection:
        connection.execute(insert(table).values(**row))


def _tallies(now: datetime) -> Iterator[dict[str, Any]]:
    this = now.replace(minute=0, second=0, microsecond=0)
    for ago in range(24):
        # Busiest at ten and at fifteen, as offices are.
        busy = max(0, 14 - min(abs(ago - 5), abs(ago - 10)) * 3)
        counts = {
            ("delivery", "accepted"): busy * 9,
            ("delivery", "ignored"): busy * 3,
            ("delivery", "duplicate"): busy,
            ("delivery", "malformed"): int(ago == 8),
            ("link", "linked"): busy * 2,
            ("link", "no_meetings"): busy // 4,
            ("link", "retry"): 3 if ago == 6 else 0,
            ("link", "failed"): int(ago == 6),
            ("rejection", "no_matching_signature"): 4 if ago == 12 else 0,
            ("rejection", "stale_timestamp"): int(ago in (3, 12)),
            ("call", "bot/{id} 200"): busy * 3,
            ("call", "calendar/meetings/{id} 200"): busy * 2,
            ("call", "bot/{id} 503"): 3 if ago == 6 else 0,
            ("receive_to_link", "0.5"): busy,
            ("receive_to_link", "1"): busy // 2,
            ("receive_to_link", "2.5"): busy // 6,
            ("receive_to_link", "30"): int(ago == 6),
        }
        for (name, label), count in counts.items():
            if count:
                hour = this - timedelta(hours=ago)
                yield {"name": name, "label": label, "hour": hour, "count": count}


def _ends(now: datetime) -> Iterator[dict[str, Any]]:
    """How bots ended on the days before, in shares that change little."""
    this = now.replace(minute=0, second=0, microsecond=0)
    for days in range(13):
        busy = 30 + 7 * (days % 3)
        counts = {
            "recorded call_ended_by_host": busy,
            "not_admitted timeout_exceeded_waiting_room": busy // 10,
            "not_recorded timeout_exceeded_noone_joined": busy // 12,
            "fatal meeting_not_found": busy // 20,
        }
        for label, count in counts.items():
            hour = this - timedelta(days=days)
            yield {"name": BOT_END, "label": label, "hour": hour, "count": count}


def _rejections(now: datetime) -> Iterator[dict[str, Any]]:
    for number, reason in enumerate(["stale_timestamp", *["no_matching_signature"] * 4]):
        at = now - timedelta(hours=3 if number == 0 else 12, minutes=number)
        yield {"received_at": at, "reason": reason, "remote_addr": f"203.0.113.{number + 4}",
               "message_id": f"msg_{number:08d}", "headers": {}, "body": b"{}",
               "resolved_at": now - timedelta(hours=11) if number == 2 else None}  # fmt: skip


def _audits(now: datetime) -> Iterator[dict[str, Any]]:
    many = {"asked": {"link_state": "failed"}, "relinked": 12}
    by = {"actor": "token 3f9c01ab", "action": "relink"}
    yield {"at": now - timedelta(hours=6), **by, "subject": None, "details": many}
    by = {"actor": "ann", "action": "relink"}
    yield {"at": now - timedelta(hours=2), **by, "subject": GIVEN_UP, "details": {}}


@contextmanager
def furnished(
    folder: Path, bots: int = BOTS, recall: FakeRecall | None = None
) -> Iterator[tuple[str, Engine]]:
    """Run the web process over such a database; its address, and the database's engine."""
    url = f"sqlite:///{folder / 'furnished.db'}"
    settings = Settings.read({"DATABASE_URL": url})
    migrate(settings)
    engine = make_engine(settings, "write")
    furnish(engine, bots)
    port = free_port()
    environ = environment(
        **(_with_recall(recall, port) if recall else {}),
        DATABASE_URL=url,
        HOST="127.0.0.1",
        PORT=port,
        OPS_READ_TOKENS=READ,
        OPS_WRITE_TOKENS=WRITE,
        LOG_FORMAT="json",
    )
    with Stack(environ, folder, workers=0) as stack:
        yield stack.url, engine
    engine.dispose()


def _with_recall(recall: FakeRecall, port: int) -> dict[str, str]:
    # The pages of connecting calendars as well, which are closed without these.
    return {
        "RECALL_API_BASE_URL": recall.url,
        "RECALL_API_KEY": recall.api_key,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GOOGLE_OAUTH_CLIENT_ID": "google-client",
    }
