"""One call for all who ask the same at once: the first one makes it, the others get its answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLongError
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Shares one call's answer, or its error, among those who ask by the same key meanwhile.

    Each waits `patience` seconds; `most` of them at most may wait on for `longest`, since whoever
    waits holds a thread that others need.
    """

    def __init__(self, *, patience: float, longest: float, most: int) -> None:
        self._patience = patience
        self._longest = longest
        self._places = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._flying: dict[str, Future[T]] = {}

    def share(self, key: str, call: Callable[[], T]) -> T:
        """Make the call, or wait for the one that is made; TimeoutError where that takes long."""
        with self._lock:
            flying = self._flying.get(key)
            own: Future[T] = Future()
            if flying is None:
                self._flying[key] = own
        return self._make(key, own, call) if flying is None else self._wait(flying)

    def _make(self, key: str, own: "Future[T]", call: Callable[[], T]) -> T:
        try:
            answer = call()
        except BaseException as error:
            self._land(key)
            own.set_exception(error)
            raise
        self._land(key)
        own.set_result(answer)
        return answer

    def _land(self, key: str) -> None:
        # Before the answer is told: whoever asks after it gets a fresh one.
        with self._lock:
            del self._flying[key]

    def _wait(self, flying: "Future[T]") -> T:
        try:
            return flying.result(self._patience)
        except WaitedTooLongError:
            if flying.done() or not self._places.acquire(blocking=False):
                raise
        try:
            return flying.result(self._longest)
        finally:
            self._places.release()
