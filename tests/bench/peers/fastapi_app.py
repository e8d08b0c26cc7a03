"""(d) FastAPI, uvicorn, asyncpg: the same check and the same insert, prepared, over a pool.

Fair: uvloop and httptools are on, as in `uvicorn[standard]`; no model validates the body twice.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, Request, Response

from tests.bench.peers.shared import delivery, is_signed

COLUMNS = (
    "id", "event", "outcome", "bot_id", "code", "sub_code", "occurred_at", "body", "received_at",
    "last_received_at", "scheme", "secret_fingerprint",
)  # fmt: skip
INSERT = f"""INSERT INTO deliveries ({", ".join(COLUMNS)})
    VALUES ({", ".join(f"${n}" for n in range(1, len(COLUMNS) + 1))})
    ON CONFLICT (id) DO UPDATE SET copies = deliveries.copies + 1, last_received_at = now()
    RETURNING copies"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a pool while the application lives."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/healthz")
async def healthz() -> str:
    """Alive."""
    return "ok"


@app.post("/webhooks/recall")
async def receive(request: Request) -> Response:
    """Verify, store, answer."""
    body = await request.body()
    if not is_signed(request.headers, body):
        return Response(status_code=401)
    row = delivery(request.headers, body)
    copies = await request.app.state.pool.fetchval(INSERT, *(row[name] for name in COLUMNS))
    return Response(status_code=202 if copies == 1 else 200)
