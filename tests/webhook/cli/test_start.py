"""What a command loads before it does anything: not what other commands need."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

import webhook.cli.commands
from tests.conftest import ROOT
from tests.lab.stack.stack import environment
from webhook.cli.main import ENTRIES, cli

# None of them is needed to say what there is.
HEAVY = {
    "alembic", "cryptography", "flask", "httpcore", "httpx", "models.settings", "pg8000",
    "psycopg", "pydantic", "redis", "rich", "rq", "sentry_sdk", "sqlalchemy", "structlog",
    "waitress", "werkzeug", "workers",
}  # fmt: skip
# A list needs the database, and nothing else.
READS = {"cryptography", "models.settings", "psycopg", "pydantic", "rich", "sqlalchemy"}
ASK = """
import json, sys
from webhook.cli.main import main
sys.argv = ["recall-links", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def loaded(*words: str, **settings: str) -> set[str]:
    """Run a command in a fresh process: which of the heavy ones it has loaded at its end."""
    command = [sys.executable, "-c", ASK, *words]
    environ = environment(**settings)
    done = subprocess.run(
        command, cwd=ROOT, env=environ, check=False, capture_output=True, text=True
    )
    modules = json.loads(done.stderr.splitlines()[-1])
    return {heavy for heavy in HEAVY for one in modules if f"{one}.".startswith(f"{heavy}.")}


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("no-such-command",), ("completion", "bash"), ()]
)
def test_what_asks_no_database_loads_none(words: tuple[str, ...]) -> None:
    """Help, the version, a slip of the hand: click alone."""
    assert loaded(*words) == set()


def test_pressing_tab_loads_the_command_alone() -> None:
    """Names of commands are completed without any; options by their own command's module."""
    how = {"_RECALL_LINKS_COMPLETE": "bash_complete"}
    assert loaded(**how, COMP_WORDS="recall-links re", COMP_CWORD="1") == set()
    assert "alembic" not in loaded(**how, COMP_WORDS="recall-links bots --", COMP_CWORD="2")


@pytest.mark.parametrize("words", [("links", "--help"), ("links",), ("audit", "--csv")])
def test_a_list_loads_what_reads_a_database(
    sqlite_template: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Neither the web server, the queue, Recall's client, the migrations nor the log."""
    path = shutil.copy(sqlite_template, tmp_path / "test.db")
    assert loaded(*words, DATABASE_URL=f"sqlite:///{path}") <= READS


def test_every_command_of_every_module_is_in_the_table() -> None:
    """By its own name and with its own help's first sentence, in alphabetical order."""
    folder = Path(str(webhook.cli.commands.__file__)).parent
    # Those of a group's other modules are that group's.
    names = sorted({path.stem for path in folder.glob("[a-z]*.py")} - {"event_actions"})
    modules = {name: importlib.import_module(f"webhook.cli.commands.{name}") for name in names}
    found = {
        one.name: (name, one.get_short_help_str(500))
        for name, module in modules.items()
        for one in getattr(module, "COMMANDS", ())
    }
    assert found == {name: (entry.module, entry.summary) for name, entry in ENTRIES.items()}
    assert list(ENTRIES) == sorted(ENTRIES)
    assert {name: one.name for name, one in cli.commands.items()} == {name: name for name in found}


def test_completion_knows_commands_and_options() -> None:
    """By what was typed of them."""
    complete = ShellComplete(cli, {}, "recall-links", "_RECALL_LINKS_COMPLETE")
    found = {one.value: one.help for one in complete.get_completions([], "re")}
    assert set(found) == {
        *("reconcile", "reconciles", "recordings", "rejections", "relink", "reverify")
    }
    assert found["relink"] == ENTRIES["relink"].summary
    options = {one.value for one in complete.get_completions(["links"], "--c")}
    assert {"--columns", "--csv", "--current"} <= options
    assert isinstance(cli, click.Group)
