"""Words that a native operator would not write may not come back where people read them.

Each was once in the console, the command line or the documentation; a plain one replaced it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from models.queries.alarms.alerts import ALARMS
from tests.conftest import ROOT
from webhook.cli.main import cli

# What was written, and what is written now.
REPLACED = {
    r"put(s|ting)?( \w+)? back|look(s|ed)?( \w+)? up again": "retry linking",
    r"(tells?|told|telling) of\b": "report",
    r"tak(e|es|en) in\b": "accept",
    r"\bin hand\b|worker's hands": "being processed",
    r"\bamiss\b": "problem",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\b(anew|afresh)\b": "again, re-",
    r"\bseldom\b": "rarely",
    r"\b(none|nobody|nothing) waits\b": "none waiting",
    r"\bstill owed\b|\bmeetings owed\b": "still missing, not fetched yet",
    r"\bto be had\b": "unavailable",
    r"\bgiven up after\b": "no more retries",
    r"\b(rings|ringing)\b": "is active",
    r"\b(of ours|not ours)\b": "invalid, internal",
    r"\bproved to be\b": "verified",
    r"may look, not change|may read, not change": "read-only",
    r"\bno such token\b|\bis traded for\b": "that token is not valid",
    r"\b(just|right) now this\b|\bdoes not work just now\b": "temporarily unavailable",
    r"\bthis link is over\b|\bsession is over\b": "has expired",
    r"\bnothing is known of\b|\bknows? no\b": "unknown",
    r"\bsay so\b": "are marked",
    r"\bnothing is held\b|\bwhat is held\b": "stored",
    r"\bextra inputs\b": "unknown parameter",
    r"\bat the world's\b|\bclock with the world\b": "check the clock",
    r"\bgoes on with\b|\bgo on with\b|\bcut off:": "resume, interrupted",
    r"\bskip to the content\b": "skip to content",
    r"\bnothing is wrong\b": "no active alarms",
}
_OLD = re.compile("|".join(f"(?:{one})" for one in REPLACED), re.IGNORECASE)


def old_words(text: str) -> list[str]:
    """Return each of the replaced words that a text holds."""
    return [found[0] for found in _OLD.finditer(" ".join(text.split()))]


def helps(command: click.Command) -> Iterator[str]:
    """Yield every help text of a command and of those under it."""
    yield command.help or ""
    yield from (getattr(one, "help", None) or "" for one in command.params)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from helps(one)


def texts(path: Path) -> Iterator[str]:
    """Yield the strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text


PAGES = sorted(
    path
    for pattern in ("README.md", "docs/*.md", "webhook/templates/**/*.html", "webhook/static/*.js")
    for path in ROOT.glob(pattern)
)
MODULES = sorted(
    path for folder in ("webhook", "models/queries") for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_holds_a_replaced_word(path: Path) -> None:
    """Neither a template, the console's script, the README nor the documentation."""
    assert old_words(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_message_holds_a_replaced_word(path: Path) -> None:
    """Neither an answer, an error, an alarm nor a remedy: every string that is no docstring."""
    assert [word for text in texts(path) for word in old_words(text)] == []


def test_no_help_holds_a_replaced_word() -> None:
    """A command's help is its docstring, so it is asked of the commands themselves."""
    found = list(helps(cli))
    assert len(found) > len(cli.commands)
    assert [word for text in found for word in old_words(text)] == []


def test_each_alarm_has_a_title_in_words() -> None:
    """A title reads as a sentence; the name is for metrics."""
    titles = [kind.title for kind in ALARMS]
    assert len(set(titles)) == len(titles)
    assert all(title[0].isupper() and "_" not in title for title in titles)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("40 bots were\n put back", ["put back"]),
        ("Put them back?", ["Put them back"]),
        ("no worker has told of itself", ["told of"]),
        ("an input, 3 accepted, retried", []),
        ("it brings, amends and strings nothing", []),
    ],
)
def test_the_words_are_found_as_words(text: str, found: list[str]) -> None:
    """Over a line's end, in any case, with a word between; and not inside a longer word."""
    assert old_words(text) == found
