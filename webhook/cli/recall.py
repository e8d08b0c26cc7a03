"""What a command asks Recall with."""

from webhook.cli.context import Session
from workers.calendar_tokens.gateway import RecallGateway
from workers.queue.redis_clients import quick_redis
from workers.rate_limits.buckets import Buckets, Limits
from workers.rate_limits.factory import make_limits
from workers.recall_api.bot_list import BotListClient
from workers.recall_api.calendar_client import CalendarClient
from workers.recall_api.client import Recall
from workers.recall_api.transport import LIST_BYTES, HttpClient, make_ssl_context


def calendar_client(session: Session, *, patience: float, seconds: float) -> CalendarClient:
    """Return a Recall client; it waits `patience` s for its turn and `seconds` for a call."""
    recall, limits = _recall(session, seconds), _limits(session)
    return CalendarClient(recall, limits, _buckets(session), patience=patience)


def bot_list_client(session: Session, *, patience: float, seconds: float) -> BotListClient:
    """Return a client of List Bots, which waits likewise."""
    recall, limits = _recall(session, seconds), _limits(session)
    return BotListClient(recall, limits, _buckets(session).bot_list, patience=patience)


def _recall(session: Session, seconds: float) -> Recall:
    http = HttpClient(make_ssl_context(session.environ.get("SSL_CERT_FILE")), LIST_BYTES)
    session.call_on_close(http.close)
    settings = session.settings
    return Recall(http, settings.api_url, settings.api_key, seconds=seconds)


def _limits(session: Session) -> Limits:
    return make_limits(session.settings, quick_redis(session.settings))


def _buckets(session: Session) -> Buckets:
    return Buckets(session.settings.recall_rate_share / 100)


def recall_gateway(session: Session) -> RecallGateway:
    """Return the gateway to Recall's calendars; SettingsError without RECALL_API_KEY."""
    return RecallGateway(session.settings, session.writes(), quick_redis(session.settings))
