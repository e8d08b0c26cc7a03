"""Parsing of DATABASE_URL in the formats of platforms and other tools."""

from psycopg.pq import Conninfo
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# Any driver in the URL is replaced by psycopg. Heroku still uses postgres://.
_POSTGRESQL = {"postgres", "postgresql", "pgsql"}
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TRUE = {"true", "1", "yes", "on", "require", "required", "no-verify"}
# Parameters of other tools' own pools and prepared statements; libpq does not know them.
_IGNORED = {
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
    """Parse a URL; the ValueError explains the problem and never shows the value."""
    try:
        url = make_url(value.strip())
    except (ArgumentError, ValueError):
        # SQLAlchemy's message quotes parts of the URL.
        raise ValueError(
            "must be a database URL such as postgres://user:password@host:5432/name, with a numeric"
            " port, and with special characters of the password %-escaped"
        ) from None
    scheme, _, _ = url.drivername.partition("+")
    if scheme in _POSTGRESQL:
        return _postgresql(url)
    if scheme == "sqlite" and url.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite(url)
    raise ValueError("must be a postgres:// or sqlite:/// URL")


def _sqlite(url: URL) -> URL:
    if url.host or url.username or url.query:
        raise ValueError("must be sqlite:///path, without a host, user or parameters")
    if url.database in (None, "", ":memory:"):
        raise ValueError(
            "must name a file, sqlite:///path, because web and workers share the database"
        )
    return url.set(drivername="sqlite")


def _postgresql(url: URL) -> URL:
    if url.port is not None and not 1 <= url.port <= 65535:
        raise ValueError("must have a port from 1 to 65535")
    if "\0" in f"{url.username}{url.password}{url.host}{url.database}":
        raise ValueError("must not contain a NUL character")
    url = _sslmode(_schema(url.set(drivername="postgresql+psycopg")))
    url = url.difference_update_query(_IGNORED)
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if not set(url.query) <= known:
        # The name is not shown, because it may be part of an unescaped password.
        raise ValueError(
            "has a parameter after the ? that libpq does not know (see"
            " https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS)"
        )
    return url


def _schema(url: URL) -> URL:
    """Convert Prisma's `schema` to PostgreSQL's search_path."""
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
        raise ValueError(f"must have an sslmode of {', '.join(_SSLMODES)}")
    return url
