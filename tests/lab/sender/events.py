"""The webhook bodies a bot's life causes, in both generations."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from tests.lab.faults.noise import noise_of
from tests.lab.world.shapes import Bot, StatusChange
from tests.lab.world.timeline import latest_start, timeline

Generation = Literal["legacy", "v1.11"]
Event = dict[str, Any]

# Statuses that the newer generation does not announce as bot events.
NOT_NEW = frozenset(
    {"ready", "recording_done", "media_expired", "analysis_done", "analysis_failed"}
)


def legacy_event(bot_id: str, change: StatusChange) -> Event:
    """Return a bot.status_change body (/v1.10/docs/bot-status-change-events)."""
    status = {
        "code": change.code,
        "created_at": change.created_at.isoformat(timespec="microseconds"),
        "sub_code": change.sub_code,
        "message": change.message,
    }
    return {"event": "bot.status_change", "data": {"bot_id": bot_id, "status": status}}


def new_event(bot_id: str, change: StatusChange, metadata: dict[str, str] | None = None) -> Event:
    """Return a bot.CODE body (https://docs.recall.ai/docs/bot-status-change-events)."""
    data = {
        "code": change.code,
        "sub_code": change.sub_code,
        "updated_at": change.created_at.isoformat(timespec="microseconds"),
    }
    bot = {"id": bot_id, "metadata": metadata or {}}
    return {"event": f"bot.{change.code}", "data": {"data": data, "bot": bot}}


def lifecycle(
    bot: Bot | str,
    *,
    generation: Generation = "v1.11",
    outcome: str = "done",
    start: datetime | None = None,
    ties: bool = True,
    noise: bool = False,
) -> list[Event]:
    """Return the bodies of one bot's life, in the order Recall's clock gives them.

    `outcome` is a key of `timeline.OUTCOMES`; `start` when it joins (just long enough ago);
    the same bot and start make the same times. `noise` mixes in what else a workspace sends.
    """
    bot_id = bot if isinstance(bot, str) else bot.id
    start = start or latest_start(outcome, datetime.now(UTC))
    changes = timeline(outcome, start, random.Random(bot_id), ties=ties)
    return events_of(bot, changes, generation=generation, noise=noise)


def events_of(
    bot: Bot | str,
    changes: Sequence[StatusChange] | None = None,
    *,
    generation: Generation = "v1.11",
    noise: bool = False,
) -> list[Event]:
    """Return the bodies for these status changes, or for those the bot has."""
    bot_id, metadata = (bot, {}) if isinstance(bot, str) else (bot.id, bot.metadata)
    if changes is None:
        changes = [] if isinstance(bot, str) else bot.status_changes
    timed = [(c.created_at, _event(bot_id, c, generation, metadata)) for c in changes]
    if noise:
        timed += noise_of(bot_id, changes, generation)
    timed.sort(key=lambda pair: pair[0])
    return [event for _, event in timed if event]


def _event(
    bot_id: str, change: StatusChange, generation: Generation, metadata: dict[str, str]
) -> Event:
    if generation == "legacy":
        return legacy_event(bot_id, change)
    return {} if change.code in NOT_NEW else new_event(bot_id, change, metadata)
