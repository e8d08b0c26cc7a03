"""(c) Celery with threads: one task, one message a bot.

Fair: no results are kept, acknowledged early as it comes, kept-alive clients, one pool.
"""

import os
import sys

from celery import Celery

from tests.bench.peers.shared import link_bot, make_engine
from tests.bench.world import bot_id

# Kombu writes a Redis on a socket differently.
app = Celery(broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://"))
app.conf.task_ignore_result = True
engine = make_engine(32)


@app.task(name="link")
def link(bot: str) -> None:
    """Link one bot."""
    link_bot(engine, bot)


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    for number in range(first, first + count):
        link.delay(bot_id(number))
