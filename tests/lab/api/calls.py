"""The call log: what was asked of the fake, by whom, and what it answered."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `time` in Unix seconds of the lab's clock, `ms` from arrival to answer.

    `status` 0: no whole answer was given. `about`: a bot's id or an external_id.
    `port`: the client's, so that calls with the same one shared a connection.
    """

    time: float
    method: str
    path: str
    template: str
    status: int
    about: str
    ms: float
    has_authorization: bool
    has_calendar_token: bool
    has_body: bool
    port: int
    fault: str | None = None


class CallLog:
    """The newest calls (100,000 unless told) and counts of all of them; for any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._changed = threading.Condition()
        self._calls: deque[Call] = deque(maxlen=kept)
        self._counts: Counter[tuple[str, str, int]] = Counter()

    def add(self, call: Call) -> None:
        """Note a call and wake whoever waits for one."""
        with self._changed:
            self._calls.append(call)
            self._counts[call.method, call.template, call.status] += 1
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget calls and counts."""
        with self._changed:
            self._calls.clear()
            self._counts.clear()

    def all(
        self, template: str | None = None, *, about: str | None = None, status: int | None = None
    ) -> list[Call]:
        """Return the calls kept, oldest first, that match what is given."""
        with self._changed:
            calls = list(self._calls)
        return [
            call
            for call in calls
            if template in {None, call.template}
            and about in {None, call.about}
            and status in {None, call.status}
        ]

    def counts(self) -> dict[str, int]:
        """Return how often each "METHOD template status" was answered since the last clear."""
        with self._changed:
            return {f"{m} {template} {s}": n for (m, template, s), n in self._counts.items()}

    def wait_for(
        self, wanted: Callable[[Call], bool], *, count: int = 1, timeout: float = 10.0
    ) -> list[Call]:
        """Return the calls that match once there are `count`; TimeoutError after `timeout` s."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._matching(wanted)) >= count, timeout):
                raise TimeoutError(f"{len(self._matching(wanted))} of {count} calls came")
            return self._matching(wanted)

    def __len__(self) -> int:
        return len(self._calls)

    def _matching(self, wanted: Callable[[Call], bool]) -> list[Call]:
        return [call for call in self._calls if wanted(call)]
