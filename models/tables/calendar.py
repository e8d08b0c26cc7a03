"""Recall's Calendar V1 side, as it was last seen: users, meetings, people, tokens."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.core.sanitize import LONGEST_TEXT
from models.core.title_words import WordList, default_title, default_words
from models.tables.base import Base, at_most

EXTERNAL_ID = at_most(255)
MeetingState = Literal["found", "gone", "forbidden", "unfetchable", "owed"]


class CalendarUser(Base):
    """One calendar user; a deleted and re-created one comes back with a new id."""

    __tablename__ = "calendar_users"

    id: Mapped[str] = mapped_column(primary_key=True)
    external_id: Mapped[str | None] = mapped_column(index=True, info=EXTERNAL_ID)
    # From List Calendar Users; NULL while no list has named the user. The address is the last one
    # known, since who is disconnected has none any more.
    email: Mapped[str | None] = mapped_column(index=True, info=at_most(320))
    google_connected: Mapped[bool | None]
    microsoft_connected: Mapped[bool | None]
    seen_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]

    # In the indexes' own words, so that the databases use them.
    IS_DISCONNECTED: ClassVar = (
        "seen_at IS NOT NULL AND gone_at IS NULL"
        " AND google_connected IS NOT TRUE AND microsoft_connected IS NOT TRUE"
    )
    IS_GONE: ClassVar = "gone_at IS NOT NULL"

    __table_args__ = (
        Index(None, "seen_at", "id"),
        Index(
            "ix_calendar_users_disconnected",
            "id",
            postgresql_where=text(IS_DISCONNECTED),
            sqlite_where=text(IS_DISCONNECTED),
        ),
        Index(
            "ix_calendar_users_gone",
            "id",
            postgresql_where=text(IS_GONE),
            sqlite_where=text(IS_GONE),
        ),
    )


class CalendarMeeting(Base):
    """One meeting in one user's calendar, with why its details are missing where they are."""

    __tablename__ = "calendar_meetings"

    id: Mapped[str] = mapped_column(primary_key=True)
    # No foreign key: rows come in any order, and erasing a user must not fail on history.
    calendar_user_id: Mapped[str | None]
    # The meeting's own times once it was found; until then those in the bot's body.
    start_time: Mapped[datetime]
    end_time: Mapped[datetime]
    state: Mapped[str]
    reason: Mapped[str | None]
    title: Mapped[str | None] = mapped_column(info=at_most(LONGEST_TEXT))
    # What title search goes by, and the title that it was made of: while the two titles differ,
    # somebody who does not know of words (an old release) wrote the row, and a worker makes them.
    title_words: Mapped[str | None] = mapped_column(WordList, default=default_words)
    indexed_title: Mapped[str | None] = mapped_column(default=default_title)
    # An index of PostgreSQL takes 2,704 bytes, a character up to four; a sender picks this.
    ical_uid: Mapped[str | None] = mapped_column(index=True, info=at_most(600))
    # Equal for every user's copy of one meeting; None where nothing tells copies apart from others.
    meeting_key: Mapped[str | None] = mapped_column(info=at_most(32))
    organizer_email: Mapped[str | None]
    calendar_platform: Mapped[str | None]
    meeting_platform: Mapped[str | None] = mapped_column(info=at_most(LONGEST_TEXT))
    is_recurring: Mapped[bool | None]
    is_external: Mapped[bool | None]
    is_hosted_by_me: Mapped[bool | None]
    will_record: Mapped[bool | None]
    will_record_reason: Mapped[str | None]
    attendees: Mapped[list[dict[str, Any]] | None]
    details: Mapped[dict[str, Any] | None]
    fetched_at: Mapped[datetime | None]

    # In the index's own words, or a question would not be known to imply its predicate.
    IS_KEYLESS: ClassVar = "ical_uid <> '' AND meeting_key IS NULL"

    # On SQLite a full-text table beside this one is kept by triggers: see the migrations.
    __table_args__ = (
        Index(None, "start_time", "id"),
        Index(
            "ix_calendar_meetings_title_words",
            "title_words",
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
            info={"dialect": "postgresql"},
        ).ddl_if(dialect="postgresql"),
        Index(
            "ix_calendar_meetings_title_unindexed",
            "id",
            postgresql_where=text("title IS DISTINCT FROM indexed_title"),
            sqlite_where=text("title IS NOT indexed_title"),
        ),
        Index(
            None,
            "meeting_key",
            postgresql_where=text("meeting_key IS NOT NULL"),
            sqlite_where=text("meeting_key IS NOT NULL"),
        ),
        Index(
            "ix_calendar_meetings_keyless",
            "id",
            postgresql_where=text(IS_KEYLESS),
            sqlite_where=text(IS_KEYLESS),
        ),
    )


class MeetingPerson(Base):
    """Who a meeting can be looked up by: organiser and attendees, lower-cased."""

    __tablename__ = "meeting_people"

    meeting_id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(primary_key=True, index=True, info=at_most(320))


class CalendarToken(Base):
    """One user's calendar token, encrypted; the id it is for is kept as a hash."""

    __tablename__ = "calendar_tokens"

    external_id_hash: Mapped[str] = mapped_column(primary_key=True)
    ciphertext: Mapped[bytes]
    fingerprint: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ErasedUser(Base):
    """A tombstone: no worker asks a token for this user, since asking would create it again."""

    __tablename__ = "erased_users"

    external_id_hash: Mapped[str] = mapped_column(primary_key=True)
    erased_at: Mapped[datetime]
    reason: Mapped[str]
    lifted_at: Mapped[datetime | None]
