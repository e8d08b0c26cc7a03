"""The words of a meeting's title: made here alone, stored beside the title, and asked for alike."""

import re
import unicodedata
from typing import Any

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.engine.default import DefaultExecutionContext

# Whoever writes a title writes all three; an insert does by the columns' own defaults.
TITLE_COLUMNS = ("title", "title_words", "indexed_title")
# A tsvector takes words of up to 2,046 bytes, and a character has up to four.
LONGEST_WORD = 255
# Text with blanks in between is what a tsvector is read from: these words need no quotes in it.
WordList = Text().with_variant(TSVECTOR(), "postgresql")
_WORD = re.compile(r"[^\W_]+")


def title_words(title: str) -> list[str]:
    """Return each word once: a run of letters and digits, without its case and accents."""
    words = (word[:LONGEST_WORD] for word in _WORD.findall(_fold(title)))
    return list(dict.fromkeys(words))


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Twice: what folds case may leave something to decompose.
    for _ in range(2):
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if unicodedata.category(c)[0] != "M").casefold()
    # Composed again, so that whoever types Korean into SQL finds what is stored.
    return unicodedata.normalize("NFC", text)


def title_columns(title: str | None) -> dict[str, str | None]:
    """Return what the three columns hold for a title."""
    words = None if title is None else " ".join(title_words(title))
    return {"title": title, "title_words": words, "indexed_title": title}


def default_words(context: DefaultExecutionContext) -> str | None:
    """Make the words of a row that is inserted."""
    return title_columns(default_title(context))["title_words"]


def default_title(context: DefaultExecutionContext) -> str | None:
    """Return the title of a row that is inserted."""
    given: dict[str, Any] = context.get_current_parameters()  # type: ignore[no-untyped-call]
    title: str | None = given.get("title")
    return title
