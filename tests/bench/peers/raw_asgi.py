"""A raw ASGI receiver with group commit: what is pending becomes one INSERT and one commit.

Fair: nothing but uvicorn, asyncpg and the check; it is how one would write it for speed alone.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from tests.bench.peers.fastapi_app import COLUMNS
from tests.bench.peers.shared import delivery, is_signed

TYPES = {"occurred_at": "timestamptz", "received_at": "timestamptz", "body": "bytea"}
TYPES |= {"last_received_at": "timestamptz"}
ARRAYS = [f"${n}::{TYPES.get(c, 'text')}[]" for n, c in enumerate(COLUMNS, 1)]
INSERT = f"""INSERT INTO deliveries ({", ".join(COLUMNS)})
    SELECT * FROM unnest({", ".join(ARRAYS)})
    ON CONFLICT (id) DO UPDATE SET copies = deliveries.copies + 1"""

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Pending = tuple[dict[str, Any], "asyncio.Future[None]"]


class App:
    """The application and its one committer."""

    def __init__(self) -> None:
        self._pending: list[Pending] = []
        self._wake = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        committer = asyncio.create_task(self._commit(connection))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        committer.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        status = 204
        if scope["method"] == "POST":
            status = await self._store(scope, receive)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", b"0")],
            }
        )
        await send({"type": "http.response.body", "body": b""})

    async def _store(self, scope: dict[str, Any], receive: Receive) -> int:
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        if not is_signed(headers, body):
            return 401
        stored = asyncio.get_running_loop().create_future()
        self._pending.append((delivery(headers, body), stored))
        self._wake.set()
        await stored
        return 202

    async def _commit(self, connection: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            # Only one of two equal ids may be in one statement.
            rows = {row["id"]: row for row, _ in batch}.values()
            try:
                await connection.execute(INSERT, *([row[name] for row in rows] for name in COLUMNS))
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
                for _, stored in batch:
                    stored.set_exception(error)
            else:
                for _, stored in batch:
                    stored.set_result(None)


app = App()
