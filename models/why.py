"""One plain sentence: why a bot is, or is not, linked."""

from datetime import datetime

from models.rows import BotRow, LinkRow

_SETTLED_OTHERWISE = {
    "gone": "is gone at Recall (404)",
    "forbidden": "was refused by Recall",
    "unfetchable": "could not be fetched",
    "owed": "is still owed",
}


def why(bot: BotRow, links: list[LinkRow], now: datetime) -> str:
    """Say how the bot's link stands, what is missing, and when the next try is."""
    sentence = _STATES[bot.link_state](bot, [link for link in links if link.ended_at is None])
    return f"{sentence}{_next_try(bot, now)}."


def _pending(bot: BotRow, _links: list[LinkRow]) -> str:
    if bot.last_error:
        return f"Not linked yet: the last try failed ({bot.last_error})"
    if bot.due_at is None:
        return f"Not linked yet: {bot.bot_status} says nothing that would be looked up"
    return "Not linked yet: its first look-up is still to come"


def _linked(_bot: BotRow, links: list[LinkRow]) -> str:
    missing = [link for link in links if link.meeting_state != "found"]
    words = f"Linked to {_count(len(links), 'meeting')}"
    if not missing:
        return words
    states = sorted({_SETTLED_OTHERWISE[link.meeting_state] for link in missing})
    return f"{words}, of which {len(missing)} without details: it {' or '.join(states)}"


def _no_meetings(_bot: BotRow, _links: list[LinkRow]) -> str:
    return "Not linked, and that is final: Recall lists no calendar meeting for this bot"


def _partial(bot: BotRow, links: list[LinkRow]) -> str:
    owed = sum(link.meeting_state == "owed" for link in links)
    words = f"Linked in part: {owed} of {_count(len(links), 'meeting')} still owed"
    return f"{words} ({bot.last_error})" if bot.last_error else words


def _failed(bot: BotRow, _links: list[LinkRow]) -> str:
    return f"Not linked, and given up after {_count(bot.attempts, 'attempt')}: {bot.last_error}"


_STATES = {
    "pending": _pending,
    "linked": _linked,
    "no_meetings": _no_meetings,
    "partial": _partial,
    "failed": _failed,
}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _next_try(bot: BotRow, now: datetime) -> str:
    if bot.due_at is None:
        return ""
    seconds = (bot.due_at - now).total_seconds()
    if seconds <= 0:
        return "; the next look-up is due now"
    return f"; the next look-up is in {in_words(seconds)}"


def in_words(seconds: float) -> str:
    """Return a length of time in one unit, as people say it: 40 s, 12 min, 3 h, 2 days."""
    for unit, size in (("days", 172_800), ("h", 7200), ("min", 120)):
        if seconds >= size:
            return f"{seconds / _UNITS[unit]:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


_UNITS = {"days": 86_400, "h": 3600, "min": 60}
