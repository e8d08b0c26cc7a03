"""(a) The naive jobs: `rq worker`, one job per event, each in a fresh fork, through the ORM.

Fair: RQ as its documentation starts it; the module is small and imports no web framework.
"""

import os
from datetime import UTC, datetime

import httpx
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

API = os.environ.get("RECALL_API_BASE_URL", "") + "/api/v1"
KEY = {"authorization": f"Token {os.environ.get('RECALL_API_KEY', '')}"}
engine = create_engine(os.environ["DATABASE_URL"])


class Base(DeclarativeBase):
    """The tables, as the ORM sees them."""


class Bot(Base):
    """A bot."""

    __tablename__ = "bots"
    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    status_at: Mapped[datetime]
    first_seen_at: Mapped[datetime]
    link_state: Mapped[str]


class User(Base):
    """A calendar user."""

    __tablename__ = "calendar_users"
    id: Mapped[str] = mapped_column(primary_key=True)
    external_id: Mapped[str]


class Meeting(Base):
    """A calendar meeting."""

    __tablename__ = "calendar_meetings"
    id: Mapped[str] = mapped_column(primary_key=True)
    calendar_user_id: Mapped[str]
    start_time: Mapped[datetime]
    end_time: Mapped[datetime]
    state: Mapped[str]
    title: Mapped[str]
    ical_uid: Mapped[str]
    organizer_email: Mapped[str]


class Link(Base):
    """Which bot served which meeting."""

    __tablename__ = "links"
    bot_id: Mapped[str] = mapped_column(primary_key=True)
    meeting_id: Mapped[str] = mapped_column(primary_key=True)
    calendar_user_id: Mapped[str]
    external_id: Mapped[str]
    seen_start: Mapped[datetime]
    seen_end: Mapped[datetime]
    linked_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


def link_bot(bot_id: str) -> None:
    """Look a bot up, then each meeting of it under its user's token, and store the link."""
    now = datetime.now(UTC)
    with httpx.Client() as client, Session(engine) as session:
        bot = client.get(f"{API}/bot/{bot_id}/", headers=KEY).raise_for_status().json()
        status = bot["status_changes"][-1]["code"]
        times = {"status_at": now, "first_seen_at": now}
        session.merge(Bot(id=bot_id, status=status, link_state="linked", **times))
        for ref in bot["calendar_meetings"]:
            store_meeting(client, session, bot_id, ref)
        session.commit()


def store_meeting(client: httpx.Client, session: Session, bot_id: str, ref: dict) -> None:  # type: ignore[type-arg]
    """Fetch one meeting and keep it, its user and its link."""
    user, now = ref["calendar_user"], datetime.now(UTC)
    asked = {"user_id": user["external_id"]}
    answer = client.post(f"{API}/calendar/authenticate/", headers=KEY, json=asked)
    headers = {"x-recallcalendarauthtoken": answer.raise_for_status().json()["token"]}
    url = f"{API}/calendar/meetings/{ref['id']}/"
    found = client.get(url, headers=headers).raise_for_status().json()
    start, end = (datetime.fromisoformat(found[key]) for key in ("start_time", "end_time"))
    session.merge(User(id=user["id"], external_id=user["external_id"]))
    session.merge(
        Meeting(
            id=ref["id"],
            calendar_user_id=user["id"],
            start_time=start,
            end_time=end,
            state="found",
            title=found["title"],
            ical_uid=found["ical_uid"],
            organizer_email=found["organizer_email"],
        )
    )
    key = {"bot_id": bot_id, "meeting_id": ref["id"]}
    seen = {"seen_start": start, "seen_end": end, "linked_at": now, "last_seen_at": now}
    ids = {"calendar_user_id": user["id"], "external_id": user["external_id"]}
    session.merge(Link(**key, **ids, **seen))
