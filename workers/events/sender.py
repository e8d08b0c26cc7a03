"""One endpoint's thread: whatever it does, it keeps no other endpoint and no link waiting."""

import queue
import time
from collections.abc import Callable

import structlog
from sqlalchemy import Connection, Engine

from models.core.sanitize import storable
from models.settings.events import EventEndpoint
from workers.events.deliveries import Claimed, claim, release, settle
from workers.events.endpoints import note_failing, note_well, put_off, turn_off
from workers.events.failures import FailureLog
from workers.events.retries import Tried
from workers.recall_api.transport import CALL_FAILURES, BodyTooLargeError, HttpClient
from workers.shutdown import Stop

CALL_SECONDS = 15.0
# A try that falls due is noticed so soon; what is new wakes the thread.
POLL_SECONDS = 1.0
BATCH = 16
# An endpoint this slow is given one event at a time: the lease of the rest would run out.
SLOW_MS = 1000
ERROR_LIMIT = 200

logger = structlog.stdlib.get_logger(__name__)


class EndpointSender:
    """Posts to one endpoint, one event after the other."""

    def __init__(
        self,
        engine: Engine,
        endpoint: EventEndpoint,
        http: HttpClient,
        stop: Stop,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._endpoint = endpoint
        self._http = http
        self._stop = stop
        self._clock = clock
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        # Unknown at first: another process may have noted that it fails.
        self._is_well: bool | None = None

    def wake(self) -> None:
        """Look for events now."""
        self._inbox.put(None)

    def run(self) -> None:
        """Post until asked to stop."""
        self._stop.wakes(self._inbox)
        log = FailureLog("events cannot be posted", endpoint=self._endpoint.name)
        while not self._stop.is_requested:
            has_more = False
            with log.instead():
                has_more = self.turn() > 0
            if not has_more:
                self._wait()

    def turn(self) -> int:
        """Post what is due, a few at most; returns how many were tried."""
        with self._engine.begin() as connection:
            claims = claim(connection, self._endpoint.name, BATCH if self._is_well else 1)
        for number, claimed in enumerate(claims, 1):
            tried = self._post(claimed)
            with self._engine.begin() as connection:
                self._note(connection, claimed, tried)
            if tried.is_refused_for_good:
                put_off(self._engine, self._endpoint.name)
            if self._stop.is_requested or not tried.is_taken or tried.ms > SLOW_MS:
                with self._engine.begin() as connection:
                    release(connection, claims[number:])
                return number
        return len(claims)

    def _post(self, claimed: Claimed) -> Tried:
        message, started = claimed.message, time.monotonic()
        body = message.body
        headers = message.headers(body, self._endpoint.secrets, int(self._clock()))
        try:
            answer = self._http.call(
                "POST", self._endpoint.url, headers, body, seconds=CALL_SECONDS
            )
        except BodyTooLargeError as error:
            # The status says whether the endpoint has it.
            return Tried(error.status, _ms_since(started))
        except CALL_FAILURES as error:
            return Tried(None, _ms_since(started), _words(error))
        return Tried(answer.status, _ms_since(started))

    def _note(self, connection: Connection, claimed: Claimed, tried: Tried) -> None:
        name = self._endpoint.name
        if tried.is_refused_for_good:
            turn_off(connection, name, "it answered 410: it wants no more events")
        settle(connection, claimed, tried)
        if tried.is_taken:
            # Each time: another process may have noted since that it fails.
            note_well(connection, name)
        else:
            error = tried.error or f"http_{tried.status}"
            note_failing(connection, name, error)
            logger.warning("event not delivered", endpoint=name, error=error)
        self._is_well = tried.is_taken

    def _wait(self) -> None:
        try:
            self._inbox.get(timeout=POLL_SECONDS)
            # Woken many times over is woken once.
            while True:
                self._inbox.get_nowait()
        except queue.Empty:
            return


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _words(error: Exception) -> str:
    # Not the error's own text alone: it may be empty, and it may quote what was answered.
    return storable(f"{type(error).__name__}: {error}".removesuffix(": "), ERROR_LIMIT) or ""
