"""Whether deliveries arrive, and are signed with a secret that is set here."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from models.core.humanize import duration
from models.settings.environment import Settings
from models.tables.delivery import Delivery
from webhook.doctor.result import Diagnosis

# Recall and its sender keep an old secret valid for a day after it is rotated.
ROTATED_SECONDS = 2 * 86_400.0


def examine_deliveries(
    connection: Connection, settings: Settings, now: datetime
) -> Iterator[Diagnosis]:
    """Look at the last delivery, and at which of the secrets still prove any."""
    kept = select(Delivery.received_at, Delivery.scheme, Delivery.secret_fingerprint)
    newest = kept.order_by(Delivery.received_at.desc(), Delivery.id.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    if last is None:
        words = "no signed webhook has arrived yet"
        remedy = "give Recall the address …/webhooks/recall, and send a test from its dashboard"
        yield Diagnosis("warning", "deliveries", words, remedy)
        return
    yield _last(last, settings, now)
    yield from _unused(connection, last.secret_fingerprint, settings, now)


def _last(last: Row[*tuple[Any, ...]], settings: Settings, now: datetime) -> Diagnosis:
    age = duration((now - last.received_at).total_seconds())
    proof = f"signed ({last.scheme}) with secret {last.secret_fingerprint}"
    known = {secret.fingerprint for secret in settings.recall_webhook_secrets}
    if last.secret_fingerprint in known:
        return Diagnosis("ok", "deliveries", f"the last arrived {age} ago, {proof}")
    words = f"the last arrived {age} ago, {proof}, which is not set here"
    remedy = "compare RECALL_WEBHOOK_SECRETS with the web process's and with Recall's dashboard"
    return Diagnosis("warning", "deliveries", words, remedy)


def _unused(
    connection: Connection, in_use: str, settings: Settings, now: datetime
) -> Iterator[Diagnosis]:
    # Few rows back: an old secret that still proves some shows up among the latest.
    latest = select(Delivery.received_at, Delivery.secret_fingerprint)
    rows = connection.execute(latest.order_by(Delivery.received_at.desc()).limit(1000)).all()
    used = {row.secret_fingerprint for row in rows} | {in_use}
    is_long_enough = (now - rows[-1].received_at).total_seconds() > ROTATED_SECONDS
    for secret in settings.recall_webhook_secrets:
        if secret.fingerprint not in used and is_long_enough:
            words = f"secret {secret.fingerprint} verified none of the last {len(rows)}"
            remedy = "if it was rotated out, remove it from RECALL_WEBHOOK_SECRETS"
            yield Diagnosis("warning", "webhook secrets", words, remedy)
