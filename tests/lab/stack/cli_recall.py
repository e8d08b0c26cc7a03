"""The command that runs a fake Recall."""

import json
import signal
from pathlib import Path

import click

from tests.lab.recall import FakeRecall
from tests.lab.world.timeline import OUTCOMES

ENDINGS = (signal.SIGTERM, signal.SIGINT)


@click.command()
@click.option("--port", default=0, help="0 takes a free one.")
@click.option("--tls-ca", type=click.Path(path_type=Path), help="Speak TLS; write the CA here.")
@click.option("--latency-ms", default=0.0, help="Every answer takes at least this long.")
@click.option("--limits/--no-limits", default=True, help="Recall's rate limits.")
@click.option("--limits-scale", default=1.0, help="Multiplies every limit.")
@click.option("--page-size", default=100, help="Bots on a page of List Bots.")
@click.option("--api-key", help="Made up unless given.")
@click.option("--seed", default=0)
@click.option("--bots", default=0, help="How many bots to begin with.")
@click.option("--outcome", type=click.Choice(list(OUTCOMES)), default="done")
def recall(
    *,
    port: int,
    tls_ca: Path | None,
    latency_ms: float,
    limits: bool,
    limits_scale: float,
    page_size: int,
    api_key: str | None,
    seed: int,
    bots: int,
    outcome: str,
) -> None:
    """Run a fake Recall until SIGTERM or SIGINT; says in one JSON line where it is."""
    # Blocked before any thread starts, so that the signal waits for sigwait below.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    fake = FakeRecall(
        seed=seed,
        api_key=api_key,
        port=port,
        tls_ca=tls_ca,
        latency_ms=latency_ms,
        limits=limits,
        limits_scale=limits_scale,
        page_size=page_size,
    )
    fake.build.populate(bots, outcome=outcome)
    with fake:
        click.echo(json.dumps(_whereabouts(fake)))
        signal.sigwait(ENDINGS)


def _whereabouts(fake: FakeRecall) -> dict[str, object]:
    return {
        "url": fake.url,
        "api_key": fake.api_key,
        "control_token": fake.control_token,
        "ca_file": None if fake.tls_ca is None else str(fake.tls_ca),
        **fake.world.counts(),
    }
