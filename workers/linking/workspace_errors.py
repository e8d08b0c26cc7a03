"""What results say of the whole workspace."""

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

from workers.linking.types import LinkResult
from workers.rate_limits.buckets import AUTHENTICATE, BOT_GET
from workers.recall_api.circuit import close_bucket, open_circuit
from workers.recall_api.errors import Endpoint, RecallError
from workers.recall_api.retry_policy import RetryDecision, Then, decide

# A calendar user's own bucket concerns few workers for a short time: Redis alone keeps it.
_SHARED_BUCKETS = {Endpoint.BOT: BOT_GET, Endpoint.AUTHENTICATE: AUTHENTICATE}


def learn(connection: Connection, results: Iterable[LinkResult]) -> None:
    """Note what these results say of the whole workspace: refused, or limited."""
    closed: dict[str, float] = {}
    for error, decision in errors_for_all(results):
        if decision.then is Then.OPEN_CIRCUIT:
            open_circuit(connection, error, decision.longest)
        else:
            bucket = _SHARED_BUCKETS[error.endpoint]
            closed[bucket] = max(closed.get(bucket, 0.0), decision.longest)
    # In the order of their names, as rows are locked everywhere.
    for bucket, seconds in sorted(closed.items()):
        close_bucket(connection, bucket, seconds)


def errors_for_all(
    results: Iterable[LinkResult],
) -> Iterator[tuple[RecallError, RetryDecision]]:
    """Yield what makes every bot wait, not the result's own alone."""
    for result in results:
        for error in filter(None, [result.failure, *(m.error for m in result.fetched)]):
            # Of the whole workspace: which try it was does not matter here.
            decision = decide(error, 1)
            is_closing = decision.then is Then.CLOSE_BUCKET and error.endpoint in _SHARED_BUCKETS
            if is_closing or decision.then is Then.OPEN_CIRCUIT:
                yield error, decision
