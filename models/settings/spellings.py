"""How a setting may be spelt: what shells, .env files and other tools have taught people."""

import json
import re
from collections.abc import Callable, Mapping

Read = Callable[[object], object]

# Blanks, and what a copied text brings along unseen.
_AROUND = re.compile(r"\A[\s\ufeff\u200b\u2060]+|[\s\ufeff\u200b\u2060]+\Z")
_QUOTES = ("'", '"')
_NUMBER = re.compile(r"([+-]?[0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z%]+)")

SECONDS = {"ms": 0.001}
SECONDS |= dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1)
SECONDS |= dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60)
SECONDS |= dict.fromkeys(("h", "hour", "hours"), 3600)
DAYS = dict.fromkeys(("d", "day", "days"), 1) | dict.fromkeys(("w", "week", "weeks"), 7)
BYTES = dict.fromkeys(("b", "byte", "bytes"), 1) | dict.fromkeys(("k", "kb", "kib"), 1024)
BYTES |= dict.fromkeys(("m", "mb", "mib"), 1024**2)
PERCENT = dict.fromkeys(("%", "percent"), 1)


def unwrapped(text: str) -> str:
    """Return a value without the blanks and the quotes around it."""
    before = None
    while text != before:
        before = text
        text = _AROUND.sub("", text)
        # docker's --env-file, for one, keeps the quotes that a shell takes off.
        if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
            text = text if text[0] in text[1:-1] else text[1:-1]
    return text


def _listed(separators: str) -> Read:
    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = _json_list(value) or re.split(separators, value)
        # The same one twice is one.
        return tuple(dict.fromkeys(part for part in map(unwrapped, parts) if part))

    return read


comma_separated = _listed(r"[,\s]")
# For items that may have blanks in them.
comma_or_line_separated = _listed(r"[,\r\n]")


def _json_list(text: str) -> list[str] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    is_one = isinstance(found, list) and all(isinstance(part, str) for part in found)
    return found if is_one else None


def number_in(factors: Mapping[str, float]) -> Read:
    """Return what reads a number with or without its unit (`300`, `300s`, `5 min`)."""

    def read(value: object) -> object:
        found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if found is None or found[2].lower() not in factors:
            return value
        return float(found[1]) * factors[found[2].lower()]

    return read


def one_of(*words: str, **also: str) -> Read:
    """Return what reads one of the words in any case, or another word for it."""
    meanings = {word.casefold(): word for word in words} | also

    def read(value: object) -> object:
        return meanings.get(value.casefold(), value) if isinstance(value, str) else value

    return read
