"""What the threads of events log when their work fails; they go on all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from models.core.database_errors import is_too_slow, is_unavailable, reason

logger = structlog.stdlib.get_logger(__name__)


@contextmanager
def failures_logged(what: str, **facts: str) -> Iterator[None]:
    """Log an error instead of raising it: a thread that ends would be missed by nobody."""
    try:
        yield
    except Exception as error:
        if is_unavailable(error) and not is_too_slow(error):
            # The poller says in words that it waits for the database.
            logger.debug("events wait for the database", reason=reason(error))
        else:
            logger.exception(what, **facts)
