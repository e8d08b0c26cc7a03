"""Who changed what: the audit as a list, and what can be asked of it."""

from pydantic import Field
from sqlalchemy import select

from models.queries.filters import Action, Filter, Subject, Time
from models.queries.pagination import Listing, Query
from models.queries.rows import AuditRow
from models.tables.audit import Audit

_AUDIT = Audit.__table__.c


class AuditFilter(Filter):
    """Which changes: by what was done, to what, or when."""

    action: Action | None = Field(None, description="what was done, such as relink")
    subject: Subject | None = Field(None, description="what it was done to, such as a bot's id")
    since: Time | None = Field(None, description="at or after")
    until: Time | None = Field(None, description="before")


def audits(wanted: AuditFilter) -> Listing[AuditRow]:
    """List changes, the latest first."""
    query: Query = select(*(_AUDIT[name] for name in AuditRow.__slots__))
    # People make these rows by hand: no filter of them needs an index of its own.
    for name in ("action", "subject"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(_AUDIT[name] == value)
    if wanted.since is not None:
        query = query.where(_AUDIT.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_AUDIT.at < wanted.until)
    return Listing(query, (_AUDIT.at, _AUDIT.id), AuditRow)
