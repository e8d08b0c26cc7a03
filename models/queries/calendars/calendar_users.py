"""Calendar users as List Calendar Users last had them: who is connected, who is gone."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import Field
from sqlalchemy import Connection, select, text

from models.queries.filters import Email, ExternalId, Filter
from models.queries.pagination import Listing, Query
from models.queries.views import CALENDAR_USERS
from models.tables.calendar import CalendarUser

_USERS = CALENDAR_USERS.c


@dataclass(frozen=True, slots=True)
class CalendarUserRow:
    """One row of the view calendar_user_list."""

    calendar_user_id: str
    external_id: str | None
    email: str | None
    google_connected: bool | None
    microsoft_connected: bool | None
    seen_at: datetime | None
    gone_at: datetime | None


class CalendarUserFilter(Filter):
    """Which calendar users: by name, address, or whether a calendar is connected."""

    external_id: ExternalId | None = Field(None, description="the calendar user, as you named them")
    email: Email | None = Field(None, description="the address of their calendar, in any case")
    disconnected: bool = Field(default=False, description="only users without a connected calendar")
    gone: bool = Field(default=False, description="only users whom Recall does not have any more")


def calendar_users(wanted: CalendarUserFilter) -> Listing[CalendarUserRow]:
    """List calendar users by their id, since one night's list sees them all at the same time."""
    query: Query = select(CALENDAR_USERS)
    for name in ("external_id", "email"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(_USERS[name] == value)
    if wanted.disconnected:
        query = query.where(text(CalendarUser.IS_DISCONNECTED))
    if wanted.gone:
        query = query.where(text(CalendarUser.IS_GONE))
    return Listing(query, (_USERS.calendar_user_id,), CalendarUserRow)


def users_of(connection: Connection, external_id: str) -> list[CalendarUserRow]:
    """Return every calendar user that ever had this external_id."""
    named = select(CALENDAR_USERS).where(_USERS.external_id == external_id)
    found = connection.execute(named.order_by(_USERS.calendar_user_id))
    return [CalendarUserRow(*row) for row in found]
