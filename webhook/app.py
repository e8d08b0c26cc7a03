"""The one application factory."""

import time
from collections.abc import Callable

from flask import Flask, Response

from models.core.engine import make_engine
from models.settings.environment import Settings
from webhook.api import views as api
from webhook.calendar import blueprint as calendar
from webhook.console import blueprint as console
from webhook.monitoring import health, metrics
from webhook.receiver import views as receiver
from webhook.receiver.rejections import RejectionWriter
from webhook.receiver.storage import Inbox
from webhook.receiver.wakeup import WakeupNotifier
from webhook.receiver.write_check import WriteCheck
from webhook.services.calendar_actions import CalendarActions
from webhook.services.reader import Reader
from webhook.services.relink import RelinkService
from webhook.web import problems
from webhook.web.auth import Access
from workers.queue.jobs import queue_name
from workers.queue.redis_clients import quick_redis
from workers.queue.wakeup import Bell

READ_CONNECTIONS = 2


class Resources:
    """What an application holds open, and closes."""

    def __init__(self, settings: Settings) -> None:
        self.redis = client = quick_redis(settings)
        self.inbox = Inbox(settings)
        self.bell = Bell(client, queue_name(settings))
        self.ringer = WakeupNotifier(self.bell)
        # Read-only by the server's own word: no bug of a page can change anything.
        self.reads = make_engine(settings, "read", pool_size=READ_CONNECTIONS)
        # One connection: relinks and the scribe are rare, and a small plan has twenty in all.
        self.writes = make_engine(settings, "write")
        self.scribe = RejectionWriter(self.writes)
        self.write_check = WriteCheck(self.writes, self.inbox.last_write)
        self.health = health.Health(self.reads, client, self.write_check)

    def close(self) -> None:
        """Close everything; only when no request is under way."""
        self.ringer.close()
        self.scribe.close()
        self.write_check.close()
        self.inbox.close()
        self.reads.dispose()
        self.writes.dispose()


def create_app(settings: Settings, clock: Callable[[], float] = time.time) -> Flask:
    """Return the application; nothing is connected before the first request."""
    # The one static folder is the console's, under its own address.
    app = Flask("webhook", static_folder=None)
    # Else a doubled slash is redirected, which to Recall's sender is a failed delivery.
    app.url_map.merge_slashes = False
    resources = Resources(settings)
    app.extensions["recall-links"] = resources
    problems.init_app(app)
    taking = receiver.Receiver(settings, resources.inbox, resources.ringer, resources.scribe, clock)
    app.register_blueprint(receiver.blueprint(taking))
    app.register_blueprint(health.blueprint(resources.health))
    access, reader = Access(settings), Reader(resources.reads)
    relink_service = RelinkService(reader, resources.writes, resources.bell)
    app.register_blueprint(metrics.blueprint(reader, access))
    app.register_blueprint(api.blueprint(api.Api(settings, reader, relink_service), access))
    care = CalendarActions(settings, resources.writes, resources.redis)
    console.init_app(app, settings, access, console.Means(reader, relink_service, care))
    calendar.init_app(app, settings, resources.writes, resources.redis)
    app.after_request(_add_headers)
    return app


def _add_headers(response: Response) -> Response:
    # A browser must not find a page in JSON or CSV that holds words of strangers.
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Nothing of the service is for a cache, where another person at the same machine could find
    # it; static files alone say otherwise by themselves.
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def resources_of(app: Flask) -> Resources:
    """Return what this application holds open."""
    resources: Resources = app.extensions["recall-links"]
    return resources
