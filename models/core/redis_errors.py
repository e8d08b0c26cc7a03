"""Reasons and remedies for Redis errors."""

import re

from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

LONGEST_REASON = 300
# redis-py wraps the system's message in text that names the host, port or path.
_AROUND = (
    # A pipeline error contains the command's arguments.
    re.compile(r"Command # \d+ \(.*\) of pipeline caused error: (.+)"),
    re.compile(r"Error .*connecting to .*?\. (.+)"),
    re.compile(r"Error (.+) connecting to .*"),
    re.compile(r"Error .*while writing to socket\. (.+)"),
    re.compile(r"Error while reading from .*: \(.*?, ['\"](.*)['\"],?\)"),
)
_FIRST_SENTENCE = re.compile(r"^.*?[.!?](?=\s|$)")
# Errors about unknown commands repeat the arguments; those of AUTH are the password.
_ARGUMENTS = re.compile(r",? with args beginning with.*|\S*://\S*")

# (pattern in the message, remedy); the first match is used.
_REMEDIES = (
    (
        "without any password configured",
        "remove the password from REDIS_URL, or set one on the server",
    ),
    (
        "invalid username-password pair|invalid password|Authentication required|NOAUTH",
        "check the user and the password in REDIS_URL",
    ),
    (
        "certificate",
        "check the host in REDIS_URL; for a self-signed certificate set REDIS_TLS_VERIFY=none",
    ),
    (
        "SSL|TLS",
        "the server may not support TLS: use redis:// in REDIS_URL instead of rediss://",
    ),
    (
        "closed by server|reset by peer",
        "the server may require TLS: use rediss:// in REDIS_URL instead of redis://",
    ),
    (
        "protected mode",
        "set a password on the server (requirepass) and in REDIS_URL",
    ),
    (
        "no permissions|NOPERM",
        "allow this user every command on every key (ACL SETUSER … ~* &* +@all)",
    ),
    (
        "maxmemory",
        "give Redis more memory, or remove other data from it",
    ),
    (
        "persist to disk|No space left",
        "give Redis a writable disk, or turn its snapshots off (CONFIG SET save '')",
    ),
    (
        "read only replica|Link with MASTER",
        "point REDIS_URL at the primary",
    ),
    (
        "clients reached|Too many connections",
        "scale down, or choose a plan with more connections",
    ),
    (
        "loading the dataset",
        "wait: the server is starting",
    ),
    (
        "DB index",
        "correct the database number in REDIS_URL",
    ),
    (
        r"cluster|^\d+ \S+:\d+$",
        "point REDIS_URL at a Redis that is not a cluster",
    ),
    (
        "unknown command|unknown subcommand|wrong number of arguments",
        "use Redis 6 or newer, without renamed commands",
    ),
    (
        "Protocol error",
        "another service answers there: check the host and port in REDIS_URL",
    ),
)
_ELSE = "check the host and port in REDIS_URL, and that the server is running"


def reason(error: BaseException) -> str:
    """Return the first sentence of Redis's message, at most 300 characters, without secrets."""
    said = " ".join(str(error).split())
    inner = next(filter(None, (around.fullmatch(said) for around in _AROUND)), None)
    said = _ARGUMENTS.sub("", inner[1] if inner else said).strip()
    first = _FIRST_SENTENCE.match(said)
    return (first[0] if first else said).rstrip(".")[:LONGEST_REASON] or type(error).__name__


def remedy(error: BaseException) -> str:
    """Return what an operator can do about an error."""
    said = reason(error)
    found = (words for sign, words in _REMEDIES if re.search(sign, said, re.IGNORECASE))
    return next(found, _ELSE)


def describe(error: BaseException) -> str:
    """Return why Redis cannot be used: it refuses, or it is unavailable."""
    refuses = isinstance(error, ResponseError | AuthenticationError | BusyLoadingError)
    return f"{'refuses' if refuses else 'is away'}: {reason(error)}"
