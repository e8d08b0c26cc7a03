"""What Redis says when it refuses or is away, and what to do about it."""

import re

from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

LONGEST_REASON = 300
# redis-py's own words around those of the system: they name the host, the port or the path.
_AROUND = (
    # The command that a pipeline names holds its arguments.
    re.compile(r"Command # \d+ \(.*\) of pipeline caused error: (.+)"),
    re.compile(r"Error .*connecting to .*?\. (.+)"),
    re.compile(r"Error (.+) connecting to .*"),
    re.compile(r"Error .*while writing to socket\. (.+)"),
    re.compile(r"Error while reading from .*: \(.*?, ['\"](.*)['\"],?\)"),
)
_FIRST_SENTENCE = re.compile(r"^.*?[.!?](?=\s|$)")
# An old or a renamed command's arguments are repeated, and AUTH's are the password.
_ARGUMENTS = re.compile(r",? with args beginning with.*|\S*://\S*")

# The first that is found in the server's or the client's sentence.
_REMEDIES = (
    (
        "without any password configured",
        "take the password out of REDIS_URL, or set one at the server",
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
        "the server may have no TLS: set redis:// in REDIS_URL instead of rediss://",
    ),
    (
        "closed by server|reset by peer",
        "the server may want TLS: set rediss:// in REDIS_URL instead of redis://",
    ),
    (
        "protected mode",
        "give the server a password (requirepass), and REDIS_URL the same",
    ),
    (
        "no permissions|NOPERM",
        "let this user run every command on every key (ACL SETUSER … ~* &* +@all)",
    ),
    (
        "maxmemory",
        "give Redis more memory, or take out what else lies in it",
    ),
    (
        "persist to disk|No space left",
        "give Redis a disk that it can write, or turn its snapshots off (CONFIG SET save '')",
    ),
    (
        "read only replica|Link with MASTER",
        "point REDIS_URL at the primary",
    ),
    (
        "clients reached|Too many connections",
        "scale down, or take a plan with more connections",
    ),
    (
        "loading the dataset",
        "wait: it is starting",
    ),
    (
        "DB index",
        "correct the number of the database in REDIS_URL",
    ),
    (
        r"cluster|^\d+ \S+:\d+$",
        "point REDIS_URL at a Redis that is no cluster",
    ),
    (
        "unknown command|unknown subcommand|wrong number of arguments",
        "use Redis 6 or newer, with the names of its commands unchanged",
    ),
    (
        "Protocol error",
        "something else than Redis listens there: check the host and the port in REDIS_URL",
    ),
)
_ELSE = "check the host and the port in REDIS_URL, and that the server runs"


def reason(error: BaseException) -> str:
    """Return Redis's own first sentence on one line; it holds no address and no password."""
    said = " ".join(str(error).split())
    inner = next(filter(None, (around.fullmatch(said) for around in _AROUND)), None)
    said = _ARGUMENTS.sub("", inner[1] if inner else said).strip()
    first = _FIRST_SENTENCE.match(said)
    return (first[0] if first else said).rstrip(".")[:LONGEST_REASON] or type(error).__name__


def remedy(error: BaseException) -> str:
    """Return what to do about it."""
    said = reason(error)
    found = (words for sign, words in _REMEDIES if re.search(sign, said, re.IGNORECASE))
    return next(found, _ELSE)


def describe(error: BaseException) -> str:
    """Return why Redis is of no use now: it answers with a refusal, or not at all."""
    refuses = isinstance(error, ResponseError | AuthenticationError | BusyLoadingError)
    return f"{'refuses' if refuses else 'is away'}: {reason(error)}"
