"""What every command asks before it changes something, and the code it ends with."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sqlalchemy import Engine

from models.tables.audit import Audit
from tests.lab.recall import FakeRecall
from tests.lab.stack.servers import free_port
from tests.support.cli_terminal import Typist, a_zygote
from tests.support.fakes import BOT
from tests.support.rows import add_bot, rows
from webhook.cli.main import cli

WHO = "ines"
# What each command needs to be right; a new command is added here.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "completion": ("bash",),
    "links": (),
    "bots": (),
    "deliveries": (),
    "rejections": (),
    "audit": (),
    "explain": (BOT,),
    "relink": (BOT,),
    "status": (),
    "doctor": (),
    "reverify": (),
    "reconcile": ("--all",),
    "erase": (WHO,),
    "export": (WHO,),
    "db upgrade": (),
    "db check": (),
    "calendar connect-url": (WHO, "google"),
    "calendar token": (WHO,),
    "calendar user": (WHO,),
    "calendar meetings": (WHO,),
    "calendar refresh": (WHO,),
    "calendar disconnect": (WHO, "--platform", "google"),
    "calendar delete-user": (WHO,),
    "calendar check": (WHO,),
}
# They take something away for good, or make the workers ask Recall again for many.
ASK = {"relink", "erase", "calendar disconnect", "calendar delete-user"}
COMMANDS = sorted(ARGUMENTS)


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Every command by its words."""
    if not isinstance(command, click.Group):
        return {" ".join(path): command}
    inner = (leaves(one, (*path, name)) for name, one in command.commands.items())
    return {name: one for found in inner for name, one in found.items()}


@pytest.fixture(scope="module")
def zygote() -> Iterator["subprocess.Popen[str]"]:
    """The loaded program."""
    with a_zygote() as process:
        yield process


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite alone: what is asked and how it ends is no database's matter."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'test.db')}"


@pytest.fixture
def ada(
    zygote: "subprocess.Popen[str]", tmp_path: Path, database_url: str, recall: FakeRecall
) -> Typist:
    """Somebody who types, with a database and an account at Recall."""
    return Typist(
        zygote,
        tmp_path,
        DATABASE_URL=database_url,
        RECALL_API_BASE_URL=recall.url,
        RECALL_API_KEY=recall.api_key,
        GOOGLE_OAUTH_CLIENT_ID="google-client",
        PUBLIC_URL="https://links.example",
    )


@pytest.fixture
def known(engine: Engine, recall: FakeRecall) -> None:
    """A bot that was given up, and a calendar user with a calendar."""
    add_bot(engine, BOT, link_state="failed", due_at=None)
    recall.world.connect(recall.build.user(WHO).id, "google", "ines@north.example")


def changes(recall: FakeRecall, engine: Engine) -> list[object]:
    """What was changed: at Recall by any method but GET, save asking for a token; and here."""
    asked = [f"{call.method} {call.path}" for call in recall.calls.all() if call.method != "GET"]
    audited = [row.action for row in rows(engine, Audit)]
    return [*(one for one in asked if "authenticate" not in one), *audited]


def test_every_command_is_in_the_tables_here() -> None:
    """A command that is added is decided about: does it ask, and how does it end."""
    found = leaves(cli)
    assert set(found) == set(ARGUMENTS)
    assert {
        name for name, one in found.items() if "--yes" in {o for p in one.params for o in p.opts}
    } == ASK


@pytest.mark.parametrize("name", sorted(ASK))
def test_what_takes_something_away_must_be_meant(
    ada: Typist, engine: Engine, recall: FakeRecall, known: None, name: str
) -> None:
    """A pipe must say --yes; a person is asked, and no is no: 1."""
    words = (*name.split(), *ARGUMENTS[name])
    piped = ada.piped(*words)
    assert (piped.code, "pass --yes" in piped.err) == (2, True), piped.err
    refused = ada.on_terminal(*words, answer=b"n\n")
    assert (refused.code, "[y/N]" in refused.out) == (1, True), refused.out
    assert changes(recall, engine) == []
    done = ada.piped(*words, "--yes")
    assert done.code == 0, done.err
    assert changes(recall, engine) != []


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_usage_is_2(ada: Typist, name: str) -> None:
    """An option that no command has."""
    said = ada.piped(*name.split(), *ARGUMENTS[name], "--no-such-option")
    assert (said.code, said.out, "No such option" in said.err) == (2, "", True)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"completion"}))
def test_a_malformed_setting_is_2(ada: Typist, name: str) -> None:
    """It is named, and nothing is done."""
    yes = ("--yes",) if name in ASK else ()
    said = ada.piped(*name.split(), *ARGUMENTS[name], *yes, PORT="many")
    assert (said.code, said.out) == (2, ""), said.err
    assert "recall-links: PORT: " in said.err


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"completion"}))
def test_a_database_and_a_recall_that_are_away_are_3(ada: Typist, name: str) -> None:
    """Whichever of the two a command needs first."""
    yes = ("--yes",) if name in ASK else ()
    away = {
        "DATABASE_URL": f"postgres://x@127.0.0.1:{free_port()}/x",
        "RECALL_API_BASE_URL": f"http://127.0.0.1:{free_port()}",
    }
    said = ada.piped(*name.split(), *ARGUMENTS[name], *yes, **away)
    assert said.code == 3, said.err or said.out
