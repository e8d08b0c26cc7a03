"""What the threads of events log: an absent database quietly, all else with its traceback."""

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from structlog.testing import capture_logs

from workers.events.failures import FailureLog


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (OperationalError("", {}, psycopg.OperationalError("no connection")), "debug"),
        (OperationalError("", {}, psycopg.errors.DeadlockDetected("")), "debug"),
        (PoolTimeoutError("no connection is free"), "debug"),
        (OperationalError("", {}, psycopg.errors.QueryCanceled("too slow")), "error"),
        (IntegrityError("", {}, psycopg.errors.UniqueViolation("")), "error"),
        (IntegrityError("", {}, sqlite3.IntegrityError("")), "error"),
        (ProgrammingError("", {}, psycopg.errors.UndefinedTable("")), "error"),
        (ValueError("a bug"), "error"),
    ],
)
def test_only_an_absent_database_is_quiet(error: Exception, level: str) -> None:
    """All else would stop the feed without a word."""
    with capture_logs() as logged, FailureLog("events cannot be numbered").instead():
        raise error
    assert [line["log_level"] for line in logged] == [level]


def test_one_failure_is_one_traceback() -> None:
    """However often it is tried; another reason, or the same after a success, is news."""
    log = FailureLog("events cannot be numbered")
    with capture_logs() as logged:
        for words in ("no table", "no table", "no column", None, "no column"):
            with log.instead():
                if words:
                    raise ValueError(words)
    assert len(logged) == 3
