"""(c) Dramatiq with threads: one actor, one message a bot.

Fair: its own retry and prefetch as they come, kept-alive clients, one pool.
"""

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.peers.shared import link_bot, make_engine
from tests.bench.world import bot_id

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))
engine = make_engine(32)


@dramatiq.actor(actor_name="link")
def link(bot: str) -> None:
    """Link one bot."""
    link_bot(engine, bot)


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    for number in range(first, first + count):
        link.send(bot_id(number))
