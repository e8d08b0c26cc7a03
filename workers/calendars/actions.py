"""An operator's actions on one calendar user: show, refresh, disconnect, delete.

Requesting a token creates a user that does not exist, so each action first looks for the user in
Recall's list. Our tables may still have a user who was deleted at Recall.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select

from models.tables.calendar import CalendarUser as KnownUser
from models.tables.link import Link
from workers.calendar_tokens.crypto import Vault
from workers.calendar_tokens.session import CalendarUsers
from workers.calendars.user_list import keep_users, mark_gone, time_of_list
from workers.db.audit import audit
from workers.db.transactions import in_transaction
from workers.linking.leases import Lease, leases
from workers.privacy.erase import annotate_meetings, batches
from workers.privacy.tombstones import (
    DELETED,
    add_tombstone,
    is_erased,
    refuse_erased,
    remove_tombstone,
)
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.calendar_schemas import CalendarUser, ListedMeeting

# A drain that checked before the tombstone may request tokens until it ends, after 20 s.
LONGEST_DRAIN = 25.0
POLL_SECONDS = 0.2


class UnknownUserError(Exception):
    """Recall has no calendar user with this external_id, and a token would create one."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A calendar user was deleted at Recall, and `links` of theirs were marked."""

    external_id: str
    links: int


class CalendarUserActions:
    """Acts on one calendar user at a time; changes are audited under `actor`.

    Raises UnknownUserError, UserErasedError, or RecallError.
    """

    def __init__(self, engine: Engine, vault: Vault, client: CalendarClient, actor: str) -> None:
        self._engine = engine
        self._client = client
        self._users = CalendarUsers(engine, vault, client)
        self._actor = actor

    def user(self, external_id: str) -> CalendarUser:
        """Return the user as Recall has them now; needs no token."""
        # From the list: GET user needs a token, which would create the user.
        self._refuse_erased(external_id)
        return self._listed(external_id)

    def meetings(
        self, external_id: str, after: datetime | None = None, before: datetime | None = None
    ) -> tuple[ListedMeeting, ...]:
        """Return the user's meetings by their start."""
        self.user(external_id)
        return self._users.act(
            external_id, lambda token: self._client.meetings(token, after, before)
        )

    def refresh(self, external_id: str) -> tuple[ListedMeeting, ...]:
        """Have Recall read the calendars again, and return the meetings."""
        self.user(external_id)
        found = self._users.act(external_id, self._client.refresh)
        self._note("calendar refresh", external_id, meetings=len(found))
        return found

    def disconnect(self, external_id: str, platform: str) -> CalendarUser:
        """Disconnect one platform; the user, and the other platform, stay."""
        self.user(external_id)
        at = time_of_list(self._engine)
        left = self._users.act(external_id, lambda token: self._client.disconnect(token, platform))
        keep_users(self._engine, [left], at)
        self._note("calendar disconnect", external_id, platform=platform)
        return left

    def delete(self, external_id: str) -> Deleted:
        """Delete the user and their calendars, and keep late webhooks from creating them again.

        Deletes an erased user too, while Recall still lists them.
        """
        self._listed(external_id)
        # The tombstone first: a webhook that arrives in between must find it.
        with self._engine.begin() as connection:
            was_erased = is_erased(connection, external_id)
        in_transaction(
            self._engine, lambda connection: add_tombstone(connection, external_id, DELETED)
        )
        try:
            self._wait_for_drains()
            self._client.delete(self._client.authenticate(external_id))
        except Exception:
            # The user still exists, so their meetings must still be fetched.
            if not was_erased:
                in_transaction(self._engine, lambda c: remove_tombstone(c, external_id))
            raise
        links = in_transaction(self._engine, lambda c: self._end(c, external_id))
        self._note("calendar delete-user", external_id, links=links)
        return Deleted(external_id, links)

    def _refuse_erased(self, external_id: str) -> None:
        with self._engine.begin() as connection:
            refuse_erased(connection, external_id)

    def _listed(self, external_id: str) -> CalendarUser:
        at = time_of_list(self._engine)
        for user in self._client.users():
            if user.external_id == external_id:
                keep_users(self._engine, [user], at)
                return user
        raise UnknownUserError(external_id)

    def _wait_for_drains(self) -> None:
        give_up_at = time.monotonic() + LONGEST_DRAIN
        # Only for these leases: a drain that claims later sees the tombstone.
        held = self._leases()
        while held and time.monotonic() < give_up_at:
            time.sleep(POLL_SECONDS)
            held &= self._leases()

    def _leases(self) -> frozenset[Lease]:
        with self._engine.begin() as connection:
            return leases(connection)

    def _end(self, connection: Connection, external_id: str) -> int:
        mark_gone(connection, KnownUser.external_id == external_id)
        theirs = select(Link.meeting_id).where(Link.external_id == external_id).distinct()
        meetings = list(connection.scalars(theirs))
        return sum(annotate_meetings(connection, part, external_id) for part in batches(meetings))

    def _note(self, action: str, external_id: str, **details: object) -> None:
        with self._engine.begin() as connection:
            audit(connection, self._actor, action, external_id, details)
