"""Errors of calls to Recall, and whether waiting helps."""

from enum import StrEnum


class Endpoint(StrEnum):
    """A Recall endpoint, as the path template that is logged."""

    BOT = "bot/{id}"
    AUTHENTICATE = "calendar/authenticate"
    MEETING = "calendar/meetings/{id}"
    MEETINGS = "calendar/meetings"
    REFRESH = "calendar/meetings/refresh"
    USER = "calendar/user"
    DISCONNECT = "calendar/user/disconnect"
    USERS = "calendar/users"
    BOTS = "bot"

    @property
    def by_api_key(self) -> bool:
        """Whether it takes the API key, and not a calendar user's token."""
        return self in _BY_API_KEY


_BY_API_KEY = frozenset({Endpoint.BOT, Endpoint.AUTHENTICATE, Endpoint.USERS, Endpoint.BOTS})


class Fault(StrEnum):
    """The kinds of failure that are handled differently."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    BUSY = "busy"
    SERVER = "server"
    UNREADABLE = "unreadable"
    RATE_LIMITED = "rate_limited"
    WORKSPACE = "workspace"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a word, not a secret
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    WRONG_BODY = "wrong_body"
    TOO_LARGE = "too_large"
    HELD = "held"
    CUT = "cut"
    INTERNAL = "internal"


# By exclusion, so that a new fault is retried by default.
_WAITING_HELPS = frozenset(Fault) - {
    Fault.REFUSED,
    Fault.WRONG_BODY,
    Fault.TOO_LARGE,
    Fault.TOKEN_REFUSED,
}


class RecallError(Exception):
    """A call without a usable answer."""

    def __init__(
        self,
        fault: Fault,
        endpoint: Endpoint,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(fault, endpoint, status, detail)
        self.fault = fault
        self.endpoint = endpoint
        self.status = status
        self.retry_after = retry_after
        self.detail = detail

    @property
    def waiting_helps(self) -> bool:
        """Whether the same call may succeed later by itself."""
        return self.fault in _WAITING_HELPS

    @property
    def reason(self) -> str:
        """The failure as one word, for columns and filters: `http_503` or `timeout`."""
        if self.fault is Fault.NOT_FOUND and self.endpoint is Endpoint.BOT:
            return "bot_not_found"
        # A 200 that cannot be used is named by its fault: `unreadable`, `wrong_body`.
        if self.status is not None and self.status != 200:
            # People search for the number in Recall's documentation and dashboard.
            return f"http_{self.status}"
        return str(self.fault)

    def __str__(self) -> str:
        return f"{self.reason}: {self.endpoint}" + (f": {self.detail}" if self.detail else "")
