"""A drain's statements, compiled before the fork: a horse lives for one drain and starts cold.

Compiling them took a fresh horse longer than all of its SQL. Nothing here speaks to a database:
the statements are made by the very functions that a drain runs, over a connection to nowhere.
"""

import codecs
import ssl
from collections import namedtuple
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.sql.compiler import WARN_LINTING

from models.settings import Settings
from workers.apply import apply_batch
from workers.bodies import BotBody, MeetingBody, MeetingRef
from workers.claims import Claim, LinkResult, MeetingResult
from workers.desk import Question, TokenAsked, TokenDesk
from workers.judge import judge
from workers.lease import any_claimable, claim, claim_suspect, renew
from workers.recall import Call
from workers.settle import settle
from workers.tally import add_tallies, tallies_of
from workers.tokens import Vault
from workers.tools import make_tools
from workers.wire import Wire
from workers.workspace import read_workspace

logger = structlog.stdlib.get_logger(__name__)

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_NOBODYS_KEY = "rehearsal"
# What a row that is read holds; columns that are not named here are NULL.
_ROW = {"status": "joining_call", "first_seen_at": _NOW, "status_at": _NOW, "due_seq": 1}
_ROW |= {"occurred_at": _NOW, "received_at": _NOW, "claimed_at": _NOW, "crashes": 0, "attempts": 0}
# The tables that answer; all others are empty: nobody is erased, no circuit is open.
_ANSWERING = ("deliveries", "bots")


class _Answer:
    """What a rehearsed statement comes to; as much of a Result as a drain uses."""

    rowcount = 0

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        return self._rows

    def one_or_none(self) -> Any:
        return self._rows[0] if self._rows else None


class _Rehearsal:
    """An engine and its connection in one, to nowhere: it compiles, as executing would."""

    def __init__(self, engine: Engine, bots: int, code: str) -> None:
        self.dialect = engine.dialect
        # Private, as filling this cache has no public way but executing; a test holds us to it.
        self._cache = engine._compiled_cache
        self._bots, self._code = bots, code

    @contextmanager
    def begin(self) -> Iterator["_Rehearsal"]:
        yield self

    def execute(self, statement: Any, parameters: Any = None) -> _Answer:
        rows = [parameters] if isinstance(parameters, dict) else parameters or []
        statement._compile_w_cache(
            self.dialect,
            compiled_cache=self._cache,
            column_keys=sorted(rows[0]) if rows else [],
            # One row and many are two statements to SQLAlchemy, as are two sets of columns.
            for_executemany=len(rows) > 1,
            linting=self.dialect.compiler_linting | WARN_LINTING,
        )
        return _Answer(self._rows(statement))

    def scalars(self, statement: Any, parameters: Any = None) -> list[Any]:
        return [row[0] for row in self.execute(statement, parameters)]

    def scalar(self, statement: Any) -> Any:
        return next(iter(self.scalars(statement)), None)

    def _rows(self, statement: Any) -> list[Any]:
        columns = getattr(statement, "exported_columns", {})
        names = list(columns.keys())
        table = getattr(columns[names[0]], "table", None) if names else None
        if getattr(table, "name", None) not in _ANSWERING:
            return []
        row = namedtuple("row", names)  # type: ignore[misc]
        return [row(*(self._value(name, turn) for name in names)) for turn in range(self._bots)]

    def _value(self, name: str, turn: int) -> Any:
        known = _ROW | {"code": self._code, "lease_token": "lease"}
        return str(turn) if name in ("id", "bot_id") else known.get(name)


def rehearse(engine: Engine) -> None:
    """Compile into the engine's cache what an ordinary drain says; opens no connection."""
    try:
        # A terminal event makes a bot due, another does not; one bot alone, and several at once.
        for bots in (1, 2):
            for code in ("done", "in_call_recording"):
                _drain(cast("Any", _Rehearsal(engine, bots, code)), bots)
    except Exception:
        # Only time is lost: a worker that would not start for it would lose more.
        logger.exception("statements are not compiled beforehand")


def warm_up(settings: Settings, context: ssl.SSLContext, engine: Engine) -> None:
    """Make once what each horse makes, for what its libraries load at first; connects nothing."""
    make_tools(settings, context, engine)
    Wire(context).close()
    # Looked up by each connection to a name, and imported by the first of a process.
    codecs.lookup("idna")


def _drain(nowhere: Any, bots: int) -> None:
    connection: Connection = nowhere
    apply_batch(nowhere)
    read_workspace(connection)
    any_claimable(connection)
    claim_suspect(connection, 1.0)
    claims = claim(connection, bots, 1.0)
    renew(connection, claims, 1.0)
    _ask_desk(connection, bots)
    for people in (1, 2):
        settled = settle(connection, [judge(_result(one, people)) for one in claims])
        add_tallies(connection, tallies_of(settled))


def _ask_desk(connection: Connection, users: int) -> None:
    desk = TokenDesk(Vault(_NOBODYS_KEY))
    names = [str(turn) for turn in range(users)]
    desk.ask(connection, Question(tuple(TokenAsked(name) for name in names), ()))
    desk.save(connection, dict.fromkeys(names, "token"))


def _result(claim: Claim, people: int) -> LinkResult:
    ref = MeetingRef(claim.bot_id, _NOW, _NOW, claim.bot_id, claim.bot_id)
    told: dict[str, Any] = dict.fromkeys(MeetingBody.__slots__)
    addresses = frozenset(str(turn) for turn in range(people))
    body = MeetingBody(**told | {"attendees": (), "people": addresses, "details": {}})
    return LinkResult(
        claim,
        _NOW,
        _NOW,
        calls=(Call("GET", "bot/{id}", None, 200, 0, None),),
        bot=BotBody((ref,), 0, None, None, None, None),
        fetched=(MeetingResult(ref, "found", body=body, fetched_at=_NOW),),
    )
