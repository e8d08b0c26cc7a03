"""Checks that webhooks arrive and are signed with a configured secret."""

from collections.abc import Iterator
from datetime import datetime, timedelta
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
    """Check the last delivery, and which secrets are still in use."""
    kept = select(Delivery.received_at, Delivery.scheme, Delivery.secret_fingerprint)
    newest = kept.order_by(Delivery.received_at.desc(), Delivery.id.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    if last is None:
        words = "no signed webhook has arrived yet"
        remedy = "give Recall the address …/webhooks/recall, and send a test from its dashboard"
        yield Diagnosis("warning", "deliveries", words, remedy)
        return
    yield _last(last, settings, now)
    yield from _unused(connection, last, settings)


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
    connection: Connection, last: Row[*tuple[Any, ...]], settings: Settings
) -> Iterator[Diagnosis]:
    # By time and not by rows, because two days can bring ten webhooks or a million.
    since = last.received_at - timedelta(seconds=ROTATED_SECONDS)
    older = select(Delivery.id).where(Delivery.received_at < since).limit(1)
    if connection.scalar(older) is None:
        return
    for secret in settings.recall_webhook_secrets:
        if not _is_in_use(connection, secret.fingerprint, since):
            words = f"secret {secret.fingerprint} has verified no webhook for two days"
            remedy = "if it was rotated out, remove it from RECALL_WEBHOOK_SECRETS"
            yield Diagnosis("warning", "webhook secrets", words, remedy)


def _is_in_use(connection: Connection, fingerprint: str, since: datetime) -> bool:
    verified = select(Delivery.id).where(Delivery.received_at >= since)
    verified = verified.where(Delivery.secret_fingerprint == fingerprint)
    newest = verified.order_by(Delivery.received_at.desc()).limit(1)
    return connection.scalar(newest) is not None
