"""What the threads of events log when their work fails; they go on all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from models.core.database_errors import is_too_slow, is_unavailable, reason

logger = structlog.stdlib.get_logger(__name__)


class FailureLog:
    """Logs why one thread's work failed: one traceback until it succeeds or fails otherwise."""

    def __init__(self, what: str, **facts: str) -> None:
        self._what, self._facts = what, facts
        self._logged: str | None = None

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Log an error instead of raising it: a thread that ends would be missed by nobody."""
        try:
            yield
            self._logged = None
        except Exception as error:
            if is_unavailable(error) and not is_too_slow(error):
                # The poller says in words that it waits for the database.
                logger.debug("events wait for the database", reason=reason(error))
            elif (why := reason(error)) != self._logged:
                # It tries again each second: a missing migration would fill the log.
                self._logged = why
                logger.exception(self._what, **self._facts)
