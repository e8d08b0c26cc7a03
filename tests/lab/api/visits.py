"""One visit of a client to an endpoint: what it asked for and as whom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from tests.lab.http.wire import Request, Response
from tests.lab.world.shapes import CalendarUser

Needs = Literal["key", "token", "nothing"]


class InvalidError(Exception):
    """A field of the request is no good; becomes a 400 that names it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers one method of a path; `per_minute` None for no limit."""

    answer: "Callable[[Visit], Response]"
    per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A path template and who may use it: an API key, a calendar token, or anybody."""

    template: str
    needs: Needs
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)


@dataclass(slots=True)
class Visit:
    """One request on its way: `item` is the id in the path, `user` whom the token speaks for."""

    request: Request
    route: Route
    item: str = ""
    user: CalendarUser | None = None
    about: str = ""

    @property
    def caller(self) -> CalendarUser:
        """The calendar user; only behind a route that needs a token."""
        if self.user is None:
            raise LookupError("this route knows no calendar user")
        return self.user

    def parameter(self, name: str) -> str | None:
        """Return the first query parameter of that name."""
        return next((value for key, value in self.request.query if key == name), None)

    def time(self, name: str) -> datetime | None:
        """Return a date-time parameter, None when absent; InvalidError when it is none."""
        text = self.parameter(name)
        if text is None:
            return None
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise InvalidError(name, "Not a date-time.") from error
        if at.tzinfo is None:
            raise InvalidError(name, "A date-time needs its zone.")
        return at

    def fields(self) -> dict[str, Any]:
        """Return the JSON object of the body; InvalidError when it is none."""
        try:
            body = self.request.json()
        except ValueError as error:
            raise InvalidError("detail", "The body is no JSON.") from error
        if not isinstance(body, dict):
            raise InvalidError("non_field_errors", "The body is no JSON object.")
        return body
