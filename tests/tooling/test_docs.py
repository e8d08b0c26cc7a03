"""What a person can set, call or read is documented: walked from the code, not from a list."""

import re
from collections.abc import Iterator
from functools import cache
from typing import get_args

import click
import pytest
from flask import Flask
from sqlalchemy import Engine, insert, inspect

from models.tables.base import db_now
from models.tables.bot import LinkState
from models.tables.calendar import MeetingState
from models.tables.calendar_finding import FindingKind
from models.tables.delivery import Outcome
from models.tables.link import EndReason
from models.tables.missed_meeting import MissedReason
from models.tables.reconcile_run import ReconcileRun, RunState
from tests.conftest import ROOT, MakeSettings
from tests.lab.recall import FakeRecall
from tests.support.calendar_app import calendar_settings
from tests.support.console_client import READ
from webhook.app import create_app
from webhook.cli.main import cli
from webhook.receiver.signature import Reason

README_BYTES = 8 * 1024
# Where a recorded proof is named: `tests/…/test_x.py`: `test_y`.
_PROOF = re.compile(r"`(tests/[\w/]+\.py)`: `(test_\w+)`")


@cache
def documentation() -> str:
    """Return the README and every page."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text() for page in pages)


def is_documented(name: str) -> bool:
    """Whether a name stands in a page by itself, and not only as a part of a longer one."""
    return re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w/<-])", documentation()) is not None


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, one in command.commands.items():
        yield from commands(one, f"{path} {name}")


COMMANDS = dict(commands(cli, "recall-links"))

WORDS = {
    "link_state": get_args(LinkState),
    "meeting_state": get_args(MeetingState),
    "end_reason": get_args(EndReason),
    "delivery outcome": get_args(Outcome),
    "rejection reason": tuple(Reason),
    "finding": get_args(FindingKind),
    "missed reason": get_args(MissedReason),
    "reconcile state": get_args(RunState),
}


@pytest.fixture
def whole_app(make_settings: MakeSettings, recall: FakeRecall) -> Iterator[Flask]:
    """An application with every part that settings can turn on."""
    app = create_app(make_settings(**calendar_settings(recall), OPS_READ_TOKENS=READ))
    yield app
    app.extensions["recall-links"].close()


def test_the_readme_is_short() -> None:
    """A stranger reads it to the end; everything else is a page of docs/."""
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def test_a_part_of_a_longer_name_does_not_count() -> None:
    """Else `/console/bot` would be documented by `/console/bots`."""
    assert is_documented("/console/bots")
    assert not is_documented("/console/bo")
    assert not is_documented("onsole/bots")


def test_every_route_is_documented(whole_app: Flask) -> None:
    """By its whole path; of one that takes any path below it, what comes before."""
    paths = {rule.rule.partition("<path:")[0] for rule in whole_app.url_map.iter_rules()}
    assert {path for path in paths if not is_documented(path)} == set()


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_option_is_documented(words: str) -> None:
    """As it is typed."""
    options = [name for one in COMMANDS[words].params for name in one.opts if name[0] == "-"]
    assert [name for name in (words, *options) if not is_documented(name)] == []


def test_every_metric_is_documented(whole_app: Flask, engine: Engine) -> None:
    """Those of a reconcile too, which are there only after one."""
    run = {"started_at": db_now(), "beat_at": db_now(), "finished_at": db_now(), "position": {}}
    with engine.begin() as connection:
        connection.execute(insert(ReconcileRun).values(**run, is_complete=True))
    answer = whole_app.test_client().get("/metrics", headers={"Authorization": f"Bearer {READ}"})
    metrics = re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE)
    assert "recall_links_reconcile_bots_missed" in metrics
    assert [name for name in metrics if not is_documented(name)] == []


def test_every_view_is_documented(engine: Engine) -> None:
    """The views of the migrated database, on either kind."""
    assert [name for name in inspect(engine).get_view_names() if not is_documented(name)] == []


@pytest.mark.parametrize("kind", WORDS)
def test_every_word_that_people_read_in_columns_is_documented(kind: str) -> None:
    """States, outcomes and reasons stand in views, lists and answers as they are."""
    assert [word for word in WORDS[kind] if not is_documented(word)] == []


def test_every_test_that_a_page_names_is_there() -> None:
    """A table that names its proof must not outlive it."""
    named = _PROOF.findall(documentation())
    assert named
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), (path, name)
