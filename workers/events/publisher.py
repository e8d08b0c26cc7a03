"""What becomes of events after the commit: places in the feed, and deliveries to endpoints."""

import queue
import threading

from sqlalchemy import Engine

from models.settings.environment import Settings
from workers.events.endpoints import forget_others
from workers.events.failures import FailureLog
from workers.events.sender import EndpointSender
from workers.outbox.numbering import BATCH, number_events, routes_of
from workers.recall_api.transport import HttpClient
from workers.shutdown import Stop

POLL_SECONDS = 0.5
# A receiver has nothing to say beyond its status.
MOST_ANSWER_BYTES = 64 * 1024


class Publisher:
    """Numbers events, and has a thread for each endpoint; all in the poller's process."""

    def __init__(self, settings: Settings, engine: Engine, http: HttpClient, stop: Stop) -> None:
        self._engine = engine
        self._routes = routes_of(settings)
        self._senders = [
            EndpointSender(engine, endpoint, http, stop) for endpoint in settings.event_endpoints
        ]
        self._stop = stop
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()

    def start(self) -> list[threading.Thread]:
        """Start the threads; they end with the process, or after the stop."""
        work = [self.run, *(sender.run for sender in self._senders)]
        threads = [threading.Thread(target=one, name="events", daemon=True) for one in work]
        for thread in threads:
            thread.start()
        return threads

    def run(self) -> None:
        """Give places until asked to stop."""
        self._stop.wakes(self._inbox)
        is_tidy = False
        log = FailureLog("events cannot be numbered")
        while not self._stop.is_requested:
            with log.instead():
                is_tidy = is_tidy or self._tidy_up()
                if self.number() == BATCH:
                    continue
            self._rest()

    def number(self) -> int:
        """Give what is committed its places, wake the endpoints' threads; returns how many."""
        with self._engine.begin() as connection:
            count = number_events(connection, self._routes)
        if count:
            for sender in self._senders:
                sender.wake()
        return count

    def _tidy_up(self) -> bool:
        with self._engine.begin() as connection:
            forget_others(connection, [route.endpoint for route in self._routes])
        return True

    def _rest(self) -> None:
        try:
            self._inbox.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
