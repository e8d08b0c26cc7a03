"""What a command changes things with; apart from the session, as few commands need it."""

import redis

from webhook.cli.context import Session
from webhook.receiver.storage import Inbox
from webhook.services.events import EventActions
from webhook.services.relink import RelinkService
from workers.queue.jobs import queue_name
from workers.queue.redis_clients import quick_redis
from workers.queue.wakeup import WakeUp


def redis_of(session: Session) -> redis.Redis | None:
    """Return a client that answers or fails within a second; None without REDIS_URL."""
    return quick_redis(session.settings)


def inbox_of(session: Session) -> Inbox:
    """Return the store of deliveries."""
    return Inbox(session.settings)


def wakeup_of(session: Session) -> WakeUp:
    """Return what wakes the workers."""
    return WakeUp(redis_of(session), queue_name(session.settings))


def relink_service(session: Session) -> RelinkService:
    """Return the relink service."""
    return RelinkService(session.reader(), session.writes(), wakeup_of(session))


def event_actions(session: Session) -> EventActions:
    """Return what sends events again."""
    return EventActions(session.settings, session.reader(), session.writes())
