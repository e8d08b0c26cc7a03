"""What to do about a database error, chosen by its message."""

import re

from models.core.database_errors import ErrorKind, classify, reason

# (pattern in the message, remedy); the first match is used.
_REMEDIES = (
    (
        "password authentication failed|no password supplied|authentication failed|SASL",
        "check the user and the password in DATABASE_URL",
    ),
    (
        "no encryption|SSL required|SSL connection is required|requires SSL|SSL off",
        "the server requires TLS: add sslmode=require to DATABASE_URL",
    ),
    (
        "server does not support SSL",
        "the server has no TLS: remove sslmode=require from DATABASE_URL",
    ),
    (
        "certificate",
        "check sslrootcert and sslmode in DATABASE_URL",
    ),
    (
        "no pg_hba.conf entry",
        "allow this host in pg_hba.conf, and use TLS if the server requires it (sslmode=require)",
    ),
    (
        'database "[^"]*" does not exist|no such database|database does not exist',
        "create it, or correct its name in DATABASE_URL",
    ),
    (
        'role "[^"]*" does not exist|no such user|not permitted to log in',
        "create the role, or correct its name in DATABASE_URL",
    ),
    (
        "permission denied for database",
        "as its owner: GRANT CONNECT ON DATABASE … TO this role",
    ),
    (
        "permission denied for schema|no schema has been selected",
        "as its owner: GRANT USAGE, CREATE ON SCHEMA … TO this role, or set its search_path",
    ),
    (
        "permission denied|must be owner",
        "run db upgrade and the service as the role that owns the tables",
    ),
    (
        "too many (clients|connections)|connection slots|max_client_conn|no more connections",
        "scale down, or choose a plan with more connections",
    ),
    (
        "unsupported startup parameter",
        "remove the parameter from DATABASE_URL, or add it to ignore_startup_parameters",
    ),
    (
        "configuration parameter|invalid value for parameter|command-line argument",
        "correct the options in DATABASE_URL",
    ),
    (
        "starting up|shutting down|recovery",
        "wait: the server is starting, stopping or recovering",
    ),
    (
        "read-only",
        "point DATABASE_URL at the primary, or make the database writable again",
    ),
    (
        "No space left|disk|could not extend",
        "give the database more disk space",
    ),
    (
        "Connection refused|timeout|timed out|resolve|No such file|unreachable",
        "check the host and port in DATABASE_URL, and that the server is running",
    ),
    (
        "locked|lock timeout|deadlock",
        "wait for the transaction that holds the lock, or end it",
    ),
    (
        "no database file",
        "set DATABASE_URL, or create the file with `recall-links db upgrade`",
    ),
    (
        "unable to open database file",
        "check the path in DATABASE_URL, and that its folder is writable",
    ),
)
_ELSE = "check DATABASE_URL and the server"
_NAMES = re.compile(r"\"[^\"]*\"|'[^']*'")


def remedy(error: BaseException) -> str:
    """Return what an operator can do about an error."""
    said = reason(error)
    found = (words for sign, words in _REMEDIES if re.search(sign, said, re.IGNORECASE))
    return next(found, _ELSE)


TOO_SLOW = "the search took too long: narrow it to a time range (since, until)"


def describe(error: BaseException) -> str | None:
    """Return one line with the reason and the remedy; None if the database did not cause it."""
    kind = classify(error)
    if kind is ErrorKind.REFUSED:
        return f"the database refuses: {reason(error)}; {remedy(error)}"
    if kind in (ErrorKind.UNAVAILABLE, ErrorKind.LOCKED):
        return f"the database does not answer: {reason(error)}; {remedy(error)}"
    return None


def public_reason(error: BaseException) -> str:
    """Return the reason without quoted names, which may be roles, hosts or databases."""
    return _NAMES.sub('"…"', reason(error))
