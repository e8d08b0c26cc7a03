"""What every command asks before it changes something, and the code it ends with."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sqlalchemy import Engine, insert

from models.settings.environment import Settings
from models.tables.audit import Audit
from models.tables.calendar import CalendarUser, MeetingPerson
from tests.conftest import ROOT
from tests.lab.recall import FakeRecall
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import environment
from tests.support.cli_terminal import Typist, a_zygote
from tests.support.fakes import BOT, MEETINGS
from tests.support.ids import new_id
from tests.support.rows import add_bot, rows
from webhook.cli import exit_codes
from webhook.cli.main import cli
from workers.outbox.numbering import number_events, routes_of
from workers.outbox.write import Subject, write_event

WHO, GUEST = "ines", "guest@north.example"
EVENTS = {
    "EVENTS_URL": "https://hooks.example/in",
    "EVENTS_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
ENDPOINT = Settings.read(EVENTS).event_endpoints[0].name
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
    "person": (GUEST, "--erase"),
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
    "calendar users": (),
    "calendar findings": (),
    "missed": (),
    "failures": (),
    "reconciles": (),
    "recordings": (),
    "events list": (),
    "events resend": ("--type", "link.created"),
    "events endpoints": (),
    "events on": (ENDPOINT,),
    "events off": (ENDPOINT,),
}
# They take something away for good, or make the workers ask Recall again for many.
ASK = {
    *("relink", "erase", "person", "calendar disconnect", "calendar delete-user"),
    *("events resend", "events off"),
}
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
        **EVENTS,
    )


@pytest.fixture
def known(engine: Engine, recall: FakeRecall) -> None:
    """A bot that was given up, an event about it, a guest, and a user with a calendar."""
    add_bot(engine, BOT, link_state="failed", due_at=None)
    with engine.begin() as connection:
        write_event(connection, "link.created", Subject(BOT, MEETINGS[0]), {})
        number_events(connection, routes_of(Settings.read(EVENTS)))
        guest = insert(MeetingPerson).values(meeting_id=MEETINGS[0], email=GUEST)
        connection.execute(guest)
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
    question = f"Type {GUEST} to erase" if name == "person" else "[y/N]"
    assert (refused.code, question in refused.out) == (1, True), refused.out
    assert changes(recall, engine) == []
    done = ada.piped(*words, "--yes")
    assert done.code == 0, done.err
    assert changes(recall, engine) != []


def test_a_person_is_erased_once_their_address_is_typed(
    ada: Typist, engine: Engine, known: None
) -> None:
    """What is stored is shown before; with another address nothing is erased, and it says so."""
    slip = ada.on_terminal("person", GUEST, "--erase", answer=b"another@example.com\n")
    assert (slip.code, "not erased: " in slip.out) == (1, True)
    said = ada.on_terminal("person", GUEST, "--erase", answer=f"{GUEST}\n".encode())
    assert (said.code, "meeting_people" in said.out, "taken out:" in said.out) == (0, True, True)
    assert rows(engine, MeetingPerson) == []


def test_each_code_is_documented_with_its_meaning() -> None:
    """The table of docs/cli.md has them, and no other."""
    page = (ROOT / "docs/cli.md").read_text()
    table = page.partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    ours = {value for value in vars(exit_codes).values() if isinstance(value, int)}
    assert documented == {0} | ours


@pytest.mark.parametrize("words", [("explain", BOT), ("links", "--csv"), ("export", WHO)])
def test_a_reader_that_has_left_ends_a_command_quietly(
    database_url: str, engine: Engine, known: None, words: tuple[str, ...]
) -> None:
    """As `| head` does: no traceback, and 141 as of any program that SIGPIPE ended."""
    with engine.begin() as connection:
        connection.execute(insert(CalendarUser).values(id=new_id(), external_id=WHO))
    reader, writer = os.pipe()
    os.close(reader)
    environ = environment(DATABASE_URL=database_url)
    command = [sys.executable, "-m", "webhook.cli", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (exit_codes.READER_GONE, b"")


def test_a_broken_connection_is_no_reader_that_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket breaks with the same error, and must not end a command as if all were well."""

    def break_off(_context: click.Context) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(click.Group, "invoke", lambda _group, context: break_off(context))
    with pytest.raises(BrokenPipeError):
        cli.invoke(click.Context(cli))


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell has it; 1 is an answer."""

    def interrupt(_group: click.Group, _context: click.Context) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(click.Group, "invoke", interrupt)
    with pytest.raises(click.exceptions.Exit) as ended:
        cli.invoke(click.Context(cli))
    assert ended.value.exit_code == exit_codes.INTERRUPTED


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
