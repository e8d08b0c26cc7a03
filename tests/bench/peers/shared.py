"""What the peers share: the signature check, the row, and a link's three calls and upserts.

Fair: the fastest plain way for a thread: a kept-alive client of its own, one pool, one transaction.
"""

import base64
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import Engine, create_engine, text

API = os.environ.get("RECALL_API_BASE_URL", "") + "/api/v1"
KEY = {"authorization": f"Token {os.environ.get('RECALL_API_KEY', '')}"}
SECRET = base64.b64decode(os.environ.get("RECALL_WEBHOOK_SECRETS", "").removeprefix("whsec_"))

UPSERTS = (
    text("""INSERT INTO calendar_users (id, external_id) VALUES (:user_id, :external_id)
            ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id"""),
    text("""INSERT INTO calendar_meetings (id, calendar_user_id, start_time, end_time, state, title,
              ical_uid, organizer_email, calendar_platform, meeting_platform, fetched_at)
            VALUES (:id, :user_id, :start_time, :end_time, 'found', :title,
              :ical_uid, :organizer_email, :calendar_platform, :meeting_platform, now())
            ON CONFLICT (id) DO UPDATE SET title = excluded.title, fetched_at = now()"""),
    text("""INSERT INTO links (bot_id, meeting_id, calendar_user_id, external_id, seen_start,
              seen_end, linked_at, last_seen_at)
            VALUES (:bot_id, :id, :user_id, :external_id, :start_time, :end_time, now(), now())
            ON CONFLICT (bot_id, meeting_id) DO UPDATE SET last_seen_at = now()"""),
)
UPSERT_BOT = text("""
    INSERT INTO bots (id, status, status_at, first_seen_at, bot_name, link_state, settled_at)
    VALUES (:id, :status, now(), now(), :bot_name, 'linked', now())
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, settled_at = now()""")

_local = threading.local()


def is_signed(headers: Mapping[str, str], body: bytes) -> bool:
    """Check a signature of Svix's scheme, at most five minutes old."""
    message_id, stamp = headers.get("svix-id", ""), headers.get("svix-timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > 300:
        return False
    signed = f"{message_id}.{stamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    given = headers.get("svix-signature", "").split(" ")
    return any(hmac.compare_digest(expected, one) for one in given)


def delivery(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return a webhook's row for the table `deliveries`."""
    event = json.loads(body)
    status, now = event["data"]["data"], datetime.now(UTC)
    return {
        "id": headers["svix-id"],
        "event": event["event"],
        "outcome": "accepted",
        "bot_id": event["data"]["bot"]["id"],
        "code": status["code"],
        "sub_code": status["sub_code"],
        "occurred_at": datetime.fromisoformat(status["updated_at"]),
        "body": body,
        "received_at": now,
        "last_received_at": now,
        "scheme": "svix",
        "secret_fingerprint": "peer",
    }


def client() -> httpx.Client:
    """Return this thread's kept-alive client."""
    if not hasattr(_local, "client"):
        _local.client = httpx.Client()
    found: httpx.Client = _local.client
    return found


def get(url: str, headers: dict[str, str]) -> Any:
    """GET some JSON."""
    return client().get(f"{API}/{url}", headers=headers).raise_for_status().json()


def token(external_id: str) -> dict[str, str]:
    """Ask a calendar token; returns it as the header it is sent in."""
    url = f"{API}/calendar/authenticate/"
    answer = client().post(url, headers=KEY, json={"user_id": external_id})
    return {"x-recallcalendarauthtoken": answer.raise_for_status().json()["token"]}


def make_engine(size: int) -> Engine:
    """Return a pool for so many threads."""
    return create_engine(os.environ["DATABASE_URL"], pool_size=size, max_overflow=0)


def link_bot(engine: Engine, bot_id: str) -> None:
    """Look a bot up, then each meeting of it under its user's token, and store the link."""
    bot = get(f"bot/{bot_id}/", KEY)
    meetings = [
        get(f"calendar/meetings/{ref['id']}/", token(ref["calendar_user"]["external_id"]))
        for ref in bot["calendar_meetings"]
    ]
    status = bot["status_changes"][-1]["code"]
    with engine.begin() as connection:
        row = {"id": bot_id, "status": status, "bot_name": bot["bot_name"]}
        connection.execute(UPSERT_BOT, row)
        for ref, meeting in zip(bot["calendar_meetings"], meetings, strict=True):
            user = ref["calendar_user"]
            ids = {"bot_id": bot_id, "user_id": user["id"], "external_id": user["external_id"]}
            for statement in UPSERTS:
                connection.execute(statement, {**meeting, **ids})
