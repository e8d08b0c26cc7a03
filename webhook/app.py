"""The application factory."""

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
from webhook.services.events import EventActions
from webhook.services.people import People
from webhook.services.reader import Reader
from webhook.services.relink import RelinkService
from webhook.web import problems
from webhook.web.auth import Access
from workers.queue.jobs import queue_name
from workers.queue.redis_clients import quick_redis
from workers.queue.wakeup import WakeUp

READ_CONNECTIONS = 2


class Resources:
    """What an application opens and has to close."""

    def __init__(self, settings: Settings) -> None:
        self.redis = client = quick_redis(settings)
        self.inbox = Inbox(settings)
        self.worker_wakeup = WakeUp(client, queue_name(settings))
        self.wakeup = WakeupNotifier(self.worker_wakeup)
        # The server enforces read-only, so a bug in a page cannot change anything.
        self.reads = make_engine(settings, "read", pool_size=READ_CONNECTIONS)
        # One connection: relinks and rejections are rare, and a small plan has twenty in all.
        self.writes = make_engine(settings, "write")
        self.rejections = RejectionWriter(self.writes)
        self.write_check = WriteCheck(self.writes, self.inbox.last_write)
        self.health = health.Health(self.reads, client, self.write_check)

    def close(self) -> None:
        """Close everything; call it only when no request is being served."""
        self.wakeup.close()
        self.rejections.close()
        self.write_check.close()
        self.inbox.close()
        self.reads.dispose()
        self.writes.dispose()


def create_app(settings: Settings, clock: Callable[[], float] = time.time) -> Flask:
    """Return the application; it connects to nothing before the first request."""
    # The only static files are the console's and the calendar's, each under its own path.
    app = Flask("webhook", static_folder=None)
    # Otherwise a doubled slash is redirected, and Recall counts that as a failed delivery.
    app.url_map.merge_slashes = False
    resources = Resources(settings)
    app.extensions["recall-links"] = resources
    problems.init_app(app)
    _add_receiver(app, settings, resources, clock)
    app.register_blueprint(health.blueprint(resources.health))
    access, reader = Access(settings), Reader(resources.reads)
    relink_service = RelinkService(reader, resources.writes, resources.worker_wakeup)
    event_actions = EventActions(settings, reader, resources.writes)
    people = People(reader, resources.writes)
    app.register_blueprint(metrics.blueprint(reader, access))
    answers = api.Api(settings, reader, relink_service, event_actions, people)
    app.register_blueprint(api.blueprint(answers, access))
    actions = CalendarActions(settings, resources.writes, resources.redis)
    services = console.Services(reader, relink_service, actions, event_actions, people)
    console.init_app(app, settings, access, services)
    calendar.init_app(app, settings, resources.writes, resources.redis)
    app.after_request(_add_headers)
    return app


def _add_receiver(
    app: Flask, settings: Settings, resources: Resources, clock: Callable[[], float]
) -> None:
    inbox, wakeup, rejections = resources.inbox, resources.wakeup, resources.rejections
    views = receiver.Receiver(settings, inbox, wakeup, rejections, clock)
    app.register_blueprint(receiver.blueprint(views))


def _add_headers(response: Response) -> Response:
    # A browser must not render JSON or CSV as a page: they hold text from outside.
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Nothing may be cached where another person on the same machine could find it. Static files
    # set their own header.
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def resources_of(app: Flask) -> Resources:
    """Return the resources of an application."""
    resources: Resources = app.extensions["recall-links"]
    return resources
