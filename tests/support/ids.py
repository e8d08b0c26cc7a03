"""Ids that are the same in each run of a test, and different from each other within it."""

import random
from uuid import UUID

_RNG = random.Random(0)


def begin(test: str) -> None:
    """Start a test's own row of ids."""
    _RNG.seed(test)


def new_id() -> str:
    """Return an id that this test has not had yet."""
    return str(UUID(int=_RNG.getrandbits(128), version=4))
