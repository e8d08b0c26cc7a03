"""Rehearsing: a drain that comes after it compiles nothing anew, and no database hears of it."""

import pytest
from sqlalchemy import Engine

from models.database import make_engine
from tests.conftest import MakeSettings, MakeTools
from tests.lab.recall import FakeRecall
from tests.rows import add_delivery
from workers.drain import Drain
from workers.rehearsal import rehearse
from workers.stop import Stop


def compiled(engine: Engine) -> set[object]:
    """What SQLAlchemy has compiled for this engine."""
    assert engine._compiled_cache is not None
    return set(engine._compiled_cache)


@pytest.mark.parametrize("bots", [1, 5])
@pytest.mark.parametrize("code", ["done", "in_call_recording"])
def test_a_rehearsed_drain_compiles_nothing_anew(
    engine: Engine, recall: FakeRecall, make_tools: MakeTools, bots: int, code: str
) -> None:
    """One bot or several, at their first word or their last; SQLAlchemy's cache is the witness."""
    for _ in range(bots):
        bot = recall.build.bot([recall.build.meeting(recall.build.user())])
        add_delivery(engine, bot.id, code)
    tools = make_tools()
    rehearse(tools.engine)
    rehearsed = compiled(tools.engine)
    assert Drain(tools, Stop()).run() == bots
    # No statement among these was compiled by the drain.
    assert compiled(tools.engine) == rehearsed


def test_rehearsing_opens_no_connection(make_settings: MakeSettings) -> None:
    """It happens in a process that forks, where no database need be there yet."""
    engine = make_engine(make_settings(), "write")
    engine.pool._creator = pytest.fail
    rehearse(engine)
    assert engine._compiled_cache
