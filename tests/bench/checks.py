"""Whether a contender really stored and linked what it said it did: counts and content."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg

from tests.bench.environment import BenchError
from tests.bench.world import World, bot_id, webhook_body

Connection = psycopg.Connection[tuple[Any, ...]]
LINKS = "SELECT bot_id, meeting_id, external_id, meeting_title FROM bot_links WHERE bot_id >= %s"


class EmptyAnswerError(BenchError):
    """A contender answered 2xx, or said it was done, and the rows are not there."""


def check_deliveries(
    connection: Connection, expected: Sequence[tuple[str, int, str]], who: str
) -> None:
    """Each (message id, bot number, code) that was answered 2xx is there, body and all."""
    found = connection.execute("SELECT id, bot_id, code, body FROM deliveries").fetchall()
    rows = {row[0]: (row[1], row[2], bytes(row[3])) for row in found}
    wrong = Counter[str]()
    for message_id, number, code in expected:
        row = rows.get(message_id)
        if row is None:
            wrong["missing"] += 1
        elif row != (bot_id(number), code, webhook_body(number, code)):
            wrong["different"] += 1
    if wrong:
        raise EmptyAnswerError(
            f"{who}: {len(expected)} answered 2xx, of these {dict(wrong)} in the database"
        )


def check_links(connection: Connection, world: World, numbers: range, who: str) -> None:
    """Every bot of the range is linked to each of its meetings, under the right user and title."""
    expected = world.links(numbers)
    found = set(connection.execute(LINKS, (bot_id(numbers.start),)).fetchall())
    if expected - found:
        raise EmptyAnswerError(
            f"{who}: {len(expected - found)} of {len(expected)} links are missing or wrong, "
            f"for one {min(expected - found)}"
        )


def count(connection: Connection, table: str) -> int:
    """How many rows a table has."""
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def link_count(connection: Connection, table: str, first: int) -> int:
    """How many links of bots from `first` on are there."""
    statement = f"SELECT count(*) FROM {table} WHERE bot_id >= %s"
    row = connection.execute(statement, (bot_id(first),)).fetchone()
    return int(row[0]) if row else 0
