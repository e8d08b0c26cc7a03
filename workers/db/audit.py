"""The audit: who changed what."""

from typing import Any

from sqlalchemy import Connection, insert

from models.tables.audit import Audit
from models.tables.base import db_now


def audit(
    connection: Connection, actor: str, action: str, subject: str | None, details: dict[str, Any]
) -> None:
    """Record who changed what."""
    row = {"actor": actor, "action": action, "subject": subject, "details": details}
    connection.execute(insert(Audit).values(at=db_now(), **row))
