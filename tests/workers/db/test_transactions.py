"""The drain's one connection: kept between transactions, and made anew where it failed."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.exc import OperationalError

from models.tables.bot import Bot
from tests.conftest import MakeContext
from tests.support.fakes import BOT
from tests.support.rows import add_bot, rows
from workers.db.transactions import Writer, in_transaction

BACKEND = text("SELECT pg_backend_pid()")


def is_postgresql(engine: Engine) -> bool:
    """Whether connections have a server that can end them."""
    return engine.dialect.name == "postgresql"


def asking(statement: object) -> Callable[[Connection], object]:
    """Work that asks one thing."""
    return lambda connection: connection.scalar(statement)  # type: ignore[call-overload]


def transactions(connection: Connection) -> set[str]:
    """The transactions that two statements run in."""
    return {str(connection.scalar(text("SELECT pg_current_xact_id()::text"))) for _ in range(2)}


def test_a_connection_serves_many_transactions(make_context: MakeContext) -> None:
    """None is asked of the pool for each of them."""
    engine = make_context().engine
    writer = Writer(engine)
    for _ in range(3):
        in_transaction(writer, asking(select(Bot.id)))
    assert engine.pool.checkedout() == 1  # type: ignore[attr-defined]
    writer.close()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_connection_that_was_cut_is_made_anew(make_context: MakeContext, engine: Engine) -> None:
    """And the work is done on the new one."""
    if not is_postgresql(engine):
        pytest.skip("SQLite has no connection that another could cut")
    writer = Writer(make_context().engine)
    first = in_transaction(writer, asking(BACKEND))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    second = in_transaction(writer, asking(BACKEND))
    assert second is not None
    assert second != first
    writer.close()


def test_what_is_said_singly_is_committed_at_once(
    make_context: MakeContext, engine: Engine
) -> None:
    """On PostgreSQL also what came before a failure; the next transaction is one again."""
    add_bot(engine, BOT)
    writer = Writer(make_context().engine)
    raised = update(Bot).values(attempts=Bot.attempts + 1)

    def fail(connection: Connection) -> None:
        connection.execute(raised)
        raise ValueError

    for database in (writer.singly, writer):
        with pytest.raises(ValueError):  # noqa: PT011 - our own
            in_transaction(database, fail)
    in_transaction(writer.singly, lambda connection: connection.execute(raised))
    writer.close()
    (bot,) = rows(engine, Bot)
    assert bot.attempts == (2 if is_postgresql(engine) else 1)


def test_a_connection_that_is_cut_while_it_is_lent_singly_is_made_anew(
    make_context: MakeContext, engine: Engine
) -> None:
    """The question is asked again on the new one, and a transaction there is one."""
    if not is_postgresql(engine):
        pytest.skip("SQLite has no connection that another could cut")
    writer = Writer(make_context().engine)
    first = in_transaction(writer.singly, asking(BACKEND))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    assert in_transaction(writer.singly, asking(BACKEND)) not in (None, first)
    assert len(in_transaction(writer.singly, transactions)) == 2
    assert len(in_transaction(writer, transactions)) == 1
    writer.close()


def test_a_row_that_fails_costs_no_connection(make_context: MakeContext, engine: Engine) -> None:
    """What it wrote is rolled back, and the next transaction is a clean one."""
    writer = Writer(make_context().engine)

    def fail(connection: Connection) -> None:
        connection.execute(text("UPDATE bots SET attempts = 1"))
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - our own
        in_transaction(writer, fail)
    assert in_transaction(writer, asking(select(Bot.id))) is None
    writer.close()


def test_a_database_that_stays_away_is_given_up(make_context: MakeContext) -> None:
    """After the patience that it was given; the connection is not kept."""
    engine = make_context().engine
    writer, asked = Writer(engine), threading.Event()

    def away(_: Connection) -> None:
        asked.set()
        raise OperationalError("SELECT", {}, Exception("the server is gone"))

    with pytest.raises(OperationalError):
        in_transaction(writer, away, patience=0.0)
    assert asked.is_set()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
