"""Recall's API, one method for each endpoint. Calls are recorded; failures are RecallErrors."""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from models.core.sanitize import storable
from workers.recall_api.errors import Endpoint, Fault, RecallError
from workers.recall_api.meeting_secrets import without_secrets
from workers.recall_api.schemas import (
    BotBody,
    MeetingBody,
    read_bot,
    read_meeting,
    read_object,
    read_token,
)
from workers.recall_api.transport import Answer, BodyTooLargeError

CALL_SECONDS = 15.0
CLOCK_SLACK_SECONDS = 0.05
DETAIL_LIMIT = 500
_SECONDS = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
_FAULTS = {
    402: Fault.WORKSPACE,
    404: Fault.NOT_FOUND,
    408: Fault.TIMEOUT,
    409: Fault.BUSY,
    425: Fault.BUSY,
    429: Fault.RATE_LIMITED,
}


class HttpCaller(Protocol):
    """What makes a call: an HttpClient, or a fake."""

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: object = None,
        *,
        seconds: float,
    ) -> Answer:
        """Make one call of at most `seconds`."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is recorded: without headers, body and external_id."""

    method: str
    path: str
    about: str | None
    status: int | None
    ms: int
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it as stored in `link_attempts.calls`."""
        return {name: getattr(self, name) for name in _CALL_FIELDS}


# Not `asdict`, whose deep copies would take a tenth of the time of a save.
_CALL_FIELDS = tuple(field.name for field in fields(Call))


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: an endpoint, its path under /api/v1/, and the meeting it is about."""

    endpoint: Endpoint
    path: str
    method: str = "GET"
    json: object = None
    about: str | None = None


class Recall:
    """Recall's API with our key; records its calls, each of which takes `seconds` at most.

    `until` is the monotonic time at which every call ends (Fault.CUT), so that a drain can end.
    """

    def __init__(
        self,
        wire: HttpCaller,
        base_url: str,
        api_key: str,
        *,
        until: float = math.inf,
        seconds: float = CALL_SECONDS,
    ) -> None:
        self._wire = wire
        self.base_url = base_url
        self._api = f"{base_url}/api/v1"
        self._api_key = api_key
        self._until = until
        self._seconds = seconds
        self.calls: list[Call] = []

    def bot(self, bot_id: str) -> BotBody:
        """Retrieve a bot (https://docs.recall.ai/reference/bot_retrieve)."""
        ask = Ask(Endpoint.BOT, f"bot/{_escape(bot_id)}/")
        return read_bot(read_object(self.call(ask, self.key_header()), Endpoint.BOT), bot_id)

    def authenticate(self, external_id: str) -> str:
        """Request a calendar token; creates an unknown user.

        https://docs.recall.ai/reference/calendar_authenticate_create
        """
        ask = Ask(Endpoint.AUTHENTICATE, "calendar/authenticate/", "POST", {"user_id": external_id})
        return read_token(read_object(self.call(ask, self.key_header()), ask.endpoint))

    def meeting(self, meeting_id: str, token: str) -> MeetingBody:
        """Retrieve a meeting (https://docs.recall.ai/reference/calendar_meetings_retrieve)."""
        path = f"calendar/meetings/{_escape(meeting_id)}/"
        ask = Ask(Endpoint.MEETING, path, about=meeting_id)
        raw = self.call(ask, token_header(token))
        return read_meeting(read_object(raw, Endpoint.MEETING), meeting_id)

    def key_header(self) -> dict[str, str]:
        """Return the header of the workspace's API key."""
        # Newer pages show the bare key; old and new workspaces accept this form.
        return {"authorization": f"Token {self._api_key}"}

    def call(self, ask: Ask, headers: Mapping[str, str]) -> bytes:
        """Make one call and return its body; RecallError for anything but a success."""
        started = time.monotonic()
        status, error = None, None
        try:
            answer = self._send(ask, headers)
            status = answer.status
            # Only a deletion may have no body.
            is_deleted = ask.method == "DELETE" and status == 204
            failure = failure_of(answer, ask.endpoint, hide=tuple(headers.values()))
            if failure and not is_deleted:
                raise failure
        except RecallError as raised:
            error = raised.reason
            raise
        else:
            return answer.body
        finally:
            ms = round((time.monotonic() - started) * 1000)
            self.calls.append(Call(ask.method, str(ask.endpoint), ask.about, status, ms, error))

    def _send(self, ask: Ask, headers: Mapping[str, str]) -> Answer:
        endpoint, url = ask.endpoint, f"{self._api}/{ask.path}"
        left = self._until - time.monotonic()
        if left <= 0:
            raise RecallError(Fault.CUT, endpoint)
        # No call may outlive the drain, since its result could not be saved.
        seconds = min(self._seconds, left)
        try:
            return self._wire.call(ask.method, url, headers, ask.json, seconds=seconds)
        # Timeouts first, since they are transport errors too.
        except httpx.TimeoutException as error:
            # Cut by the end of the drain: neither Recall's fault nor an attempt.
            is_cut = time.monotonic() >= self._until - CLOCK_SLACK_SECONDS
            fault = Fault.CUT if is_cut else Fault.TIMEOUT
            raise RecallError(fault, endpoint, detail=type(error).__name__) from None
        except httpx.TransportError as error:
            detail = storable(f"{type(error).__name__}: {error}", DETAIL_LIMIT)
            raise RecallError(Fault.NETWORK, endpoint, detail=detail) from None
        except BodyTooLargeError:
            raise RecallError(Fault.TOO_LARGE, endpoint, detail="body over the limit") from None


def token_header(token: str) -> dict[str, str]:
    """Return the header of a calendar user's token."""
    return {"x-recallcalendarauthtoken": token}


def failure_of(answer: Answer, endpoint: Endpoint, hide: tuple[str, ...]) -> RecallError | None:
    """Return the error of an answer; None for a 200.

    Bodies of errors are not always JSON (https://docs.recall.ai/reference/errors); `hide` is
    taken out of what is kept of them, since an answer may echo a header.
    """
    # Only 200: these endpoints document no other success, and a 204 has no body.
    if answer.status == 200:
        return None
    return RecallError(
        _fault_of(answer, endpoint),
        endpoint,
        status=answer.status,
        retry_after=parse_retry_after(answer.headers.get("retry-after"), datetime.now(UTC)),
        detail=_excerpt(answer.body, hide),
    )


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read Retry-After, seconds or an HTTP date, as seconds from now; None for anything else."""
    if value is None:
        return None
    if _SECONDS.match(value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        # A date with -0000 is parsed as naive; HTTP dates are always GMT.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _fault_of(answer: Answer, endpoint: Endpoint) -> Fault:
    status = answer.status
    # Other 2xx have no documented body; unknown statuses below 500 are not retried.
    if status in (401, 403):
        return _refusal_of(answer, endpoint)
    if status in _FAULTS:
        return _FAULTS[status]
    if status >= 500:
        return Fault.SERVER
    return Fault.UNREADABLE if 200 <= status < 300 else Fault.REFUSED


def _refusal_of(answer: Answer, endpoint: Endpoint) -> Fault:
    # HTML is from the firewall in front of Recall, which filters by address.
    if answer.status == 403 and _is_html(answer):
        return Fault.WORKSPACE
    if not endpoint.by_api_key:
        return Fault.TOKEN_REFUSED
    return Fault.WORKSPACE if answer.status == 401 else Fault.REFUSED


def _is_html(answer: Answer) -> bool:
    return "html" in answer.headers.get("content-type", "") or answer.body.lstrip()[:1] == b"<"


def _excerpt(body: bytes, hide: tuple[str, ...]) -> str:
    # At most four bytes a character, so this is enough for the excerpt.
    text = body[: 4 * DETAIL_LIMIT].decode("utf-8", errors="replace")
    for secret in hide:
        text = text.replace(secret.removeprefix("Token "), "…")
    # An answer may also quote a meeting's URL, with its password.
    return storable(without_secrets(text), DETAIL_LIMIT)


def _escape(identifier: str) -> str:
    # Dots too, which `quote` leaves: ".." would remove the last segment of the path.
    return quote(identifier, safe="").replace(".", "%2E")
