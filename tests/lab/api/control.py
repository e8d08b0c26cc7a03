"""The lab's own doors under /_lab/: change and read the fake from another process."""

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

from tests.lab.api.answers import json_answer, not_found
from tests.lab.api.front import Desk
from tests.lab.faults.faults import from_json
from tests.lab.http.wire import Request, Response
from tests.lab.world.builders import Builder
from tests.lab.world.snapshot import dump, load, plain

PREFIX = "/_lab/"
TOKEN_HEADER = "x-lab-token"
MUTATIONS = frozenset(
    {
        *("connect", "disconnect", "delete_user", "set_preferences", "override_should_record"),
        *("reschedule", "remove_meeting", "refer", "drop_meeting", "change_status", "remove_bot"),
        *("revoke_tokens", "expire_tokens", "purge_old_meetings", "rename_user", "clear"),
    }
)
# These may be told the external_id in place of the user_id.
OF_A_USER = frozenset({"connect", "disconnect", "delete_user", "set_preferences"})
TIMES = frozenset({"start_time", "end_time", "at"})


class Counted(Protocol):
    """Whatever knows how many connections are open."""

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""


class Control:
    """Answers /_lab/… for whoever is on this machine and shows the control token."""

    def __init__(self, desk: Desk, token: str, server: Counted) -> None:
        self._desk = desk
        self._token = token
        self._server = server
        self._doors: dict[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "world"): lambda _: dump(desk.world),
            ("POST", "world"): self._add_world,
            ("PUT", "world"): self._replace_world,
            ("POST", "populate"): self._populate,
            ("POST", "mutate"): self._mutate,
            ("GET", "faults"): lambda _: desk.faults.listing(),
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "calls"): self._calls,
            ("DELETE", "calls"): lambda _: desk.calls.clear(),
            ("GET", "stats"): lambda _: self._stats(),
            ("GET", "settings"): lambda _: self._settings(),
            ("PATCH", "settings"): self._set,
        }

    def answer(self, request: Request) -> Response:
        """Answer one request: 403 to strangers, 404 for no such door, 400 for bad JSON."""
        if not (_is_loopback(request.peer[0]) and self._knows(request)):
            return json_answer({"detail": "The lab's token is missing or wrong."}, 403)
        name = request.path.removeprefix(PREFIX).strip("/")
        door = self._doors.get((request.method, name))
        if door is None:
            return not_found()
        try:
            with self._desk.world.lock:
                return json_answer(plain(door(request)))
        except (LookupError, TypeError, ValueError) as error:
            return json_answer({"detail": f"{type(error).__name__}: {error}"}, 400)

    def _knows(self, request: Request) -> bool:
        given = request.headers.get(TOKEN_HEADER, "").encode("latin-1", "replace")
        return hmac.compare_digest(given, self._token.encode())

    def _add_world(self, request: Request) -> object:
        load(self._desk.world, request.json())
        return self._desk.world.counts()

    def _replace_world(self, request: Request) -> object:
        self._desk.world.clear()
        return self._add_world(request)

    def _populate(self, request: Request) -> object:
        wanted = request.json()
        builder = Builder(self._desk.world, wanted.get("seed", 0))
        bots = builder.populate(wanted.get("bots", 1), outcome=wanted.get("outcome", "done"))
        return {"bots": [bot.id for bot in bots]}

    def _mutate(self, request: Request) -> object:
        wanted: dict[str, Any] = request.json()
        name = wanted.pop("do", None)
        if name not in MUTATIONS:
            raise ValueError(f"cannot do {name!r}; one of {', '.join(sorted(MUTATIONS))}")
        if name in OF_A_USER and "external_id" in wanted:
            wanted["user_id"] = self._user_id(wanted.pop("external_id"))
        result = getattr(self._desk.world, name)(**_arguments(wanted))
        return {"result": result}

    def _user_id(self, external_id: str) -> str:
        user = self._desk.world.user_named(external_id)
        if user is None:
            raise LookupError(f"no calendar user {external_id!r}")
        return user.id

    def _add_fault(self, request: Request) -> object:
        return {"name": self._desk.faults.add(from_json(request.json()))}

    def _clear_faults(self, request: Request) -> object:
        names = [value for name, value in request.query if name == "name"]
        for name in names:
            self._desk.faults.remove(name)
        if not names:
            self._desk.faults.clear()
        return self._desk.faults.listing()

    def _calls(self, request: Request) -> object:
        asked = dict(request.query)
        calls = self._desk.calls.all(asked.get("template"), about=asked.get("about"))
        return [asdict(call) for call in calls[-int(asked.get("limit", "1000")) :]]

    def _stats(self) -> object:
        return {
            "calls": self._desk.calls.counts(),
            "open_connections": self._server.open_connections,
            "in_flight": self._desk.in_flight,
            **self._desk.world.counts(),
        }

    def _settings(self) -> dict[str, Any]:
        desk = self._desk
        return {
            "latency_ms": desk.latency_ms,
            "limits": desk.limits.on,
            "limits_scale": desk.limits.scale,
            "page_size": desk.bots.page_size,
            "list_page_size": desk.world.list_page_size,
            "keeps_references": desk.world.keeps_references,
        }

    def _set(self, request: Request) -> object:
        wanted: Mapping[str, Any] = request.json()
        desk = self._desk
        places: dict[str, tuple[object, str]] = {
            "latency_ms": (desk, "latency_ms"),
            "limits": (desk.limits, "on"),
            "limits_scale": (desk.limits, "scale"),
            "page_size": (desk.bots, "page_size"),
            "list_page_size": (desk.world, "list_page_size"),
            "keeps_references": (desk.world, "keeps_references"),
        }
        for name, value in wanted.items():
            owner, attribute = places[name]
            setattr(owner, attribute, value)
        return self._settings()


def _arguments(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name in TIMES and value else value
        for name, value in wanted.items()
    }


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
