"""The command that sends signed webhooks."""

import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.lab.sender.deliveries import (
    Delivery,
    Receipt,
    duplicated,
    last_receipts,
    shuffled,
    statuses,
)
from tests.lab.sender.events import Generation, lifecycle
from tests.lab.sender.post import Target
from tests.lab.sender.sender import Sender, compressed
from tests.lab.sender.signing import Family, signature
from tests.lab.world.builders import Builder
from tests.lab.world.shapes import Bot
from tests.lab.world.timeline import OUTCOMES, latest_start
from tests.lab.world.world import World


@click.command()
@click.option("--to", "url", required=True, help="The receiver's whole URL.")
@click.option("--secret", "secrets", multiple=True, required=True, help="whsec_…, repeatable.")
@click.option("--bots", default=0, help="The bots `recall` makes of this seed and number.")
@click.option("--bot-id", "bot_ids", multiple=True, help="A bot of your own, repeatable.")
@click.option("--seed", default=0)
@click.option("--generation", type=click.Choice(["legacy", "v1.11"]), default="v1.11")
@click.option("--family", type=click.Choice(["svix", "webhook"]), default="svix")
@click.option("--outcome", type=click.Choice(list(OUTCOMES)), default="done")
@click.option("--noise", is_flag=True, help="Mix in what else a workspace sends.")
@click.option("--duplicates", default=0.0, help="Share of deliveries that arrive twice.")
@click.option("--shuffle", is_flag=True, help="Send in a random order.")
@click.option("--rate", type=float, help="Deliveries a second; as fast as it goes without.")
@click.option("--connections", default=4)
@click.option("--retry-factor", default=0.0, help="Retry on Svix's schedule times this; 0 never.")
@click.option("--tls-ca", type=click.Path(path_type=Path, exists=True))
def send(
    *,
    url: str,
    secrets: tuple[str, ...],
    bots: int,
    bot_ids: tuple[str, ...],
    seed: int,
    generation: Generation,
    family: Family,
    outcome: str,
    noise: bool,
    duplicates: float,
    shuffle: bool,
    rate: float | None,
    connections: int,
    retry_factor: float,
    tls_ca: Path | None,
) -> None:
    """Send the life of each bot to a receiver; prints a summary, ends 1 if one was not taken."""
    _check(url, secrets)
    deliveries = [
        Delivery.of(event, family=family)
        for bot in _senders(seed, bots, bot_ids)
        for event in lifecycle(
            bot,
            generation=generation,
            outcome=outcome,
            start=_joins(bot, outcome),
            noise=noise,
        )
    ]
    rng = random.Random(seed)
    deliveries = duplicated(deliveries, duplicates, rng)
    deliveries = shuffled(deliveries, rng) if shuffle else deliveries
    retries = compressed(retry_factor) if retry_factor else ()
    sender = Sender(
        url, secrets, connections=connections, rate=rate, retries=retries, ca_file=tls_ca
    )
    started = time.perf_counter()
    receipts = sender.run(deliveries)
    click.echo(json.dumps(_summary(receipts, time.perf_counter() - started)))
    sys.exit(not all(receipt.is_taken for receipt in last_receipts(receipts).values()))


def _check(url: str, secrets: Sequence[str]) -> None:
    try:
        Target.of(url)
        for each in secrets:
            signature(each, "", "", b"")
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _senders(seed: int, bots: int, bot_ids: Sequence[str]) -> list[Bot | str]:
    made = Builder(World(seed=seed), seed).populate(bots) if bots else []
    return [*made, *bot_ids]


def _joins(bot: Bot | str, outcome: str) -> datetime | None:
    if isinstance(bot, str) or bot.join_at is None:
        return None
    return min(bot.join_at, latest_start(outcome, datetime.now(UTC)))


def _summary(receipts: Sequence[Receipt], seconds: float) -> dict[str, object]:
    times = sorted(receipt.reply.ms for receipt in receipts) or [0.0]
    last = last_receipts(receipts)
    return {
        "messages": len(last),
        "attempts": len(receipts),
        "taken": sum(receipt.is_taken for receipt in last.values()),
        "statuses": statuses(receipts),
        "errors": sorted({r.reply.error for r in receipts if r.reply.error})[:5],
        "seconds": round(seconds, 3),
        "median_ms": round(statistics.median(times), 1),
        "slowest_ms": round(times[-1], 1),
    }
