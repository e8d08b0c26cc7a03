"""Errors to Sentry, where a DSN is set; no body, no local variable, no header goes along."""

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

from models.core.logging import clean
from models.settings.environment import Settings

MOST = 500


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
        disabled_integrations=[ArgvIntegration()],
        trace_propagation_targets=[],
        # What libraries said before an error may hold anything; our own lines are in the log.
        max_breadcrumbs=0,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=_clean_event,
    )


def flush_sentry() -> None:
    """Send what is waiting, for at most two seconds, before the process ends."""
    sentry_sdk.flush(timeout=2)


def _clean_event(event: Any, hint: dict[str, Any]) -> Any:
    said = getattr(hint.get("log_record"), "msg", None)
    if isinstance(said, dict):
        # A line of ours comes as its values: the words are the message, ids stand beside it.
        event["logentry"] = {"message": str(said.get("event", ""))}
        event["extra"] = {k: v for k, v in said.items() if k not in ("event", "exception")}
    for part in ("logentry", "extra", "tags"):
        if part in event:
            event[part] = _cleaned(event[part])
    for exception in event.get("exception", {}).get("values", []):
        # PostgreSQL tells the failing row, with all that is in it, from the second line on.
        exception["value"] = _cleaned((exception.get("value") or "").partition("\n")[0][:MOST])
    return event


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return clean(None, "", {"value": value})["value"]
