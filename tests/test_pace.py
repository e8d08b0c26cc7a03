"""The pace: as many bots ahead as are linked in a quarter of a second, and none before that."""

from tests.lab.clock import ManualClock
from workers.crew import TURN_SECONDS
from workers.limits import Buckets
from workers.pace import AHEAD_SECONDS, Pace


def test_at_first_there_is_room_for_the_threads_alone() -> None:
    """Nothing is known of how long a bot takes."""
    pace = Pace(16, ManualClock())
    assert pace.room(working=0) == 16
    assert pace.room(working=16) == 0


def test_fast_calls_make_room_for_a_quarter_of_a_second_of_work() -> None:
    """Half as many as there are threads, at most."""
    clock = ManualClock()
    pace = Pace(16, clock)
    clock.advance(2)
    pace.count(40)
    assert pace.room(working=0) == 16 + 5
    pace.count(4000)
    assert pace.room(working=0) == 16 + 8


def test_slow_calls_make_none() -> None:
    """Those bots are better off with another worker."""
    clock = ManualClock()
    pace = Pace(16, clock)
    clock.advance(10)
    pace.count(20)
    assert pace.room(working=16) == 0
    assert pace.room(working=15) == 1


def test_a_claim_is_made_for_several_bots_or_not_at_all() -> None:
    """A transaction for one bot while the threads have work would cost more than it brings."""
    clock = ManualClock()
    pace = Pace(16, clock)
    clock.advance(1)
    pace.count(32)
    assert pace.room(working=19) == 0
    assert pace.room(working=18) == 6


def test_a_turn_is_used_before_it_counts_in_another_minute() -> None:
    """What is claimed ahead and late stays inside the headroom of the limits."""
    bot_get = Buckets().bot_get
    late = bot_get.per_second * TURN_SECONDS
    assert bot_get.burst + bot_get.per_second * 60 + late <= bot_get.per_minute
    assert AHEAD_SECONDS < TURN_SECONDS
