"""Counts and durations as text."""

import pytest

from models.core.humanize import plural


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, ("no bots", "no statuses")),
        (1, ("1 bot", "1 status")),
        (2, ("2 bots", "2 statuses")),
        (1001, ("1001 bots", "1001 statuses")),
    ],
)
def test_a_noun_agrees_with_its_count(count: int, words: tuple[str, str]) -> None:
    """Also with an irregular plural."""
    assert (plural(count, "bot"), plural(count, "status", "statuses")) == words
