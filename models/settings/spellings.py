"""Accepted spellings of values: quotes, lists, units and synonyms."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import time

Read = Callable[[object], object]

# Whitespace, and invisible characters from copied text.
_AROUND = re.compile(r"\A[\s\ufeff\u200b\u2060]+|[\s\ufeff\u200b\u2060]+\Z")
_QUOTES = ("'", '"')
_NUMBER = re.compile(r"([+-]?[0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z%]+)")

_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::00)?\s*(?:Z|UTC)?", re.IGNORECASE)
_OFF = ("off", "none", "no", "never", "false", "0")

SECONDS = {"ms": 0.001}
SECONDS |= dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1)
SECONDS |= dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60)
SECONDS |= dict.fromkeys(("h", "hour", "hours"), 3600)
DAYS = dict.fromkeys(("d", "day", "days"), 1) | dict.fromkeys(("w", "week", "weeks"), 7)
BYTES = dict.fromkeys(("b", "byte", "bytes"), 1) | dict.fromkeys(("k", "kb", "kib"), 1024)
BYTES |= dict.fromkeys(("m", "mb", "mib"), 1024**2)
PERCENT = dict.fromkeys(("%", "percent"), 1)


def unwrapped(text: str) -> str:
    """Return a value without surrounding whitespace and quotes."""
    before = None
    while text != before:
        before = text
        text = _AROUND.sub("", text)
        # Unlike a shell, docker's --env-file keeps quotes.
        if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
            text = text if text[0] in text[1:-1] else text[1:-1]
    return text


def _listed(separators: str, *, keeps_duplicates: bool = False) -> Read:
    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = _json_list(value) or re.split(separators, value)
        found = [part for part in map(unwrapped, parts) if part]
        return tuple(found if keeps_duplicates else dict.fromkeys(found))

    return read


comma_separated = _listed(r"[,\s]")
# For items that each belong to one of another list.
every_comma_separated = _listed(r"[,\s]", keeps_duplicates=True)
# For items that may contain spaces.
comma_or_line_separated = _listed(r"[,\r\n]")


def _json_list(text: str) -> list[str] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    is_one = isinstance(found, list) and all(isinstance(part, str) for part in found)
    return found if is_one else None


def number_in(factors: Mapping[str, float]) -> Read:
    """Return a reader of numbers with or without a unit (`300`, `300s`, `5 min`)."""

    def read(value: object) -> object:
        found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if found is None or found[2].lower() not in factors:
            return value
        return float(found[1]) * factors[found[2].lower()]

    return read


def one_of(*words: str, **also: str) -> Read:
    """Return a reader of choices in any case; `also` maps synonyms to choices."""
    meanings = {word.casefold(): word for word in words} | also

    def read(value: object) -> object:
        return meanings.get(value.casefold(), value) if isinstance(value, str) else value

    return read


def time_of_day(value: object) -> object:
    """Return a time of day in UTC from `03:30`, `3:30` or `03:30 UTC`; None from `off`."""
    if not isinstance(value, str):
        return value
    if value.casefold() in _OFF:
        return None
    found = _TIME_OF_DAY.fullmatch(value)
    try:
        if found is not None:
            return time(int(found[1]), int(found[2]))
    except ValueError:
        pass
    raise ValueError("must be a time of day in UTC, such as 03:30, or off")
