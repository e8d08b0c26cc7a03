"""The audit log as a list, and its filters."""

from pydantic import Field
from sqlalchemy import select

from models.queries.filters import Action, Actor, Filter, Subject, Time
from models.queries.pagination import Listing, Query
from models.queries.rows import AuditRow
from models.tables.audit import Audit

_AUDIT = Audit.__table__.c


class AuditFilter(Filter):
    """Filters changes by actor, action, subject and time."""

    actor: Actor | None = Field(None, description="who made the change, as the list names them")
    action: Action | None = Field(None, description="the action, such as relink")
    subject: Subject | None = Field(None, description="what was changed, such as a bot's id")
    since: Time | None = Field(None, description="at or after")
    until: Time | None = Field(None, description="before")


def audits(wanted: AuditFilter) -> Listing[AuditRow]:
    """List changes, the latest first."""
    query: Query = select(*(_AUDIT[name] for name in AuditRow.__slots__))
    # Only people add rows here, so the table is small and needs no further index.
    for name in ("actor", "action", "subject"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(_AUDIT[name] == value)
    if wanted.since is not None:
        query = query.where(_AUDIT.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_AUDIT.at < wanted.until)
    return Listing(query, (_AUDIT.at, _AUDIT.id), AuditRow)
