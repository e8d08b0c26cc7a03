"""The command line as a real program: piped, on a terminal, and where something is wrong."""

import csv
import io
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from sqlalchemy import Engine, insert, update

from models.core.title_words import title_columns
from models.queries.registry import LISTS
from models.tables.audit import Audit
from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.delivery import Delivery
from models.tables.rejection import Rejection
from tests.conftest import FULL, ROOT, new_database
from tests.lab.stack.servers import free_port
from tests.lab.stack.stack import environment
from tests.models.queries.alarms.test_alerts import a_worker
from tests.support.bulk_data import bot_id, meeting_id
from tests.support.cli_terminal import Typist, a_zygote
from tests.support.fakes import BOT
from tests.support.rows import add_bot, add_delivery, rows, set_bot
from webhook.cli.context import Session
from webhook.cli.main import cli
from webhook.services.relink import SAMPLE

HOSTILE = "\x1b[2J\x1b[31mred\x9b1m\r\nFORGED line\t[bold]loud[/] \\[red]x :bomb: \u202eevil"

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


MakeTypist = Callable[[str], Typist]


@pytest.fixture(scope="module")
def zygote() -> Iterator["subprocess.Popen[str]"]:
    """The loaded program."""
    with a_zygote() as process:
        yield process


@pytest.fixture
def typist(zygote: "subprocess.Popen[str]", tmp_path: Path) -> MakeTypist:
    """Somebody who types, with a database set."""
    return lambda url: Typist(zygote, tmp_path, DATABASE_URL=url)


@pytest.fixture
def ada(database_url: str, full: Engine, typist: MakeTypist) -> Typist:
    """Somebody who types, with five hundred bots in the database."""
    return typist(database_url)


def hostile(engine: Engine) -> None:
    """Everything that comes from outside is made as bad as it can be."""
    with engine.begin() as connection:
        meetings = update(CalendarMeeting).where(CalendarMeeting.id == meeting_id(20))
        connection.execute(meetings.values(title_columns(HOSTILE)))
        connection.execute(update(Bot).where(Bot.id == bot_id(3)).values(last_error=HOSTILE))
        connection.execute(update(Delivery).values(event=HOSTILE, reason=HOSTILE))


def is_harmless(text: str) -> bool:
    """Whether a text holds no control but line ends and the colours that we set ourselves."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return not re.search("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", text)


# -- lists ---------------------------------------------------------------------


def test_a_list_is_plain_text_when_piped(ada: Typist) -> None:
    """A head, and a line for each row, between tabs: for cut, sort and grep."""
    said = ada.piped("links", "--external-id", "person-00020")
    head, *lines = said.out.splitlines()
    assert said.code == 0
    assert head.split("\t")[:3] == ["bot_id", "external_id", "meeting_title"]
    found = [line.split("\t")[:2] for line in lines]
    assert found == [[bot_id(number), "person-00020"] for number in (420, 220, 20)]


@on_sqlite
def test_a_list_is_a_table_on_a_terminal(ada: Typist) -> None:
    """With a rule under its head, and every id whole."""
    said = ada.on_terminal("links", "--limit", "5")
    lines = said.out.replace("\r", "").splitlines()
    assert said.code == 0
    assert "meeting_title" in lines[0]
    assert set(lines[1].strip()) == {"─"}
    assert sum(bool(re.search(r"[0-9a-f]{8}-", line)) for line in lines) == 5
    assert bot_id(FULL - 1) in said.out


@on_sqlite
def test_every_list_speaks_json_and_csv(ada: Typist) -> None:
    """Each row with every column, and the same rows in both."""
    for kind in LISTS:
        as_json = ada.piped(*kind.words, "--json", "--limit", "3")
        as_csv = ada.piped(*kind.words, "--csv", "--limit", "3")
        found = json.loads(as_json.out)["items"]
        lines = list(csv.DictReader(io.StringIO(as_csv.out)))
        assert as_json.code == as_csv.code == (0 if found else 1)
        firsts = [str(next(iter(row.values()))) for row in found]
        assert [next(iter(row.values())) for row in lines] == firsts


@on_sqlite
def test_hostile_text_is_one_harmless_line(ada: Typist, engine: Engine) -> None:
    """In every list, piped, on a terminal, and in each form."""
    hostile(engine)
    for words in (["links", "--bot-id", bot_id(20)], ["bots", "--link-state", "failed"],
                  ["deliveries", "--bot-id", bot_id(20)], ["explain", bot_id(20)]):  # fmt: skip
        piped, seen = ada.piped(*words), ada.on_terminal(*words)
        assert is_harmless(piped.out), words
        assert is_harmless(seen.out), words
        for text in (piped.out, seen.out):
            assert not re.search(r"^\W*FORGED", text, re.MULTILINE), words
            assert "FORGED" in text or words[0] == "links", words
    assert "[bold]loud[/] \\[red]x :bomb:" in ada.piped("links", "--bot-id", bot_id(20)).out
    for form in ("--json", "--csv"):
        said = ada.on_terminal("links", "--bot-id", bot_id(20), form)
        assert is_harmless(said.out), form
    found = json.loads(ada.piped("links", "--bot-id", bot_id(20), "--json").out)
    assert found["items"][0]["meeting_title"] == HOSTILE


# -- one bot -------------------------------------------------------------------


def test_explain_tells_one_life_in_order(ada: Typist, engine: Engine) -> None:
    """Statuses, deliveries and copies, attempts with each call, and the next try."""
    with engine.begin() as connection:
        connection.execute(update(Delivery).values(copies=3))
    set_bot(engine, bot_id(20), due_at=db_now(3600))
    said = ada.piped("explain", bot_id(20).upper())
    assert said.code == 0
    head, why, *lines = said.out.splitlines()
    assert head == f"{bot_id(20)} done, linked"
    assert why.startswith("Linked to 1 meeting; the next attempt is in ")
    order = ["delivery · bot.joining_call · accepted", "status · joining_call",
             "attempt · look-up at Recall · linked · 1000 ms", "GET bot/{id} → 200, 31 ms",
             "next · next attempt", "→ person-00020: "]  # fmt: skip
    places = [next(n for n, line in enumerate(lines) if words in line) for words in order]
    assert places == sorted(places)
    assert "arrived 3 times" in said.out
    assert "● recording " in said.out
    beside = ada.piped("explain", bot_id(10)).out
    assert f"= in the same meeting: bot {bot_id(11)}, for person-00011" in beside


@on_sqlite
def test_explain_tells_an_unknown_bot_from_one_not_applied_yet(ada: Typist, engine: Engine) -> None:
    """Both are exit 1; what to do differs."""
    said = ada.piped("explain", BOT)
    assert (said.code, said.out, said.err) == (1, "", "no webhook received for this bot\n")
    add_delivery(engine, BOT, "done")
    assert ada.piped("explain", BOT).err == "a webhook for this bot is not processed yet\n"
    found = json.loads(ada.piped("explain", bot_id(3), "--json").out)
    assert list(found)[:6] == ["bot", "why", "statuses", "deliveries", "attempts", "links"]


@on_sqlite
def test_explain_takes_what_a_table_shows_of_an_id(ada: Typist, engine: Engine) -> None:
    """The beginning of a bot's id, or a message's; several bots, or none, are told apart."""
    add_delivery(engine, None, None, id="msg_of_none", outcome="malformed")
    for text in (bot_id(20)[:8], bot_id(20)[:30].upper(), "msg_00000020_done"):
        assert ada.piped("explain", text).out.startswith(f"{bot_id(20)} done, linked")
    beside = ada.piped("explain", "msg_of_none")
    assert beside.code == 1
    assert "recall-links deliveries --message-id msg_of_none" in beside.err
    assert ada.piped("explain", "7").code == 1
    other = f"{bot_id(20)[:-1]}{int(bot_id(20)[-1], 16) ^ 1:x}"
    add_bot(engine, other)
    several = ada.piped("explain", bot_id(20)[:8])
    assert several.code == 2
    assert bot_id(20) in several.err
    assert other in several.err


# -- putting back --------------------------------------------------------------


def test_a_script_must_say_yes_to_a_change(ada: Typist, engine: Engine) -> None:
    """Without it the bots are shown, and nothing is done."""
    failed = len(rows(engine, Bot, link_state="failed"))
    refused = ada.piped("relink", "--link-state", "failed")
    assert refused.code == 2
    assert f"{failed} bots would be retried" in refused.err
    assert (f"… and {failed - SAMPLE} more" in refused.err) == (failed > SAMPLE)
    every = ada.piped("relink", "--link-state", "linked").err
    assert f"… and {len(rows(engine, Bot, link_state='linked')) - SAMPLE} more\n" in every
    shown = ada.piped("relink", "--link-state", "failed", "--preview", "--json")
    assert (shown.code, json.loads(shown.out)["count"]) == (0, failed)
    assert rows(engine, Audit) == []
    done = ada.piped("relink", "--link-state", "failed", "--yes", "--json")
    assert (done.code, json.loads(done.out)["relinked"]) == (0, failed)
    (audit,) = rows(engine, Audit)
    assert (audit.actor, audit.action) == ("cli ada", "relink")
    assert rows(engine, Bot, link_state="failed") == []


@on_sqlite
def test_a_person_is_asked_first_and_sees_it_go(ada: Typist, engine: Engine) -> None:
    """No is no; yes shows a bar and what was done."""
    no = ada.on_terminal("relink", bot_id(3), answer=b"n\n")
    assert (no.code, "Retry them?" in no.out) == (1, True)
    assert rows(engine, Audit) == []
    yes = ada.on_terminal("relink", bot_id(3), bot_id(20), answer=b"y\n")
    assert "queued for retry" in yes.out
    assert "2 bots queued for retry over 0.5 s" in yes.out
    assert len(rows(engine, Audit)) == 1


@on_sqlite
def test_the_audit_is_asked_by_who_and_tells_details_as_json(ada: Typist, engine: Engine) -> None:
    """In a pipe and on a terminal as in CSV; not as Python spells a dictionary."""
    asked = {"asked": {"link_state": "failed"}, "relinked": 12}
    row = {"at": db_now(), "action": "relink", "details": asked}
    with engine.begin() as connection:
        connection.execute(insert(Audit).values(actor="ann", **row))
        connection.execute(insert(Audit).values(actor="bob", **row))
    head, line = ada.piped("audit", "--actor", "ann", "--action", "relink").out.splitlines()
    found = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert (found["actor"], json.loads(found["details"])) == ("ann", asked)
    (found,) = csv.DictReader(io.StringIO(ada.piped("audit", "--actor", "ann", "--csv").out))
    assert json.loads(found["details"]) == asked
    assert ada.piped("audit", "--actor", "an").code == 1


@pytest.mark.parametrize(
    ("environ", "actor"),
    [
        ({"USER": "ada"}, "cli ada"),
        ({"USER": "root", "LOGNAME": "root", "SUDO_USER": "ada"}, "cli ada"),
        ({"USER": "u1234", "DYNO": "run.17"}, "cli run.17"),
        ({"USER": ""}, f"cli {pwd.getpwuid(os.getuid()).pw_name}"),
    ],
)
def test_the_audit_calls_whoever_types_by_their_login_name(
    environ: dict[str, str], actor: str
) -> None:
    """Also under sudo, and where the environment has none; a dyno's user is nobody."""
    assert Session(environ).actor() == actor


# -- care ----------------------------------------------------------------------


def test_status_tells_what_waits_and_fails_when_something_is_wrong(
    ada: Typist, engine: Engine
) -> None:
    """For people, and for a script that watches."""
    said = ada.piped("status", "--json")
    found = json.loads(said.out)
    assert said.code == 1
    assert [alarm["name"] for alarm in found["alarms"]][-1] == "no_worker"
    assert {"backlog", "circuit", "quota", "workers", "hours", "latency"} <= set(found)
    a_worker(engine)
    set_received_now(engine)
    said = ada.piped("status")
    assert (said.code, "look-ups waiting\t0" in said.out) == (0, True)


def set_received_now(engine: Engine) -> None:
    """Whatever came, came just now: nobody is silent."""
    with engine.begin() as connection:
        connection.execute(update(Delivery).values(received_at=db_now()))


@on_sqlite
def test_doctor_ends_as_what_it_found(ada: Typist, engine: Engine, tmp_path: Path) -> None:
    """1 where something failed or rings, 3 where an answer did not come; JSON as well."""
    key = {"RECALL_API_KEY": "some-key"}
    nobody = {"RECALL_API_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    assert ada.piped("doctor", "--offline", **key).code == 1
    a_worker(engine)
    set_received_now(engine)
    assert ada.piped("doctor", "--offline", **key).code == 0
    assert ada.piped("doctor", **key, **nobody).code == 3
    said = ada.piped("doctor", "--json")
    findings = {one["name"]: one for one in json.loads(said.out)["findings"]}
    assert (said.code, findings["API key"]["level"]) == (1, "failed")
    assert all(one["remedy"] for one in findings.values() if one["level"] != "ok")
    assert (
        ada.piped("doctor", "--offline", DATABASE_URL=f"sqlite:///{tmp_path}/no/such.db").code == 3
    )
    assert "failed" in ada.on_terminal("doctor").out


def test_db_makes_the_tables_and_compares_them(
    typist: MakeTypist, postgres_url: str, tmp_path: Path
) -> None:
    """From nothing to this release, on both databases; a table that differs is told."""
    url = f"sqlite:///{tmp_path}/new.db"
    assert typist(url).piped("db", "check").code == 3
    (tmp_path / "new.db").touch()
    _make_and_compare(typist(url))
    _make_anew(typist(f"sqlite:///{tmp_path}/other.db"))
    with new_database(postgres_url) as url:
        _make_and_compare(typist(url))


def _make_anew(ada: Typist) -> None:
    assert ada.piped("db", "upgrade").code == 0
    assert ada.piped("db", "check").code == 0


def _make_and_compare(ada: Typist) -> None:
    assert (said := ada.piped("links")).code == 3
    assert "run `recall-links db upgrade`" in said.err
    assert ada.piped("db", "check").code == 1
    made = ada.piped("db", "upgrade", "--json")
    assert (made.code, list(json.loads(made.out))) == (0, ["at"])
    assert "Running upgrade" in made.err
    compared = ada.piped("db", "check", "--json")
    assert (compared.code, json.loads(compared.out)["differs"]) == (0, None)
    assert compared.err == ""


@on_sqlite
def test_reverify_shows_a_bar_and_says_how_many(ada: Typist, engine: Engine) -> None:
    """Nothing accepted is exit 1; what was checked is told in JSON too."""
    junk = {"reason": "no_matching_signature", "headers": {"svix-id": "a"}, "body": b"{}"}
    with engine.begin() as connection:
        connection.execute(insert(Rejection).values(received_at=db_now(), **junk))
    said = ada.piped("reverify", "--json")
    assert (said.code, json.loads(said.out)) == (1, {"looked_at": 1, "accepted": 0, "refused": 1})
    assert "checked again" in ada.on_terminal("reverify").out


# -- what can go wrong ---------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "settings", "code", "told"),
    [
        (["links"], {}, 0, ""),
        (["links", "--title", "nobody's words"], {}, 1, ""),
        (["explain", "17"], {}, 1, "nothing has this id"),
        (["links", "--since", "someday"], {}, 2, "--since"),
        (["links", "--bot-id", "17"], {}, 2, "--bot-id"),
        (["links", "--link-state", "odd"], {}, 2, "'pending'"),
        (["links", "--metadata", "team"], {}, 2, "--metadata"),
        (["bots", "--metadata", "=x"], {}, 2, "--metadata"),
        (["bots", "--metadata", f"a\x1b={'x' * 1001}"], {}, 2, "a\\x1b: must have at most 1000"),
        (["bots", "--metadata", "a=1", "--metadata", "a=2"], {}, 2, "more than once"),
        (["relink", "--metadata", "a"], {}, 2, "--metadata"),
        (["relink"], {}, 2, "not every bot at once"),
        (["nothing"], {}, 2, "No such command"),
        (["status"], {"PORT": "many"}, 2, "recall-links: PORT: "),
        (["links"], {"DATABASE_URL": "mysql://x"}, 2, "DATABASE_URL"),
        (["links"], {"DYNO": "run.1"}, 2, "a dyno's disk is lost daily"),
        (["reverify"], {"RECALL_WEBHOOK_SECRETS": ""}, 2, "RECALL_WEBHOOK_SECRETS is not set"),
        (["status"], {"DATABASE_URL": "postgres://x@127.0.0.1:{port}/x"}, 3, "does not answer"),
        (["db", "upgrade"], {"DATABASE_URL": "postgres://x@127.0.0.1:{port}/x"}, 3, "answer"),
        (["links"], {"DATABASE_URL": "sqlite:////no/such/folder/x.db"}, 3, "no database file"),
    ],
)
@on_sqlite
def test_every_end_has_its_exit_code_and_one_plain_line(
    ada: Typist, words: list[str], settings: dict[str, str], code: int, told: str
) -> None:
    """As docs/cli.md has them; and never a traceback."""
    given = {name: value.format(port=free_port()) for name, value in settings.items()}
    said = ada.piped(*words, **given)
    assert (said.code, told in said.err) == (code, True), said.err
    assert said.code in (0, 1) or said.out == ""


@on_sqlite
def test_a_database_of_a_newer_release_is_refused_in_words(ada: Typist, engine: Engine) -> None:
    """An old release line must not run over it."""
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    said = ada.piped("db", "upgrade")
    assert (said.code, "9999" in said.err) == (3, True)


# -- how it is called ----------------------------------------------------------


def test_every_command_says_json_and_help_says_the_exit_codes() -> None:
    """A script can use each of them; completion prints shell code alone."""
    for path, command in _leaves(cli, ()):
        options = {name for one in command.params for name in one.opts}
        assert "--json" in options or path == ("completion",), path
        assert command.help, path
    assert cli.help is not None
    for code in ("0 success", "1 nothing", "2 wrong", "3 the"):
        assert code in " ".join(cli.help.split())


def _leaves(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [leaf for name, one in command.commands.items() for leaf in _leaves(one, (*path, name))]


def test_help_and_completion_need_no_settings(typist: MakeTypist) -> None:
    """Whoever mends a setting wants to read how."""
    ada = typist("nonsense")
    assert ada.piped("links", "--help").code == 0
    assert "complete" in ada.piped("completion", "bash").out
    words = {"_RECALL_LINKS_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    assert ada.piped(COMP_WORDS="recall-links re", **words).out.split() == [
        "plain,reconcile", "plain,reconciles", "plain,recordings", "plain,rejections",
        "plain,relink", "plain,reverify",
    ]  # fmt: skip
    words["COMP_CWORD"] = "3"
    said = ada.piped(COMP_WORDS="recall-links links --link-state p", **words)
    assert said.out.split() == ["plain,pending", "plain,partial"]


@on_sqlite
def test_it_runs_as_heroku_runs_it(ada: Typist, tmp_path: Path, database_url: str) -> None:
    """By .profile's path and bin/recall-links, from wherever the shell stands."""
    home = tmp_path / "app"
    home.mkdir()
    for name in ("bin", ".profile", "models", "webhook", "workers", "migrations"):
        (home / name).symlink_to(ROOT / name)
    environ = environment(DATABASE_URL=database_url, HOME=str(home))
    shell = shutil.which("bash") or "sh"
    script = '. "$HOME/.profile"; cd /; recall-links links --limit 1 --json'
    done = subprocess.run(
        [shell, "-c", script], env=environ, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"][0]["bot_id"] == bot_id(FULL - 1)
    assert os.access(ROOT / "bin" / "recall-links", os.X_OK)


@on_sqlite
def test_it_runs_as_the_module_it_is(ada: Typist) -> None:
    """The exit code is the process's own, and so is the one line."""
    command = [sys.executable, "-m", "webhook.cli.main", "status"]
    url = "sqlite:////no/such/folder/x.db"
    environ = ada.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, check=False, capture_output=True, cwd="/")
    assert done.returncode == 3
    assert done.stderr == (
        b"recall-links: the database does not answer: there is no database file"
        b" /no/such/folder/x.db; set DATABASE_URL, or create the file with"
        b" `recall-links db upgrade`\n"
    )
