"""Reads a verified body. It does no I/O and never raises: the sender is known to be Recall.

Both event formats give the same values: the legacy one
(https://docs.recall.ai/v1.10/docs/bot-status-change-events) and v1.11's
(https://docs.recall.ai/docs/bot-status-change-events).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from models.core.bot_status import LONGEST_WORD, MAX_FUTURE, is_code
from models.core.media_events import media_code, media_ids, media_kind
from models.core.sanitize import is_clamped, plain_uuid, storable, utc_time
from models.tables.delivery import Outcome

LEGACY_EVENT = "bot.status_change"
BOT_LOGS = frozenset({"bot.log", "bot.output_log"})

Object = Mapping[str, Any]
# What has been read so far, under the field names of Classified.
Known = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Classified:
    """A body's outcome and every field that could be read; `reason` says what is unusual."""

    outcome: Outcome
    reason: str | None = None
    event: str | None = None
    bot_id: str | None = None
    code: str | None = None
    sub_code: str | None = None
    message: str | None = None
    occurred_at: datetime | None = None


class _UnreadableError(Exception):
    pass


def classify(body: bytes, now: datetime) -> Classified:
    """Classify a body as accepted, ignored or malformed; the last two have a reason."""
    try:
        top = _parse(body)
    except _UnreadableError as error:
        return Classified("malformed", str(error))
    event, data = top.get("event"), top.get("data")
    if not isinstance(event, str):
        return Classified("malformed", "no_event")
    known: Known = {"event": storable(event, LONGEST_WORD)}
    if not isinstance(data, dict):
        return Classified("malformed", "no_data", **known)
    if event == LEGACY_EVENT:
        return _read_status(known, data.get("bot_id"), data.get("status"), "created_at", now)
    return _classify_other(known, event, data, now)


def _classify_other(known: Known, event: str, data: Object, now: datetime) -> Classified:
    bot, status = data.get("bot"), data.get("data")
    bot_id = bot.get("id") if isinstance(bot, dict) else data.get("bot_id")
    if _is_of_media(event, bot_id, status):
        return _read_media(known, event, bot_id, data, now)
    is_of_a_bot = event.startswith("bot.") and event not in BOT_LOGS
    # Log events have a bot id too, and new kinds of bot events may have no status.
    if not is_of_a_bot or not isinstance(status, dict) or "code" not in status:
        return Classified("ignored", "not_a_bot_status", bot_id=plain_uuid(bot_id), **known)
    if not is_code(status["code"]):
        return Classified("malformed", "bad_code", bot_id=plain_uuid(bot_id), **known)
    # The event name decides, because `recording.done` also has the code `done`.
    named = {**status, "code": event.removeprefix("bot.")}
    return _read_status(known, bot_id, named, "updated_at", now)


def _is_of_media(event: str, bot_id: object, status: object) -> bool:
    # Recordings of the desktop SDK have no bot, and real-time events of the same names no code.
    if media_kind(event) is None or plain_uuid(bot_id) is None or not isinstance(status, dict):
        return False
    return is_code(status.get("code")) and media_code(event, status["code"]) is not None


def _read_media(
    known: Known, event: str, bot_id: object, data: Object, now: datetime
) -> Classified:
    if media_ids(data, str(media_kind(event))) is None:
        return Classified("ignored", "no_recording_id", bot_id=plain_uuid(bot_id), **known)
    # The whole name as the code: a worker of an older release, to which every accepted webhook is
    # a bot's status, would otherwise end the bot with the `done` of its recording.
    return _read_status(known, bot_id, {**data["data"], "code": event}, "updated_at", now)


def _read_status(
    known: Known, bot_id: object, status: object, time_key: str, now: datetime
) -> Classified:
    known["bot_id"] = plain_uuid(bot_id)
    if known["bot_id"] is None:
        return Classified("malformed", "bad_bot_id", **known)
    if not isinstance(status, dict):
        return Classified("malformed", "no_status", **known)
    if not is_code(status.get("code")):
        return Classified("malformed", "bad_code", **known)
    known["code"] = status["code"]
    known["sub_code"] = _text(status.get("sub_code"), LONGEST_WORD)
    known["message"] = _text(status.get("message"))
    known["occurred_at"] = occurred_at = utc_time(status.get(time_key))
    if occurred_at is None:
        return Classified("malformed", "bad_time", **known)
    if occurred_at > now + MAX_FUTURE:
        return Classified("malformed", "time_ahead", **known)
    reason = "time_clamped" if is_clamped(status.get(time_key)) else None
    return Classified("accepted", reason, **known)


def _parse(body: bytes) -> Object:
    try:
        top = json.loads(
            body.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_without_doubles
        )
    except UnicodeDecodeError:
        raise _UnreadableError("not_utf8") from None
    except RecursionError:
        raise _UnreadableError("too_deep") from None
    except ValueError:
        raise _UnreadableError("not_json") from None
    if not isinstance(top, dict):
        raise _UnreadableError("not_an_object")
    return top


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Parsers disagree on which of two equal keys counts, so a body with duplicates is unreadable.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _UnreadableError("duplicate_key")
    return found


def _text(value: object, limit: int = 1000) -> str | None:
    return storable(value, limit) if isinstance(value, str) and value else None
