"""Checks how many of the available PostgreSQL connections are in use."""

from sqlalchemy import Connection, Row, text

from models.core.postgresql import is_pooled
from webhook.doctor.result import Diagnosis

TIGHT = 0.8
# The limits of the role, the database and the server (without reserved connections); the tightest
# one counts.
_LIMITS = text("""
SELECT most, used FROM (
  SELECT role.rolconnlimit AS most, count(*) FILTER (WHERE usename = current_user) AS used
  FROM pg_roles AS role, pg_stat_activity WHERE role.rolname = current_user GROUP BY 1
  UNION ALL
  SELECT own.datconnlimit, count(*) FILTER (WHERE activity.datname = own.datname)
  FROM pg_database AS own, pg_stat_activity AS activity
  WHERE own.datname = current_database() GROUP BY 1
  UNION ALL
  SELECT current_setting('max_connections')::int - CASE WHEN role.rolsuper THEN 0 ELSE
    current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true)::int, 0) END,
    count(*) FILTER (WHERE usename IS NOT NULL)
  FROM pg_roles AS role, pg_stat_activity WHERE role.rolname = current_user
  GROUP BY role.rolsuper
) AS limits WHERE most >= 0
ORDER BY most - used LIMIT 1
""")


def examine_connections(connection: Connection) -> Diagnosis:
    """Check the limit that will be reached first."""
    found: Row[tuple[int, int]] = connection.execute(_LIMITS).one()
    words = f"{found.used} of {found.most} in use"
    if found.used < TIGHT * found.most:
        return Diagnosis("ok", "connections", words)
    remedy = (
        "a web process takes up to 7 and a worker 2, up to 4 at night:"
        " scale down, or take a larger plan"
    )
    return Diagnosis("warning", "connections", words, remedy)


def way(connection: Connection) -> str:
    """Return a note if the server is reached through a pooler."""
    return ", through a pooler" if is_pooled(connection) else ""
