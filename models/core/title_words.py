"""Splits meeting titles into words; stored titles and search terms use the same function."""

import re
import unicodedata
from typing import Any

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.engine.default import DefaultExecutionContext

# An update must write all three columns; an insert gets them from column defaults.
TITLE_COLUMNS = ("title", "title_words", "indexed_title")
# A word of a tsvector has at most 2,046 bytes, and a character up to four.
LONGEST_WORD = 255
# PostgreSQL parses space-separated words into a tsvector; ours need no quotes.
WordList = Text().with_variant(TSVECTOR(), "postgresql")
_WORD = re.compile(r"[^\W_]+")


def title_words(title: str) -> list[str]:
    """Return the distinct words: runs of letters and digits, without case and accents."""
    words = (word[:LONGEST_WORD] for word in _WORD.findall(_fold(title)))
    return list(dict.fromkeys(words))


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Twice, because case folding can produce characters that decompose again.
    for _ in range(2):
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if unicodedata.category(c)[0] != "M").casefold()
    # NFC, so that Korean typed into a SQL query matches.
    return unicodedata.normalize("NFC", text)


def title_columns(title: str | None) -> dict[str, str | None]:
    """Return the values of the three title columns."""
    words = None if title is None else " ".join(title_words(title))
    return {"title": title, "title_words": words, "indexed_title": title}


def default_words(context: DefaultExecutionContext) -> str | None:
    """Column default: the words of the inserted row's title."""
    return title_columns(default_title(context))["title_words"]


def default_title(context: DefaultExecutionContext) -> str | None:
    """Column default: the inserted row's title."""
    given: dict[str, Any] = context.get_current_parameters()  # type: ignore[no-untyped-call]
    title: str | None = given.get("title")
    return title
