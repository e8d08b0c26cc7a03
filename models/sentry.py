"""Errors to Sentry, where a DSN is set; no body, no local variable, no header goes along."""

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

from models.logs import clean
from models.settings import Settings


def set_up_sentry(settings: Settings) -> None:
    """Report errors from here on; to be called in a process that will not fork."""
    if settings.sentry_dsn is None:
        return
    # A stranger's broken request is an error to it; ours reach Flask's logger before they do its.
    ignore_logger("waitress")
    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        # Auto-enabled ones would look into requests, and send headers along to Recall.
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration()],
        trace_propagation_targets=[],
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=_clean_event,
    )


def flush_sentry() -> None:
    """Send what is waiting, for at most two seconds: a horse ends without goodbye."""
    sentry_sdk.flush(timeout=2)


def _clean_event(event: Any, _hint: dict[str, Any]) -> Any:
    for exception in event.get("exception", {}).get("values", []):
        exception.update(clean(None, "", {"value": exception.get("value") or ""}))
    # Log lines become events of their own, with their text in another place.
    if isinstance(entry := event.get("logentry"), dict):
        entry.update(clean(None, "", {k: v for k, v in entry.items() if isinstance(v, str)}))
    return event
