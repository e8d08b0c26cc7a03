"""Single flight: concurrent calls with one key share the first one's result."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLongError
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Shares one call's result, or its error, among concurrent callers with the same key.

    Each waits `patience` seconds. Only `most` of them may then wait for `longest` more, because a
    waiting caller holds a thread that others need.
    """

    def __init__(self, *, patience: float, longest: float, most: int) -> None:
        self._patience = patience
        self._longest = longest
        self._places = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._in_progress: dict[str, Future[T]] = {}

    def share(self, key: str, call: Callable[[], T]) -> T:
        """Make the call or wait for the one in progress; TimeoutError if that takes too long."""
        with self._lock:
            running = self._in_progress.get(key)
            own: Future[T] = Future()
            if running is None:
                self._in_progress[key] = own
        return self._make(key, own, call) if running is None else self._wait(running)

    def _make(self, key: str, own: "Future[T]", call: Callable[[], T]) -> T:
        try:
            answer = call()
        except BaseException as error:
            self._forget(key)
            own.set_exception(error)
            raise
        self._forget(key)
        own.set_result(answer)
        return answer

    def _forget(self, key: str) -> None:
        # Before the result is set, so that later callers make a new call.
        with self._lock:
            del self._in_progress[key]

    def _wait(self, running: "Future[T]") -> T:
        try:
            return running.result(self._patience)
        except WaitedTooLongError:
            if running.done() or not self._places.acquire(blocking=False):
                raise
        try:
            return running.result(self._longest)
        finally:
            self._places.release()
