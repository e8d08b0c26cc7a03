"""The command line as an operator's shell runs it, in this process."""

import json
from collections.abc import Callable
from typing import Any

from click.testing import CliRunner, Result
from sqlalchemy import Engine

from tests.lab.recall import FakeRecall
from tests.support.processes import environ_for
from tests.support.rows import add_delivery
from webhook.cli.main import cli
from workers.linking.context import WorkerContext
from workers.linking.drain import Drain
from workers.shutdown import Stop

Tell = Callable[..., Result]


def teller(database_url: str, recall: FakeRecall, **settings: object) -> Tell:
    """Return what runs `recall-links` with these words against the fake Recall."""
    environ = environ_for(database_url, recall, RECALL_RATE_SHARE=100_000, **settings)

    def tell(*words: str, typed: str | None = None) -> Result:
        # main() turns errors into exit codes; what is raised here is a test's to see.
        return CliRunner().invoke(cli, words, env=environ, input=typed, catch_exceptions=False)

    return tell


def told(result: Result) -> Any:
    """Return what was printed as JSON."""
    return json.loads(result.stdout)


def link(engine: Engine, tools: WorkerContext, *bots: str, code: str = "joining_call") -> None:
    """Let a webhook tell of each bot, and drain."""
    for bot in bots:
        add_delivery(engine, bot, code)
    Drain(tools, Stop()).run()
