"""What is sent and what comes of it: deliveries, receipts, and ways to mix them up."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from tests.lab.sender.post import Reply
from tests.lab.sender.signing import Family, new_message_id


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way; `delay` s are waited before its first attempt."""

    message_id: str
    body: bytes
    family: Family = "svix"
    delay: float = 0.0

    @classmethod
    def of(
        cls,
        event: Mapping[str, Any],
        *,
        family: Family = "svix",
        message_id: str | None = None,
        delay: float = 0.0,
    ) -> Self:
        """Return an event body as a delivery under a fresh message id."""
        body = json.dumps(event, separators=(",", ":")).encode()
        return cls(message_id or new_message_id(), body, family, delay)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one attempt (the first is 1); status 0 means no answer, `error` says why."""

    delivery: Delivery
    attempt: int
    reply: Reply

    @property
    def status(self) -> int:
        """The receiver's status, 0 for none."""
        return self.reply.status

    @property
    def is_taken(self) -> bool:
        """Whether the receiver answered 2xx: nothing else counts."""
        return 200 <= self.reply.status < 300


def duplicated(deliveries: Sequence[Delivery], share: float, rng: random.Random) -> list[Delivery]:
    """Return the deliveries with that share of them once more, each somewhere after itself."""
    result = list(deliveries)
    for delivery in deliveries:
        if rng.random() < share:
            here = result.index(delivery)
            result.insert(rng.randint(here + 1, len(result)), delivery)
    return result


def shuffled(deliveries: Sequence[Delivery], rng: random.Random) -> list[Delivery]:
    """Return the deliveries in a random order."""
    return rng.sample(deliveries, len(deliveries))


def delayed(deliveries: Sequence[Delivery], longest: float, rng: random.Random) -> list[Delivery]:
    """Return the deliveries, each held back for up to `longest` s."""
    return [replace(delivery, delay=rng.uniform(0, longest)) for delivery in deliveries]


def last_receipts(receipts: Iterable[Receipt]) -> dict[str, Receipt]:
    """Return the newest receipt of every message id."""
    return {receipt.delivery.message_id: receipt for receipt in receipts}


def statuses(receipts: Iterable[Receipt]) -> dict[int, int]:
    """Return how often each status was answered."""
    return dict(Counter(receipt.status for receipt in receipts))
