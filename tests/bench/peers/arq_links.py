"""(b) arq: one coroutine a bot, one shared AsyncClient, asyncpg.

Fair: how its documentation shows it; thirty-two at once, results not kept.
"""

import asyncio
import os
import sys
from datetime import datetime
from typing import Any

import asyncpg
import httpx
from arq import create_pool
from arq.connections import RedisSettings

from tests.bench.peers.shared import API, KEY
from tests.bench.world import bot_id

REDIS = RedisSettings(unix_socket_path=os.environ["REDIS_URL"].removeprefix("unix://"))
UPSERTS = (
    """INSERT INTO bots (id, status, status_at, first_seen_at, bot_name, link_state, settled_at)
       VALUES ($1, $2, now(), now(), $3, 'linked', now())
       ON CONFLICT (id) DO UPDATE SET status = excluded.status, settled_at = now()""",
    """INSERT INTO calendar_users (id, external_id) VALUES ($1, $2)
       ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id""",
    """INSERT INTO calendar_meetings (id, calendar_user_id, start_time, end_time, state, title,
         ical_uid, organizer_email, calendar_platform, meeting_platform, fetched_at)
       VALUES ($1, $2, $3, $4, 'found', $5, $6, $7, $8, $9, now())
       ON CONFLICT (id) DO UPDATE SET title = excluded.title, fetched_at = now()""",
    """INSERT INTO links (bot_id, meeting_id, calendar_user_id, external_id, seen_start, seen_end,
         linked_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6, now(), now())
       ON CONFLICT (bot_id, meeting_id) DO UPDATE SET last_seen_at = now()""",
)
DETAILS = ("title", "ical_uid", "organizer_email", "calendar_platform", "meeting_platform")


async def link(ctx: dict[str, Any], bot: str) -> None:
    """Link one bot."""
    http: httpx.AsyncClient = ctx["http"]
    body = (await http.get(f"{API}/bot/{bot}/", headers=KEY)).raise_for_status().json()
    found = [(ref, await meeting(http, ref)) for ref in body["calendar_meetings"]]
    async with ctx["pool"].acquire() as connection, connection.transaction():
        status = body["status_changes"][-1]["code"]
        await connection.execute(UPSERTS[0], bot, status, body["bot_name"])
        for ref, one in found:
            user, id_ = ref["calendar_user"], ref["id"]
            times = [datetime.fromisoformat(one[key]) for key in ("start_time", "end_time")]
            await connection.execute(UPSERTS[1], user["id"], user["external_id"])
            details = [one[name] for name in DETAILS]
            await connection.execute(UPSERTS[2], id_, user["id"], *times, *details)
            await connection.execute(UPSERTS[3], bot, id_, user["id"], user["external_id"], *times)


async def meeting(http: httpx.AsyncClient, ref: dict[str, Any]) -> dict[str, Any]:
    """Fetch one meeting under its user's token."""
    asked = {"user_id": ref["calendar_user"]["external_id"]}
    answer = await http.post(f"{API}/calendar/authenticate/", headers=KEY, json=asked)
    headers = {"x-recallcalendarauthtoken": answer.raise_for_status().json()["token"]}
    url = f"{API}/calendar/meetings/{ref['id']}/"
    found: dict[str, Any] = (await http.get(url, headers=headers)).raise_for_status().json()
    return found


async def startup(ctx: dict[str, Any]) -> None:
    """Open what the jobs share."""
    ctx["http"] = httpx.AsyncClient()
    ctx["pool"] = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4)


async def shutdown(ctx: dict[str, Any]) -> None:
    """Close it again."""
    await ctx["http"].aclose()
    await ctx["pool"].close()


class WorkerSettings:
    """What `arq` runs."""

    functions = (link,)
    redis_settings = REDIS
    on_startup = startup
    on_shutdown = shutdown
    max_jobs = 32
    keep_result = 0


async def enqueue(first: int, count: int) -> None:
    """Queue so many bots."""
    pool = await create_pool(REDIS)
    for number in range(first, first + count):
        await pool.enqueue_job("link", bot_id(number))
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(enqueue(*map(int, sys.argv[1:])))
