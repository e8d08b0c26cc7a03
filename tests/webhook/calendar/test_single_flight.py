"""Calls that are shared: one is made, all get its answer, and nobody waits for ever."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from webhook.calendar.single_flight import SingleFlight


class Held:
    """A call that answers when it is let go, and counts how often it is made."""

    def __init__(self, answer: Callable[[], str] = lambda: "token") -> None:
        self.begun, self.goes = threading.Event(), threading.Event()
        self.made = 0
        self._answer = answer

    def __call__(self) -> str:
        """Make it."""
        self.made += 1
        self.begun.set()
        assert self.goes.wait(10)
        return self._answer()


def ask(
    pool: ThreadPoolExecutor, flight: SingleFlight[str], held: Held, others: int
) -> list[Future[str]]:
    """Have one thread make the call, and so many others wait for it."""
    asked = [pool.submit(flight.share, "ines", held)]
    assert held.begun.wait(10)
    return [*asked, *(pool.submit(flight.share, "ines", held) for _ in range(others))]


def test_one_call_answers_all_who_ask_at_once() -> None:
    """Nineteen wait for it; the next one to ask after it makes a call of its own."""
    flight, held = SingleFlight[str](patience=10, longest=10, most=1), Held()
    with ThreadPoolExecutor(20) as pool:
        asked = ask(pool, flight, held, 19)
        held.goes.set()
        assert [one.result(10) for one in asked] == ["token"] * 20
    made = held.made
    assert flight.share("ines", held) == "token"
    assert held.made == made + 1


def test_an_error_is_everybodys() -> None:
    """They asked the same, and nobody asks again on their behalf."""

    def refuse() -> str:
        raise LookupError("refused")

    flight, held = SingleFlight[str](patience=10, longest=10, most=1), Held(refuse)
    with ThreadPoolExecutor(3) as pool:
        asked = ask(pool, flight, held, 2)
        held.goes.set()
        for one in asked:
            with pytest.raises(LookupError):
                one.result(10)


def test_other_keys_do_not_wait() -> None:
    """One user's slow call is nobody else's."""
    flight, held = SingleFlight[str](patience=10, longest=10, most=1), Held()
    with ThreadPoolExecutor(1) as pool:
        asked = ask(pool, flight, held, 0)
        assert flight.share("omar", lambda: "another") == "another"
        held.goes.set()
        assert asked[0].result(10) == "token"


def test_a_slow_call_holds_few_threads() -> None:
    """All wait a little, one of them on; the thread of each other is free again."""
    flight, held = SingleFlight[str](patience=0.05, longest=10, most=1), Held()
    with ThreadPoolExecutor(5) as pool:
        _, *waiting = ask(pool, flight, held, 4)
        told = threading.Semaphore(0)
        for one in waiting:
            one.add_done_callback(lambda _: told.release())
        for _ in range(3):
            assert told.acquire(timeout=10)
        held.goes.set()
    results = [one.exception() for one in waiting]
    assert [type(error) for error in results].count(TimeoutError) == 3
    assert results.count(None) == 1


def test_nobody_waits_longer_than_the_longest() -> None:
    """A call that hangs keeps nobody but its own thread."""
    flight, held = SingleFlight[str](patience=0.01, longest=0.05, most=5), Held()
    with ThreadPoolExecutor(3) as pool:
        _, *waiting = ask(pool, flight, held, 2)
        for one in waiting:
            with pytest.raises(TimeoutError):
                one.result(10)
        held.goes.set()
