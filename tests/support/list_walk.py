"""Every list, and each thing that can be asked of it: made from the registry, nothing by hand.

A filter is asked by values of its type, from the column it is about; what it should hold is told
by the rows themselves. A new list or filter is walked at once, or the walk says what it misses.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.queries.filters import BOT_ID_PATTERN, ERROR_PATTERN
from models.queries.metadata_filter import FIELD, PREFIX
from models.queries.registry import LISTS, ListKind
from models.queries.times import TIME_PATTERN
from tests.support.ids import new_id

Row = Mapping[str, Any]
Holds = Callable[[Row, str], bool]

FIELDS = [(kind, field) for kind in LISTS for field in kind.wanted.model_fields]
NAMES = [f"{kind.name}-{field}" for kind, field in FIELDS]

# The column that a filter is about, where it is not the one of the filter's name.
COLUMNS = {
    ("links", "email"): "organizer_email",
    ("links", "title"): "meeting_title",
    ("links", "status"): "bot_status",
    ("links", "sub_code"): "ended_sub_code",
    ("links", "platform"): "meeting_platform",
    ("links", "since"): "meeting_start",
    ("links", "until"): "meeting_start",
    ("links", "changed_since"): "updated_at",
    ("links", "current"): "ended_at",
    ("links", "metadata"): "bot_metadata",
    ("bots", "metadata"): "bot_metadata",
    ("bots", "status"): "bot_status",
    ("bots", "sub_code"): "ended_sub_code",
    ("bots", "error"): "last_error",
    ("bots", "due"): "due_at",
    ("bots", "overdue"): "due_at",
    ("bots", "in_progress"): "lease_until",
    ("bots", "since"): "first_seen_at",
    ("bots", "until"): "first_seen_at",
    ("failures", "since"): "last_seen_at",
    ("recordings", "status"): "recording_status",
    ("recordings", "since"): "seen_at",
    ("recordings", "until"): "seen_at",
    ("recordings", "expires_since"): "expires_at",
    ("recordings", "expires_until"): "expires_at",
    ("deliveries", "message_id"): "delivery_id",
    ("deliveries", "unapplied"): "applied_at",
    ("deliveries", "since"): "received_at",
    ("deliveries", "until"): "received_at",
    ("rejections", "unresolved"): "resolved_at",
    ("rejections", "since"): "received_at",
    ("rejections", "until"): "received_at",
    ("missed", "since"): "meeting_start",
    ("missed", "until"): "meeting_start",
    ("missed", "unresolved"): "resolved_at",
    ("reconciles", "since"): "started_at",
    ("reconciles", "until"): "started_at",
    ("calendar-users", "disconnected"): "google_connected",
    ("calendar-users", "gone"): "gone_at",
    ("findings", "since"): "starts_at",
    ("findings", "until"): "starts_at",
    ("audit", "since"): "at",
    ("audit", "until"): "at",
    ("events", "since"): "created_at",
    ("events", "until"): "created_at",
    ("events", "after"): "position",
    ("events", "endpoint"): "endpoints",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One filter of a list with one value, and which rows it should hold."""

    kind: ListKind
    field: str
    value: str
    holds: Callable[[Row], bool]

    @property
    def given(self) -> dict[str, str]:
        """The filter as a query string has it."""
        if self.field == FIELD:
            key, _, value = self.value.partition("=")
            return {PREFIX + key: value}
        return {self.field: self.value}

    @property
    def options(self) -> list[str]:
        """The filter as the command line has it."""
        flag = "--" + self.field.replace("_", "-")
        is_switch = self.kind.wanted.model_fields[self.field].annotation is bool
        return [flag] if is_switch else [f"{flag}={self.value}"]

    def expected(self, rows: list[Row]) -> list[Row]:
        """The rows of the whole list that it should hold."""
        return [row for row in rows if self.holds(row)]


def questions(kind: ListKind, field: str, rows: list[Row]) -> list[Question]:
    """Ask one filter by values that something has, and by one that nothing has."""
    schema = kind.wanted.model_json_schema()["properties"][field]
    forms = [schema, *schema.get("anyOf", [])]
    column = COLUMNS.get((kind.name, field), field)
    if column not in rows[0]:
        pytest.fail(f"say in COLUMNS which column {kind.name}.{field} is about")
    if field == FIELD:
        return _about_metadata(kind, rows)
    kept = sorted({row[column] for row in rows if row[column] is not None}, key=str)
    if not kept:
        pytest.fail(f"furnish rows that have a {column}, for {kind.name}.{field} to hold")
    holds = HOLDS.get((kind.name, field)) or _holds(forms, field, column)
    return [
        Question(kind, field, value, lambda row, value=value: holds(row, value))  # type: ignore[misc]
        for value in _values(forms, field, kept)
    ]


def _about_metadata(kind: ListKind, rows: list[Row]) -> list[Question]:
    """Ask for ordinary texts, for each odd key, and for what nothing has."""
    pairs = {pair for row in rows for pair in _texts(row)}
    asked = [*sorted(pairs, key=_oddness)[-6:], *sorted(pairs, key=str)[-3:], ("team", "none")]
    return [_about_pair(kind, pair) for pair in asked]


def _about_pair(kind: ListKind, pair: tuple[str, str]) -> Question:
    return Question(kind, FIELD, "=".join(pair), lambda row: pair in _texts(row))


def _texts(row: Row) -> list[tuple[str, str]]:
    """What can be asked for: texts under a key."""
    pairs = (row["bot_metadata"] or {}).items()
    return [(key, value) for key, value in pairs if key and isinstance(value, str)]


def _oddness(pair: tuple[str, str]) -> tuple[bool, int]:
    return not pair[0].isalnum(), len(pair[0])


def _values(  # noqa: C901, PLR0911 - a table of samples
    forms: list[Row], field: str, kept: list[Any]
) -> list[str]:
    choices = [str(value) for form in forms for value in _choices(form)]
    kinds = _kinds(forms)
    if choices:
        return choices
    if kinds == {"boolean"}:
        return ["true", "false"] if {"type": "null"} in forms else ["true"]
    if kinds == {"integer"}:
        return ["0", str(sorted(kept)[len(kept) // 2])]
    if kinds == {TIME_PATTERN}:
        return [kept[len(kept) // 2], _beyond(kept, field), "-36h"]
    if kinds == {"uuid"}:
        return [kept[0], kept[-1].upper(), new_id()]
    if kinds == {BOT_ID_PATTERN}:
        return [kept[0], kept[0][:8], kept[-1][:14].upper(), new_id()]
    if kinds == {ERROR_PATTERN}:
        return [*sorted({error.partition(":")[0] for error in kept}), "nothing_has_this"]
    if kinds == {"string"}:
        return [*_awkward(kept), "nothing-has-this"]
    pytest.fail(f"{field} is of a type that _values has no sample of: {kinds}")


def _kinds(forms: list[Row]) -> set[str]:
    kinds = (form.get("format", form.get("pattern", form.get("type"))) for form in forms)
    return {str(kind) for kind in kinds if kind not in (None, "null")}


def _choices(form: Row) -> list[Any]:
    return [form["const"]] if "const" in form else list(form.get("enum", []))


def _beyond(kept: list[str], field: str) -> str:
    if field.endswith("until"):
        return kept[0]
    return (datetime.fromisoformat(kept[-1]) + timedelta(days=1)).isoformat()


def _awkward(kept: list[str]) -> Iterator[str]:
    """The shortest, the longest, and whatever ends in blanks."""
    by_length = sorted(kept, key=len)
    yield by_length[0]
    yield by_length[-1]
    yield from [text for text in kept if text != text.strip()][:1]


def _holds(  # noqa: PLR0911 - a table of types
    forms: list[Row], field: str, column: str
) -> Holds:
    kinds = _kinds(forms)
    if "boolean" in kinds and {"type": "null"} in forms:
        return lambda row, value: row[column] is (value == "true")
    if "boolean" in kinds:
        return lambda row, _value: row[column] is None
    if TIME_PATTERN in kinds:
        return lambda row, value: _is_within(field, row[column], value)
    if "integer" in kinds:
        return lambda row, value: int(row[column]) > int(value)
    if "uuid" in kinds:
        return lambda row, value: bool(row[column] == str(UUID(value)))
    if BOT_ID_PATTERN in kinds:
        return lambda row, value: bool(row[column] and row[column].startswith(value.lower()))
    return lambda row, value: bool(row[column] == value)


def _is_within(field: str, kept: str | None, asked: str) -> bool:
    if not field.endswith(("since", "until")):
        pytest.fail(f"say in HOLDS what the time {field} means")
    if kept is None:
        return False
    found = datetime.fromisoformat(kept)
    is_relative = asked == "-36h"
    moment = (
        datetime.now(UTC) - timedelta(hours=36) if is_relative else datetime.fromisoformat(asked)
    )
    return found < moment if field.endswith("until") else found >= moment


def _has_words(row: Row, asked: str) -> bool:
    words = (row["meeting_title"] or "").casefold().split()
    return all(word in words for word in asked.casefold().split())


def _has_link_state(row: Row, asked: str) -> bool:
    state = row["link_state"]
    if asked == "failing":
        is_late = _is_past(row["owed_since"], 300)
        return state in ("failed", "partial") or (state == "pending" and is_late)
    return bool(state != "linked" if asked == "unlinked" else state == asked)


def _has_error(row: Row, asked: str) -> bool:
    is_failing = row["link_state"] in ("failed", "partial", "pending")
    return is_failing and (row["last_error"] or "unknown").partition(":")[0] == asked


def _is_past(moment: str | None, seconds: int) -> bool:
    before = datetime.now(UTC) - timedelta(seconds=seconds)
    return bool(moment and datetime.fromisoformat(moment) <= before)


def _is_in_progress(row: Row) -> bool:
    is_held = row["lease_until"] is not None and not _is_past(row["lease_until"], 0)
    return is_held and _is_past(row["due_at"], 0)


def _is_disconnected(row: Row, _asked: str) -> bool:
    is_connected = row["google_connected"] or row["microsoft_connected"]
    return bool(row["seen_at"] and not row["gone_at"] and not is_connected)


# What a filter holds, where that is more than its type says.
HOLDS: dict[tuple[str, str], Holds] = {
    ("links", "title"): _has_words,
    ("bots", "link_state"): _has_link_state,
    ("bots", "error"): _has_error,
    ("bots", "due"): lambda row, _asked: _is_past(row["due_at"], 0),
    ("bots", "overdue"): lambda row, _asked: _is_past(row["due_at"], 300),
    ("bots", "in_progress"): lambda row, _asked: _is_in_progress(row),
    ("deliveries", "unapplied"): lambda row, _asked: (
        row["applied_at"] is None and row["outcome"] == "accepted"
    ),
    ("calendar-users", "disconnected"): _is_disconnected,
    ("calendar-users", "gone"): lambda row, _asked: row["gone_at"] is not None,
    ("events", "endpoint"): lambda row, asked: asked in (row["endpoints"] or "").split(", "),
}


def identity(kind: ListKind, row: Row) -> tuple[str, ...]:
    """What tells a row of a list from its others, the same in JSON and in CSV."""
    names = [field.name for field in fields(kind.row)]
    ids = [name for name in names if name == "id" or name.endswith("_id")]
    return tuple(str(row[name] or "") for name in ids or names)


def identities(kind: ListKind, rows: list[Row]) -> list[tuple[str, ...]]:
    """The same of many rows, in an order of their own: each surface has its own."""
    return sorted(identity(kind, row) for row in rows)
