"""Structured logging: one line an event, secrets removed, control characters escaped."""

import logging
import logging.config
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

from models.settings.environment import Settings

# Control characters end or overwrite a line; bidirectional characters reorder it.
_FORGING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SECRETS = (
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), "whsec_…"),
    (re.compile(r"(?i)\b(token|bearer)\s+[\x21-\x7e]{8,}"), r"\1 …"),
    # JWTs: our callers' and Recall's calendar tokens.
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "eyJ…"),
    (re.compile(r"(?i)(x-recallcalendarauthtoken\W{1,4})[\x21-\x7e]+"), r"\1…"),
    (re.compile(r"://([^:/@\s]*):[^@\s]+@"), r"://\1:…@"),
)

# A library may log a whole header of 64 KiB.
LONGEST_VALUE = 2000
SELDOM_SECONDS = 1.0

Event = MutableMapping[str, Any]

logger = structlog.stdlib.get_logger(__name__)


class OncePerSecond(logging.Filter):
    """Passes one record a second, since unauthenticated requests can cause any number."""

    def __init__(self) -> None:
        super().__init__()
        self._next_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - any record counts
        """Whether this record passes."""
        return self.is_due()

    def is_due(self) -> bool:
        """Whether a second has passed since this last returned True."""
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + SELDOM_SECONDS
        return True


def set_up_logging(settings: Settings) -> None:
    """Send all log records, ours and the libraries', to standard error in LOG_FORMAT."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        # Last, because it must clean what the other processors add.
        clean,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logging.config.dictConfig(_logging_config(settings, shared))
    for one in settings.misnamed:
        logger.warning(str(one), setting=one.setting)


def _logging_config(settings: Settings, shared: list[Processor]) -> dict[str, Any]:
    renderer: Processor = structlog.processors.JSONRenderer()
    if settings.log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    # Their INFO lines repeat ours.
    quiet = {name: {"level": "WARNING"} for name in ("rq", "httpx", "httpcore")}
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"seldom": {"()": OncePerSecond}},
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [remove_meta, renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": settings.log_level},
        # waitress logs a line for each malformed request.
        "loggers": quiet | {"waitress": {"filters": ["seldom"]}},
    }


def clean(_logger: object, _method: str, event: Event) -> Event:
    """Remove secrets from every value and escape characters that could forge a line."""
    trace = event.pop("exception", None)
    cleaned = {key: _clean_value(value) for key, value in event.items()}
    if isinstance(trace, str):
        # With a prefix, no line of a traceback can pass for a log line.
        cleaned["exception"] = "\n".join(f"  | {_clean_value(line)}" for line in trace.split("\n"))
    return cleaned


def _clean_value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # Search beyond the limit, because a secret cut in half would not match.
    shown = value[: 4 * LONGEST_VALUE]
    for pattern, replacement in _SECRETS:
        shown = pattern.sub(replacement, shown)
    if len(value) > LONGEST_VALUE:
        shown = f"{shown[:LONGEST_VALUE]}…"
    return _FORGING.sub(lambda match: repr(match[0])[1:-1], shown)
