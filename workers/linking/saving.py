"""Saves the results of a drain: all together, or one by one if the database refuses that."""

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection

from models.core.database_errors import is_bad_row
from workers.db.counters import add_hourly_counts
from workers.db.transactions import Database, in_transaction
from workers.linking.outcome import LinkOutcome, outcome_of
from workers.linking.save_bots import log_saved, save_one_by_one, save_outcomes
from workers.linking.stats import ends_of, hourly_counts_of
from workers.linking.types import LinkResult
from workers.linking.workspace_errors import learn
from workers.recall_api.circuit import close_circuit

Save = Callable[[Connection, Sequence[LinkOutcome]], list[LinkOutcome]]


class ResultSaver:
    """Saves results for one drain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, results: Sequence[LinkResult], *, is_probing: bool) -> int:
        """Save these results; returns how many still had their lease."""
        # Outside the transaction, which may be retried: random waits are drawn only once.
        outcomes = [outcome_of(result) for result in results]

        def write(connection: Connection, by: Save) -> list[LinkOutcome]:
            learn(connection, results)
            if is_probing and any(result.bot for result in results):
                close_circuit(connection)
            saved = by(connection, outcomes)
            ends = ends_of(connection, saved)
            add_hourly_counts(connection, {**hourly_counts_of(saved), **ends})
            return saved

        try:
            saved = in_transaction(self._database, partial(write, by=save_outcomes))
        except Exception as error:
            if not is_bad_row(error):
                raise
            one_by_one = partial(write, by=save_one_by_one)
            saved = in_transaction(self._database, one_by_one)
        log_saved(saved)
        return len(saved)
