"""A sender like Svix: signs every attempt anew, repeats what is not answered 2xx."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab.sender.deliveries import Delivery, Receipt
from tests.lab.sender.post import Poster, Target
from tests.lab.sender.signing import sign
from tests.lab.world.clock import Clock

# Seconds before each further attempt (https://docs.svix.com/retries).
SVIX_SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
ABORT_HEADER = "webhook-delivery"
TIMEOUT = 15.0


def compressed(factor: float, schedule: Sequence[float] = SVIX_SCHEDULE) -> tuple[float, ...]:
    """Return the retry schedule with every wait multiplied by `factor`."""
    return tuple(wait * factor for wait in schedule)


class Sender:
    """Posts deliveries to one URL over `connections` sockets.

    `secrets` may be changed between and during runs; `rotations` {n: secrets} changes them just
    before the n-th delivery (from 0) is first tried. `rate` in first attempts a second, None for
    as fast as it goes. `retries` in seconds before each further attempt, () for none.
    """

    def __init__(
        self,
        url: str,
        secrets: Sequence[str],
        *,
        connections: int = 4,
        rate: float | None = None,
        retries: Sequence[float] = (),
        rotations: Mapping[int, Sequence[str]] | None = None,
        timeout: float = TIMEOUT,
        clock: Clock = time.time,
        junk: bool = False,
        ca_file: Path | None = None,
    ) -> None:
        self.secrets = list(secrets)
        self.rate = rate
        self.retries = tuple(retries)
        self.rotations = dict(rotations or {})
        self.junk = junk
        self._target = Target.of(url, ca_file)
        self._connections = connections
        self._timeout = timeout
        self._clock = clock

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """Return the headers of an attempt made now."""
        return sign(
            delivery.message_id,
            delivery.body,
            self.secrets,
            timestamp=int(self._clock()),
            family=delivery.family,
            junk=self.junk,
        )

    def send(self, delivery: Delivery) -> Receipt:
        """Make one attempt and return what came of it."""
        return asyncio.run(self._send_once(delivery))

    def run(self, deliveries: Sequence[Delivery]) -> list[Receipt]:
        """Send them all, with retries; return a receipt per attempt, in the order they ended."""
        return asyncio.run(self.deliver(deliveries))

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Receipt]:
        """Do what `run` does, inside a running loop."""
        errand = _Errand(self, len(deliveries))
        posters = [Poster(self._target, self._timeout) for _ in range(self._connections)]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed(errand, deliveries))
            for poster in posters:
                group.create_task(errand.work(poster))
        return errand.receipts

    async def _send_once(self, delivery: Delivery) -> Receipt:
        poster = Poster(self._target, self._timeout)
        try:
            return Receipt(delivery, 1, await poster.post(delivery.body, self.headers(delivery)))
        finally:
            await poster.close()

    async def _feed(self, errand: "_Errand", deliveries: Sequence[Delivery]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        if not deliveries:
            errand.finish()
        for number, delivery in enumerate(deliveries):
            if self.rate:
                await asyncio.sleep(max(0.0, started + number / self.rate - loop.time()))
            errand.put(_Job(delivery, 1, number), delivery.delay)


@dataclass(frozen=True, slots=True)
class _Job:
    delivery: Delivery
    attempt: int
    number: int


class _Errand:
    """One run of a sender: what is due, what is still owed, what came of it."""

    def __init__(self, sender: Sender, owed: int) -> None:
        self._sender = sender
        self._owed = owed
        self._due: asyncio.Queue[_Job | None] = asyncio.Queue()
        self.receipts: list[Receipt] = []

    def put(self, job: _Job, wait: float) -> None:
        """Make a job due after `wait` s."""
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._due.put_nowait, job)
        else:
            self._due.put_nowait(job)

    def finish(self) -> None:
        """Send every worker home."""
        self._due.put_nowait(None)

    async def work(self, poster: Poster) -> None:
        """Take jobs until there are none left."""
        try:
            while (job := await self._due.get()) is not None:
                await self._attempt(poster, job)
        finally:
            await poster.close()
        self.finish()

    async def _attempt(self, poster: Poster, job: _Job) -> None:
        sender = self._sender
        if job.attempt == 1 and job.number in sender.rotations:
            sender.secrets = list(sender.rotations[job.number])
        reply = await poster.post(job.delivery.body, sender.headers(job.delivery))
        receipt = Receipt(job.delivery, job.attempt, reply)
        self.receipts.append(receipt)
        if self._is_over(receipt):
            self._owed -= 1
        else:
            again = replace(job, attempt=job.attempt + 1)
            self.put(again, sender.retries[job.attempt - 1])
        if not self._owed:
            self.finish()

    def _is_over(self, receipt: Receipt) -> bool:
        # A receiver may ask to be spared (https://docs.svix.com/retries).
        is_aborted = receipt.reply.headers.get(ABORT_HEADER) == "abort-message"
        return receipt.is_taken or is_aborted or receipt.attempt > len(self._sender.retries)
