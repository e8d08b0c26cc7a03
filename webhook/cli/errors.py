"""What a command says about an error, and the code it exits with."""

import os
import secrets

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.core.database_errors import is_too_slow, reason
from models.core.database_remedies import TOO_SLOW, describe
from models.settings.environment import SettingsError
from webhook.cli.context import Session
from webhook.cli.exit_codes import AWAY, BUG, USAGE
from webhook.web.validation import BadParameterError
from workers.recall_api.errors import RecallError

logger = structlog.stdlib.get_logger(__name__)


def describe_error(error: Exception) -> tuple[str, int]:
    """Return one line, and the exit code; what nobody expected is logged with an id."""
    if isinstance(error, SettingsError | BadParameterError):
        return str(error), USAGE
    if isinstance(error, RecallError):
        return f"Recall: {error}", AWAY
    if is_too_slow(error):
        return TOO_SLOW, AWAY
    if words := describe(error):
        return words, AWAY
    if isinstance(error, SQLAlchemyError) and (words := Session(os.environ).gap()):
        return words, AWAY
    return _bug(error), BUG


def _bug(error: Exception) -> str:
    bug = secrets.token_hex(8)
    logger.exception("a command failed", id=bug, reason=reason(error))  # noqa: LOG004 - called in an except block
    return f"internal error ({type(error).__name__}): see the lines above with the id {bug}"
