"""Search forms, generated from the filter models that the API uses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.queries.filters import Filter
from models.queries.metadata_filter import FIELD, PREFIX
from models.queries.times import TIME_PATTERN

LABELS = {
    "bot_id": "Bot id",
    "meeting_id": "Meeting id",
    "message_id": "Message id",
    "external_id": "Calendar user",
    "email": "Email",
    "title": "Title",
    "ical_uid": "iCal UID",
    "meeting_key": "Meeting key",
    "status": "Bot status",
    "recorded": "Recorded",
    "sub_code": "Why it ended (sub code)",
    "link_state": "Link state",
    "platform": "Platform",
    "error": "Error",
    "due": "Look-up due",
    "overdue": "Overdue",
    "in_progress": "Being processed",
    "unapplied": "Waiting to be processed",
    "since": "From (UTC)",
    "until": "Until (UTC)",
    "current": "Current links only",
    "metadata": "Metadata",
    "transcript_status": "Transcript",
    "expires_since": "Expires from (UTC)",
    "expires_until": "Expires until (UTC)",
    "outcome": "Outcome",
    "unresolved": "Not accepted yet",
    "actor": "Who",
    "action": "Action",
    "subject": "Target",
    "disconnected": "No calendar connected",
    "gone": "Deleted at Recall",
    "kind": "Problem",
    "changed_since": "Changed since (UTC)",
    "type": "Type",
    "state": "Delivery",
    "endpoint": "Endpoint",
    "after": "After position",
    "reason": "Reason",
    "MissedFilter.unresolved": "Still not recorded",
    "RecordingFilter.status": "Recording",
    "FindingFilter.kind": "Finding",
    "ReconcileFilter.state": "State",
}


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a search form: its label, its value and its error."""

    name: str
    # What the page's own references go by: a name may hold anything.
    id: str
    label: str
    hint: str
    kind: str
    choices: list[str]
    value: str
    error: str | None


def form_fields(
    wanted: type[Filter], given: Mapping[str, str], wrong: str = "", detail: str = ""
) -> list[FormField]:
    """Return a field for each filter; `wrong` names the one with an error."""
    fields = wanted.model_json_schema()["properties"]
    shown = [
        _field(
            LABELS.get(f"{wanted.__name__}.{name}", LABELS.get(name, name)),
            name,
            schema,
            given.get(name, ""),
            detail if name == wrong else None,
        )
        for name, schema in fields.items()
    ]
    if FIELD not in fields:
        return shown
    keys = [name for name in given if name.startswith(PREFIX)]
    return shown + [
        replace(_key_field(name, given[name], detail if name == wrong else None), id=f"key-{n}")
        for n, name in enumerate(keys)
    ]


def _key_field(name: str, value: str, error: str | None) -> FormField:
    label = f"{LABELS[FIELD]} {name.removeprefix(PREFIX)}"
    return FormField(name, name, label, "exactly this text", "text", [], value, error)


def _field(
    label: str, name: str, schema: Mapping[str, Any], value: str, error: str | None
) -> FormField:
    choices = list(_choices(schema))
    kind = "choice" if choices else _kind(schema)
    hint = str(schema.get("description", ""))
    return FormField(name, name, label, hint, kind, choices, value, error)


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get("type") == "boolean":
        return "flag"
    patterns = {one.get("pattern") for one in schema.get("anyOf", [])}
    return "time" if TIME_PATTERN in patterns else "text"


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from schema.get("enum", [])
    if "const" in schema:
        yield schema["const"]
    for one in schema.get("anyOf", []):
        if one.get("type") == "boolean":
            yield from ("true", "false")
        yield from _choices(one)
