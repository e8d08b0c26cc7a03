"""A guard over every statement of the tests: whoever writes a title writes its words as well."""

import re
from typing import Any

from models.core.title_words import TITLE_COLUMNS

# What stands in a statement that a test runs as a release would that knows of no words.
BY_AN_OLD_RELEASE = "/* by a release before 0011 */"
_WRITES = re.compile(r"\s*(INSERT INTO|UPDATE) calendar_meetings\b")
_LIST = re.compile(r"INSERT INTO calendar_meetings \(([^)]*)\)")
_SET = re.compile(r"\bSET\b(.*?)(?:\bWHERE\b|$)", re.DOTALL)


def missing_words(statement: str) -> set[str]:
    """Return the columns that a statement leaves out though it writes a title."""
    if not _WRITES.match(statement) or BY_AN_OLD_RELEASE in statement:
        return set()
    # An INSERT ... ON CONFLICT writes twice: what it inserts, and what it sets instead.
    written = [set(re.findall(r"\w+", found)) for found in _LIST.findall(statement)]
    written += [set(re.findall(r"(\w+)\s*=", found)) for found in _SET.findall(statement)]
    missing = [{*TITLE_COLUMNS} - names for names in written if "title" in names]
    return set().union(*missing)


def guard_titles(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    """Refuse such a statement; an event of SQLAlchemy's engines."""
    assert not missing_words(statement), f"words are missing: {statement}"
