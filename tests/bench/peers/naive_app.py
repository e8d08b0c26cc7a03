"""(a) The naive receiver: gunicorn sync, an ORM insert and an enqueue in each request.

Fair: what tutorials of Flask with RQ end in; verified, committed before the answer, and the
columns are everybody's.
"""

import os
import sys
from datetime import datetime

import redis
from flask import Flask, Response, request
from rq import Queue
from sqlalchemy.orm import Mapped, Session, mapped_column

from tests.bench.peers.naive_jobs import Base, engine, link_bot
from tests.bench.peers.shared import delivery, is_signed
from tests.bench.world import bot_id

app = Flask(__name__)
queue = Queue(connection=redis.Redis.from_url(os.environ["REDIS_URL"]))


class Delivery(Base):
    """A webhook that arrived."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(primary_key=True)
    event: Mapped[str]
    outcome: Mapped[str]
    bot_id: Mapped[str]
    code: Mapped[str]
    sub_code: Mapped[str | None]
    occurred_at: Mapped[datetime]
    body: Mapped[bytes]
    received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    scheme: Mapped[str]
    secret_fingerprint: Mapped[str]


@app.get("/healthz")
def healthz() -> str:
    """Alive."""
    return "ok"


@app.post("/webhooks/recall")
def receive() -> Response:
    """Verify, store, enqueue, answer."""
    body = request.get_data()
    headers = {name.lower(): value for name, value in request.headers}
    if not is_signed(headers, body):
        return Response(status=401)
    row = delivery(headers, body)
    with Session(engine) as session:
        if session.get(Delivery, row["id"]) is None:
            session.add(Delivery(**row))
            session.commit()
    queue.enqueue(link_bot, row["bot_id"])
    return Response(status=202)


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    for number in range(first, first + count):
        queue.enqueue(link_bot, bot_id(number))
