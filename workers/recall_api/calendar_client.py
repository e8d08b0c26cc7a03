"""Recall's Calendar V1 endpoints, one method each. Failures are RecallErrors."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlencode

from workers.rate_limits.buckets import Buckets, Limits
from workers.recall_api.calendar_schemas import (
    CalendarUser,
    ListedMeeting,
    read_meetings,
    read_user,
    read_users,
)
from workers.recall_api.client import Ask, Call, Recall, token_header
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.paging import read_all
from workers.recall_api.schemas import Body, read_object
from workers.recall_api.turns import Turns

# How long one call waits for its turn, unless the caller has more time.
PATIENCE_SECONDS = 3.0
# For all pages of one list: shorter than the lease of the nightly check.
LIST_SECONDS = 300.0
MOST_PAGES = 1000


@dataclass(frozen=True, slots=True)
class UserToken:
    """A calendar user's token and the external_id it was requested for; never printed."""

    external_id: str
    token: str = field(repr=False)


class CalendarClient:
    """Calendar V1 over one connection; each call waits for its turn at most `patience` seconds.

    No page of a list is requested after `list_seconds`.
    """

    def __init__(
        self,
        recall: Recall,
        limits: Limits,
        buckets: Buckets,
        *,
        patience: float = PATIENCE_SECONDS,
        list_seconds: float = LIST_SECONDS,
    ) -> None:
        self._recall = recall
        self._list_seconds = list_seconds
        self._buckets = buckets
        self._turns = Turns(limits, patience=patience)

    @property
    def calls(self) -> list[Call]:
        """Every call so far, without headers, bodies or anybody's id."""
        return self._recall.calls

    def authenticate(self, external_id: str) -> UserToken:
        """Request a token, valid for 24 h; creates an unknown user.

        https://docs.recall.ai/reference/calendar_authenticate_create
        """
        ask = self._recall.authenticate
        return UserToken(
            external_id,
            self._turns.call(
                Endpoint.AUTHENTICATE, self._buckets.authenticate, lambda: ask(external_id)
            ),
        )

    def user(self, token: UserToken) -> CalendarUser:
        """Retrieve the user (https://docs.recall.ai/reference/calendar_user_retrieve)."""
        return read_user(
            self._object(Ask(Endpoint.USER, _path(Endpoint.USER)), token), Endpoint.USER
        )

    def meetings(
        self,
        token: UserToken,
        after: datetime | None = None,
        before: datetime | None = None,
        *,
        ical_uid: str | None = None,
    ) -> tuple[ListedMeeting, ...]:
        """List meetings by their start, the newest 60 days and the next 4 weeks at most.

        https://docs.recall.ai/reference/calendar_meetings_list
        """
        given = {
            "start_time_after": after.isoformat() if after else None,
            "start_time_before": before.isoformat() if before else None,
            "ical_uid": ical_uid,
        }
        query = urlencode({name: value for name, value in given.items() if value is not None})
        ask = Ask(Endpoint.MEETINGS, _path(Endpoint.MEETINGS, query))
        return read_meetings(self._whole(ask, lambda page: self._as_user(page, token)))

    def refresh(self, token: UserToken) -> tuple[ListedMeeting, ...]:
        """Have Recall read the calendars again, which it also does by itself.

        https://docs.recall.ai/reference/calendar_meetings_refresh_create
        """
        ask = Ask(Endpoint.REFRESH, _path(Endpoint.REFRESH), "POST")
        # One page only: requesting a second one would refresh again.
        return read_meetings(self._whole(ask, lambda page: self._as_user(page, token), most=1))

    def disconnect(self, token: UserToken, platform: str) -> CalendarUser:
        """Disconnect one platform (https://docs.recall.ai/reference/calendar_user_disconnect_create)."""
        ask = Ask(Endpoint.DISCONNECT, _path(Endpoint.DISCONNECT), "POST", {"platform": platform})
        return read_user(self._object(ask, token), ask.endpoint)

    def delete(self, token: UserToken) -> None:
        """Delete the user with every calendar (https://docs.recall.ai/reference/calendar_user_destroy)."""
        self._as_user(Ask(Endpoint.USER, _path(Endpoint.USER), "DELETE"), token)

    def users(self, email: str | None = None) -> tuple[CalendarUser, ...]:
        """List the workspace's users (https://docs.recall.ai/reference/calendar_users_list)."""
        query = urlencode({"email": email}) if email is not None else ""
        ask = Ask(Endpoint.USERS, _path(Endpoint.USERS, query))
        return read_users(self._whole(ask, self._by_key))

    def _whole(
        self, ask: Ask, call: Callable[[Ask], bytes], most: int = MOST_PAGES
    ) -> tuple[Body, ...]:
        until = time.monotonic() + self._list_seconds

        def page(path: str) -> bytes:
            if time.monotonic() >= until:
                detail = f"the list was not read in {self._list_seconds:g} s"
                raise RecallError(Fault.TIMEOUT, ask.endpoint, detail=detail)
            return call(replace(ask, path=path))

        return read_all(page, ask.path, self._recall.base_url, ask.endpoint, most)

    def _object(self, ask: Ask, token: UserToken) -> Body:
        return read_object(self._as_user(ask, token), ask.endpoint)

    def _by_key(self, ask: Ask) -> bytes:
        bucket, header = self._buckets.users_list, self._recall.key_header()
        return self._turns.call(ask.endpoint, bucket, lambda: self._recall.call(ask, header))

    def _as_user(self, ask: Ask, token: UserToken) -> bytes:
        bucket, header = self._buckets.of_user(token.external_id), token_header(token.token)
        return self._turns.call(ask.endpoint, bucket, lambda: self._recall.call(ask, header))


def _path(endpoint: Endpoint, query: str = "") -> str:
    return f"{endpoint}/?{query}" if query else f"{endpoint}/"
