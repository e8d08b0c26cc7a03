"""Errors that concern the whole workspace, and not one bot."""

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

from workers.linking.types import LinkResult
from workers.rate_limits.buckets import AUTHENTICATE, BOT_GET
from workers.recall_api.circuit import close_bucket, open_circuit
from workers.recall_api.errors import Endpoint, RecallError
from workers.recall_api.retry_policy import RetryDecision, Then, decide

# Not a calendar user's bucket: it concerns few workers for a short time, so Redis is enough.
_SHARED_BUCKETS = {Endpoint.BOT: BOT_GET, Endpoint.AUTHENTICATE: AUTHENTICATE}


def learn(connection: Connection, results: Iterable[LinkResult]) -> None:
    """Open the circuit or close buckets if these results say so."""
    closed: dict[str, float] = {}
    for error, decision in errors_for_all(results):
        if decision.then is Then.OPEN_CIRCUIT:
            open_circuit(connection, error, decision.longest)
        else:
            bucket = _SHARED_BUCKETS[error.endpoint]
            closed[bucket] = max(closed.get(bucket, 0.0), decision.longest)
    # In the order of names, as all writers lock rows.
    for bucket, seconds in sorted(closed.items()):
        close_bucket(connection, bucket, seconds)


def errors_for_all(
    results: Iterable[LinkResult],
) -> Iterator[tuple[RecallError, RetryDecision]]:
    """Yield the errors for which every bot has to wait."""
    for result in results:
        for error in filter(None, [result.failure, *(m.error for m in result.fetched)]):
            # The number of the attempt does not matter for these.
            decision = decide(error, 1)
            is_closing = decision.then is Then.CLOSE_BUCKET and error.endpoint in _SHARED_BUCKETS
            if is_closing or decision.then is Then.OPEN_CIRCUIT:
                yield error, decision
