"""Sentences that explain why a bot is or is not linked, and what it recorded."""

from collections.abc import Sequence
from datetime import datetime

from models.core.humanize import duration
from models.core.sub_codes import describe_end
from models.queries.circuit import Circuit
from models.queries.failures.error_messages import describe_error
from models.queries.rows import BotRow, LinkRow

_WITHOUT_DETAILS = {
    "gone": "{} deleted at Recall (404)",
    "forbidden": "{} refused by Recall",
    "unfetchable": "{} unavailable from Recall",
    "owed": "{} not fetched yet",
}
_CLOSED = Circuit(0.0)


def why(bot: BotRow, links: Sequence[LinkRow], now: datetime, circuit: Circuit = _CLOSED) -> str:
    """Return what is known: the link's state, the next attempt, and what was recorded."""
    # During a deploy, a newer release may have stored a state unknown here.
    summarize = _STATES.get(bot.link_state, _unknown)
    sentence = summarize(bot, [link for link in links if link.ended_at is None])
    ended = sum(link.ended_at is not None for link in links)
    if ended:
        sentence += f"; {_count(ended, 'earlier link')} ended"
    return f"{sentence}{_next_try(bot, now, circuit)}.{_recording(bot)}"


def _recording(bot: BotRow) -> str:
    end = describe_end(bot.bot_status, bot.ended_sub_code, recorded=bot.recorded)
    if end is None:
        return ""
    length = ""
    if bot.recorded and bot.recorded_from and bot.recorded_until:
        length = f" for {duration((bot.recorded_until - bot.recorded_from).total_seconds())}"
    return f" {end[0].upper()}{end[1:]}{length}."


def _unknown(bot: BotRow, _links: list[LinkRow]) -> str:
    return f"The link is {bot.link_state}"


def _pending(bot: BotRow, _links: list[LinkRow]) -> str:
    if bot.last_error:
        return f"Not linked yet: {describe_error(bot.last_error)}"
    if bot.due_at is None:
        return f"Not linked yet: a bot that is {bot.bot_status} is not looked up"
    return "Not linked yet: waiting for the first attempt"


def _linked(_bot: BotRow, links: list[LinkRow]) -> str:
    words = f"Linked to {_count(len(links), 'meeting')}"
    missing = [link.meeting_state for link in links if link.meeting_state != "found"]
    states = [_is_or_are(state, missing.count(state)) for state in sorted(set(missing))]
    return f"{words}, but without details: {', '.join(states)}" if states else words


def _is_or_are(state: str, number: int) -> str:
    words = _WITHOUT_DETAILS.get(state, f"{{}} {state}")
    return f"{number} " + words.format("is" if number == 1 else "are")


def _no_meetings(_bot: BotRow, _links: list[LinkRow]) -> str:
    return "Not linked, and this is final: Recall lists no calendar meeting for this bot"


def _partial(bot: BotRow, links: list[LinkRow]) -> str:
    owed = sum(link.meeting_state == "owed" for link in links)
    words = f"Partly linked: {owed} of {_count(len(links), 'meeting')} still missing"
    return f"{words}, because {describe_error(bot.last_error)}" if bot.last_error else words


def _failed(bot: BotRow, _links: list[LinkRow]) -> str:
    reason = describe_error(bot.last_error) if bot.last_error else "no error was recorded"
    # A bot whose workers crashed has no counted attempts.
    after = f" after {_count(bot.attempts, 'attempt')}" if bot.attempts else ""
    return f"Linking failed{after}; no more retries: {reason}"


_STATES = {
    "pending": _pending,
    "linked": _linked,
    "no_meetings": _no_meetings,
    "partial": _partial,
    "failed": _failed,
}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _next_try(bot: BotRow, now: datetime, circuit: Circuit) -> str:
    if bot.due_at is None:
        return ""
    seconds = (bot.due_at - now).total_seconds()
    if circuit.open_for > max(seconds, 0.0):
        reason = f" ({circuit.reason})" if circuit.reason else ""
        wait = duration(circuit.open_for)
        return f"; Recall refuses all requests{reason}, next attempt for any bot in {wait}"
    if seconds <= 0:
        return "; the next attempt is due now"
    return f"; the next attempt is in {duration(seconds)}"
