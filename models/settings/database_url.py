"""DATABASE_URL as platforms and other tools spell it; what is wrong is never shown."""

from psycopg.pq import Conninfo
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# The driver is ours to choose; Heroku still says postgres://.
_POSTGRESQL = {"postgres", "postgresql", "pgsql"}
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TRUE = {"true", "1", "yes", "on", "require", "required", "no-verify"}
# How other tools themselves pool and prepare: nothing that the server or libpq is told.
_NOTHING_TO_SAY = {
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "statement_cache_size",
    "prepared_statements",
    "prepared_statement_cache_size",
    "prepareThreshold",
    "pool",
    "pool_size",
    "max_overflow",
    "supa",
    "workaround",
    "uselibpqcompat",
    "sslaccept",
    "conn_max_age",
}


def read_database_url(value: str) -> URL:
    """Read a URL; ValueError says what is wrong and shows nothing of it."""
    try:
        url = make_url(value.strip())
    except (ArgumentError, ValueError):
        # SQLAlchemy's own words quote the value, or a port that is no number.
        raise ValueError(
            "must be a database URL such as postgres://user:password@host:5432/name, with a number"
            " as its port, and with %-escapes for what is special in a password"
        ) from None
    scheme, _, _ = url.drivername.partition("+")
    if scheme in _POSTGRESQL:
        return _postgresql(url)
    if scheme == "sqlite" and url.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite(url)
    raise ValueError("must be a postgres:// or sqlite:/// URL")


def _sqlite(url: URL) -> URL:
    if url.host or url.username or url.query:
        raise ValueError("must name a file after three slashes, sqlite:///path, and no more")
    if url.database in (None, "", ":memory:"):
        raise ValueError("must name a file, sqlite:///path: web and workers share one")
    return url.set(drivername="sqlite")


def _postgresql(url: URL) -> URL:
    if url.port is not None and not 1 <= url.port <= 65535:
        raise ValueError("must have a port from 1 to 65535")
    if "\0" in f"{url.username}{url.password}{url.host}{url.database}":
        raise ValueError("must not hold a NUL character")
    url = _sslmode(_schema(url.set(drivername="postgresql+psycopg")))
    url = url.difference_update_query(_NOTHING_TO_SAY)
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if not set(url.query) <= known:
        # Its name is not shown either: it may be the rest of a password that was not escaped.
        raise ValueError(
            "has a parameter after the ? that PostgreSQL's client does not know (its list:"
            " https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS)"
        )
    return url


def _schema(url: URL) -> URL:
    """Prisma's `schema` is PostgreSQL's search path."""
    schema = url.query.get("schema")
    if not isinstance(schema, str) or "options" in url.query:
        return url
    option = f"-csearch_path={schema}".replace("\\", "\\\\").replace(" ", "\\ ")
    return url.difference_update_query(["schema"]).update_query_dict({"options": option})


def _sslmode(url: URL) -> URL:
    ssl = url.query.get("ssl")
    if isinstance(ssl, str):
        url = url.difference_update_query(["ssl"])
        if ssl.lower() in _TRUE and "sslmode" not in url.query:
            url = url.update_query_dict({"sslmode": "require"})
        elif ssl in _SSLMODES:
            url = url.update_query_dict({"sslmode": ssl})
    mode = url.query.get("sslmode", "prefer")
    if mode == "no-verify":
        return url.update_query_dict({"sslmode": "require"})
    if mode not in _SSLMODES:
        raise ValueError(f"must have one of these as its sslmode: {', '.join(_SSLMODES)}")
    return url
