"""The whole world as JSON, out and in again: what the control endpoint speaks."""

import types
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tests.lab.world.shapes import Bot, CalendarMeeting, CalendarUser
from tests.lab.world.world import World

T = TypeVar("T")


def dump(world: World) -> dict[str, Any]:
    """Return `{"users": […], "meetings": […], "bots": […]}` with the dataclasses' field names."""
    with world.lock:
        return {
            "users": [plain(user) for user in world.users.values()],
            "meetings": [plain(meeting) for meeting in world.meetings.values()],
            "bots": [plain(bot) for bot in world.bots.values()],
        }


def load(world: World, data: Mapping[str, Any]) -> None:
    """Add what `dump` wrote; an unknown field is KeyError, a missing one TypeError."""
    users = [revive(CalendarUser, item) for item in data.get("users", ())]
    meetings = [revive(CalendarMeeting, item) for item in data.get("meetings", ())]
    bots = [revive(Bot, item) for item in data.get("bots", ())]
    with world.lock:
        for user in users:
            world.add_user(user)
        for meeting in meetings:
            world.add_meeting(meeting)
        for bot in bots:
            world.add_bot(bot)


def revive(kind: type[T], data: Mapping[str, Any]) -> T:
    """Return a dataclass from its JSON, nested ones and times included."""
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in data.items()})


def _value(hint: object, value: object) -> object:
    if value is None:
        return None
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(part for part in get_args(hint) if part is not types.NoneType)
    if get_origin(hint) is list and isinstance(value, list):
        return [_value(get_args(hint)[0], item) for item in value]
    if hint is datetime and isinstance(value, str):
        return datetime.fromisoformat(value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        return revive(hint, value)
    return value


def plain(value: object) -> object:
    """Return dataclasses, times and collections of them as what JSON can hold."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
