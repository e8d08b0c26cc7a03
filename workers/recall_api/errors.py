"""What can go wrong between us and Recall, as values that know whether waiting helps."""

from enum import StrEnum


class Endpoint(StrEnum):
    """A Recall endpoint, by the path template that is logged for it."""

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
        """Whether the API key, not a calendar user's token, opens it."""
        return self in _BY_API_KEY


_BY_API_KEY = frozenset({Endpoint.BOT, Endpoint.AUTHENTICATE, Endpoint.USERS, Endpoint.BOTS})


class Fault(StrEnum):
    """The kinds of failure that are told apart, because what follows differs."""

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


# By exclusion: a fault that is added later is retried until somebody decides otherwise.
_WAITING_HELPS = frozenset(Fault) - {
    Fault.REFUSED,
    Fault.WRONG_BODY,
    Fault.TOO_LARGE,
    Fault.TOKEN_REFUSED,
}


class RecallError(Exception):
    """One call that gave no usable answer."""

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
        """Whether the same call may succeed later without anybody's hand."""
        return self.fault in _WAITING_HELPS

    @property
    def reason(self) -> str:
        """The failure in one word, for columns and filters: `http_503`, `timeout`, ..."""
        if self.fault is Fault.NOT_FOUND and self.endpoint is Endpoint.BOT:
            return "bot_not_found"
        # A 200 that cannot be used is told by its fault: `unreadable`, `wrong_body`.
        if self.status is not None and self.status != 200:
            # The number is what people look for in Recall's documentation and in its dashboard.
            return f"http_{self.status}"
        return str(self.fault)

    def __str__(self) -> str:
        return f"{self.reason}: {self.endpoint}" + (f": {self.detail}" if self.detail else "")
