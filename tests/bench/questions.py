"""What is asked at each decade: the SQL of docs/sql.md, every API list and console page."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from flask import Flask
from werkzeug.routing import Rule

from tests.bench.generate import EMAIL, PARTIAL_BOT, PERSON, generated_bot
from tests.lab.stack.stack import ROOT

_UUID = re.compile(r"'(?:…|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})'")
_FENCED = re.compile(r"```sql\n(.*?)```", re.DOTALL)
_INDENTED = re.compile(r"(?:^    .*\n|^\n)+", re.MULTILINE)
_SKIPPED = ("/login", "/logout", "/openapi.json", "/done", "/static/")
_BOT = generated_bot(PARTIAL_BOT)
_LINK_FILTERS = (
    "",
    f"?external_id={PERSON}",
    f"?email={EMAIL}",
    # Both words in every 42nd title, so that the answer is a full page at any size; a word of every
    # sixth title; and one of a single title beside it.
    f"?title={quote('roadmap sync')}",
    "?title=sync",
    f"?title={quote('sync 4242')}",
    f"?bot_id={_BOT}",
    "?status=done",
    "?link_state=partial",
    "?platform=zoom",
    "?current=1",
    "?since=2026-11-24T00:00:00Z&until=2026-11-25T00:00:00Z",
)
_FILTERS = {
    "links": _LINK_FILTERS,
    "bots": ("", "?link_state=failed", "?link_state=no_meetings", "?status=fatal"),
    "relink": ("?link_state=failed",),
    "bot": (f"?bot_id={_BOT}",),
    "user": (f"?external_id={PERSON}",),
    "people": (f"?email={EMAIL}",),
    "search": (f"?q={_BOT[:8]}", f"?q={EMAIL}", f"?q={quote('sync 4242')}"),
}


def sql_questions(page: Path = ROOT / "docs" / "sql.md") -> dict[str, str]:
    """Return the SELECTs that the page gives, by their comments; those for SQLite left out."""
    text = page.read_text()
    blocks = _FENCED.findall(text) or _INDENTED.findall(text)
    found: dict[str, str] = {}
    for block in blocks:
        # Not at each semicolon: comments have some.
        for piece in block.split(";\n"):
            lines = [line.strip() for line in piece.splitlines() if line.strip()]
            words = " ".join(line.lstrip("- ") for line in lines if line.startswith("--"))
            sql = "\n".join(line for line in lines if not line.startswith("--"))
            if sql.upper().startswith(("SELECT", "WITH")) and "SQLite" not in words:
                found[words[:60] or sql[:60]] = _UUID.sub(f"'{_BOT}'", sql)
    return found


def addresses(app: Flask) -> dict[str, list[str]]:
    """Return the GET addresses under /api/ and /console/ that an operator opens, by kind."""
    found: dict[str, list[str]] = {"API": [], "console": []}
    for rule in app.url_map.iter_rules():
        for kind, prefix in (("API", "/api/"), ("console", "/console/")):
            if rule.rule.startswith(prefix) and "GET" in (rule.methods or ()):
                found[kind] += _of_rule(rule)
    return {kind: sorted(set(paths)) for kind, paths in found.items()}


def _of_rule(rule: Rule) -> Iterator[str]:
    if any(word in rule.rule for word in _SKIPPED) or "<path:" in rule.rule:
        return
    path = rule.rule.replace("<bot_id>", _BOT)
    if "<" not in path:
        last = path.rstrip("/").rpartition("/")[2]
        for query in _FILTERS.get(last, ("",)) if "<" not in rule.rule else ("",):
            yield path + query
