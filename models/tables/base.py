"""What every table shares: times in UTC, the database's clock, JSON, naming."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    Connection,
    DateTime,
    Dialect,
    Float,
    Integer,
    MetaData,
    bindparam,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, QueryableAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

LONGEST = "longest"
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware UTC time, to the microsecond; a naive one is refused."""

    # timestamptz on PostgreSQL: without a zone it would be read in the session's.
    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; SQLite's text has no zone, so that equal times are equal text."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read back what was stored, aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class db_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock at this statement, shifted by some seconds; leases go by it."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float | BindParameter[float] | None = None) -> None:
        if seconds is None:
            super().__init__()
        elif isinstance(seconds, BindParameter):
            # A parameter that is NULL makes the time NULL, on both databases.
            super().__init__(seconds)
        else:
            super().__init__(bindparam(None, float(seconds), Float()))


@compiles(db_now, "postgresql")
def _postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    # statement_timestamp is stable, so an index serves `due_at <= now`; clock_timestamp is not.
    if not len(element.clauses):
        return "statement_timestamp()"
    seconds = compiler.process(element.clauses, **kw)
    return f"(statement_timestamp() + make_interval(secs => {seconds}))"


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    if not len(element.clauses):
        return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    seconds = compiler.process(element.clauses, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


def at_most(characters: int) -> dict[Any, Any]:
    """Describe a column whose texts are cut, or refused, at so many characters."""
    return {LONGEST: characters}


def longest(column: QueryableAttribute[Any]) -> int:
    """Return how many characters a column's texts have at most."""
    return int(column.info[LONGEST])


class Base(DeclarativeBase):
    """The tables of this service; every constraint has a name a migration can drop."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it so
        datetime: UtcDateTime(),
        dict[str, Any]: Json,
        list[dict[str, Any]]: Json,
        list[str]: Json,
        list[list[Any]]: Json,
    }


ROW_ID = BigInteger().with_variant(Integer, "sqlite")


def database_time(connection: Connection) -> datetime:
    """Return the database's clock, which every time here is read from."""
    now: datetime = connection.execute(select(db_now())).scalar_one()
    return now
