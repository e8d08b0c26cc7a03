"""Reports errors to Sentry if a DSN is set, without bodies, headers and local variables."""

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

from models.core.logging import clean
from models.settings.environment import Settings

MAX_MESSAGE = 500


def set_up_sentry(settings: Settings) -> None:
    """Start reporting errors; call it in a process that does not fork."""
    if settings.sentry_dsn is None:
        return
    # waitress logs malformed requests as errors. Ours are already logged through Flask.
    ignore_logger("waitress")
    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        # Auto-enabled integrations read requests and add headers to calls to Recall.
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration()],
        disabled_integrations=[ArgvIntegration()],
        trace_propagation_targets=[],
        # Breadcrumbs may contain anything that a library logged.
        max_breadcrumbs=0,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=_clean_event,
    )


def flush_sentry() -> None:
    """Send queued events before the process ends; waits at most two seconds."""
    sentry_sdk.flush(timeout=2)


def _clean_event(event: Any, hint: dict[str, Any]) -> Any:
    said = getattr(hint.get("log_record"), "msg", None)
    if isinstance(said, dict):
        # Our log records are dicts: the event becomes the message, the rest goes to extra.
        event["logentry"] = {"message": str(said.get("event", ""))}
        event["extra"] = {k: v for k, v in said.items() if k not in ("event", "exception")}
    for part in ("logentry", "extra", "tags"):
        if part in event:
            event[part] = _cleaned(event[part])
    for exception in event.get("exception", {}).get("values", []):
        # From the second line on, PostgreSQL's message contains the failing row.
        exception["value"] = _cleaned(
            (exception.get("value") or "").partition("\n")[0][:MAX_MESSAGE]
        )
    return event


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return clean(None, "", {"value": value})["value"]
