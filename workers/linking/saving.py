"""The settling side of a drain: results into the database, together, or one by one."""

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection

from models.core.database_errors import is_bad_row
from workers.db.counters import add_hourly_counts
from workers.db.transactions import Database, in_transaction
from workers.linking.outcome import Verdict, judge
from workers.linking.save_bots import log_settled, settle, settle_one_by_one
from workers.linking.stats import hourly_counts_of
from workers.linking.types import LinkResult
from workers.linking.workspace_errors import learn
from workers.recall_api.circuit import close_circuit

Settle = Callable[[Connection, Sequence[Verdict]], list[Verdict]]


class ResultSaver:
    """Settles results for one drain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(self, results: Sequence[LinkResult], *, is_probing: bool) -> int:
        """Write what came of these bots; returns how many were still ours to settle."""
        # Outside the transaction, which may run twice: a wait is drawn by chance, but once.
        verdicts = [judge(result) for result in results]

        def write(connection: Connection, by: Settle) -> list[Verdict]:
            learn(connection, results)
            if is_probing and any(result.bot for result in results):
                close_circuit(connection)
            settled = by(connection, verdicts)
            add_hourly_counts(connection, hourly_counts_of(settled))
            return settled

        try:
            settled = in_transaction(self._database, partial(write, by=settle))
        except Exception as error:
            if not is_bad_row(error):
                raise
            one_by_one = partial(write, by=settle_one_by_one)
            settled = in_transaction(self._database, one_by_one)
        log_settled(settled)
        return len(settled)
