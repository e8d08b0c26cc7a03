"""Finds a person's address and names in texts, JSON and payloads, and takes them out."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

TAKEN_OUT = "[erased]"
# Whoever invites somebody picks the name: one that is no name would be found in any payload.
_WORD = r"[^\W\d_][\w.'\u2019-]*"
_WHOLE_NAME = re.compile(f"{_WORD}(?: {_WORD})+")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True, slots=True)
class Mentions:
    """What a person goes by: an address in lower case, and the names beside it."""

    address: str
    names: tuple[str, ...] = ()

    @property
    def elsewhere(self) -> "Mentions":
        """What to search for outside their meetings, where a first name may be anybody's."""
        return replace(self, names=tuple(filter(_WHOLE_NAME.fullmatch, self.names)))

    @property
    def words(self) -> tuple[str, ...]:
        """What any text that names them has in it, however the sign of the address is spelt."""
        return (self.address.partition("@")[0], *self.names)

    @property
    def by_address(self) -> "Mentions":
        """Their address alone."""
        return replace(self, names=())

    def without(self, value: Any) -> Any:
        """Return a text or a JSON value without them; None for a text that is nothing else."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self.without(item) for item in value]
        if isinstance(value, dict):
            return {self._key(key): self.without(item) for key, item in value.items()}
        return value

    def are_in(self, body: bytes) -> bool:
        """Whether a payload holds them, also as JSON escapes them or inside a longer word."""
        text = body.decode("utf-8", "replace").lower()
        texts = (text, _ESCAPED.sub(_character, text).lower())
        wanted = (self.address, *(name.lower() for name in self.elsewhere.names))
        return any(one in text for text in texts for one in wanted)

    def _text(self, text: str) -> str | None:
        found = _pattern(self.address, self.names).sub(TAKEN_OUT, text)
        return None if found != text and found.strip() == TAKEN_OUT else found

    def _key(self, key: str) -> str:
        return self._text(key) or (TAKEN_OUT if key else key)


@lru_cache(maxsize=64)
def _pattern(address: str, names: tuple[str, ...]) -> re.Pattern[str]:
    # Whole addresses and words only: joann@example.org is somebody else. In an address of the web
    # the sign may be written as %40, and so may what stands before the address.
    spelt = re.escape(address).replace("@", "(?:@|%40)")
    parts = [rf"(?:(?<![\w.+-])|(?<=%[0-9a-f]{{2}})){spelt}(?![\w-]|\.\w)"]
    longest_first = sorted(names, key=len, reverse=True)
    # Not as the beginning or the domain of somebody else's address.
    parts += [rf"(?<![\w@]){re.escape(name)}(?!\w|[\w.+-]*@)" for name in longest_first]
    return re.compile("|".join(parts), re.IGNORECASE)


def _character(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))
