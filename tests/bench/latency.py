"""Room 4, latency: from a webhook to the committed link, one bot at a time, in an idle system."""

import time
from typing import Any

import psycopg

from tests.bench.checks import check_links
from tests.bench.environment import BenchError, Ground, connected, is_listening, order, until
from tests.bench.plan import Plan
from tests.bench.receiver import COMMANDS as WEB
from tests.bench.receiver import OURS, PATH
from tests.bench.results import Figure, Results, percentile
from tests.bench.workers import COMMANDS as WORKER
from tests.bench.world import CODES, World, bot_id
from tests.lab.stack.servers import free_port

ROOM = "latency"
CALL_MS = 50
CALLS = 3
# Long enough for a drain to have ended: each bot finds the system asleep.
REST_SECONDS = 1.0
LINKED = """SELECT extract(epoch FROM links.linked_at - deliveries.received_at) * 1000
    FROM links JOIN deliveries USING (bot_id) WHERE links.bot_id = %s"""


def run(ground: Ground, plan: Plan, results: Results) -> None:
    """Send one webhook, wait for its link, rest, again."""
    fake = ground.fake("--delay-ms", str(CALL_MS))
    environ = ground.service(ground.database(), ground.redis(), PORT=free_port())
    environ |= {"RECALL_API_BASE_URL": fake.url, "SSL_CERT_FILE": fake.roots}
    port: Any = environ["PORT"]
    web = ground.run("web", WEB[OURS], environ)
    ground.run("worker", WORKER[OURS], environ)
    until(lambda: is_listening(port), "the start of the web process", web)
    bots = plan.size(60, 12)
    plan.say(f"latency: {bots} bots, one at a time, with {REST_SECONDS} s between them")
    found = []
    with connected(str(environ["DATABASE_URL"])) as connection:
        for number in range(bots):
            wanted = {"path": PATH, "first": number, "bots": 1, "connections": 1}
            order(port, ground, **wanted, codes=CODES[-1:], prefix="latency")
            found.append(_milliseconds(connection, number) - CALL_MS * CALLS)
            time.sleep(REST_SECONDS)
        check_links(connection, World(), range(bots), OURS)
    _tell(found[2:], results)


def _milliseconds(connection: "psycopg.Connection[tuple[Any, ...]]", number: int) -> float:
    give_up_at = time.monotonic() + 30
    while (row := connection.execute(LINKED, (bot_id(number),)).fetchone()) is None:
        if time.monotonic() > give_up_at:
            raise BenchError(f"bot {number} was not linked in 30 s")
        time.sleep(0.02)
    return float(row[0])


def _tell(beyond: list[float], results: Results) -> None:
    note = f"beyond the {CALLS} calls' own {CALL_MS * CALLS} ms; {len(beyond)} bots"
    for share, most in ((0.5, 80.0), (0.99, 300.0)):
        value = (percentile(beyond, share),)
        what = f"webhook to committed link, p{share * 100:.0f}"
        results.add(Figure(ROOM, what, value, "ms", at_most=most, note=note))
