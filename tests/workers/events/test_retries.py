"""When a delivery is tried again."""

import pytest

from workers.events.retries import WAITS, Tried, after


@pytest.mark.parametrize(
    ("status", "error", "attempts", "expected"),
    [
        (200, None, 1, ("delivered", None)),
        (204, None, 8, ("delivered", None)),
        (302, None, 1, ("pending", 5.0)),
        (400, None, 2, ("pending", 300.0)),
        (None, "ReadTimeout", 3, ("pending", 1800.0)),
        (500, None, 7, ("pending", 36_000.0)),
        (500, None, 8, ("failed", None)),
        (410, None, 1, ("off", None)),
    ],
)
def test_each_answer_has_its_consequence(
    status: int | None, error: str | None, attempts: int, expected: tuple[str, float | None]
) -> None:
    """2xx is delivered; 410 turns the endpoint off; anything else is tried eight times in all."""
    assert after(Tried(status, 3, error), attempts) == expected


def test_the_last_try_comes_after_a_day_and_more() -> None:
    """A receiver that is away over night misses nothing."""
    assert 27 * 3600 < sum(WAITS) < 28 * 3600
