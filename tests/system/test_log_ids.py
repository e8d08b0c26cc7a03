"""What the log says of a delivery and of a bot carries its id, so that one grep tells its story."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from models.settings.environment import Settings
from tests.conftest import ROOT, SECRET, migrate
from tests.lab.recall import FakeRecall
from tests.lab.sender.signing import sign

# In a process of its own: logging is set up once in the life of one.
PROGRAM = """
import json, os, sys
from models.core.logging import set_up_logging
from models.settings.environment import Settings
from webhook.app import create_app, resources_of
from workers.linking.drain import Drain
from workers.shutdown import Stop
from workers.linking.context import make_context
from workers.recall_api.transport import make_ssl_context

settings = Settings.read(os.environ)
set_up_logging(settings)
app = create_app(settings)
for headers, body in json.load(sys.stdin):
    assert app.test_client().post("/webhooks/recall", data=body, headers=headers).status_code < 300
resources_of(app).close()
assert Drain(make_context(settings, make_ssl_context()), Stop()).run() == 1
"""


def a_webhook(message_id: str, event: str, code: str, bot_id: str) -> tuple[dict[str, str], str]:
    """A signed webhook of the newer generation."""
    data = {"code": code, "sub_code": None, "updated_at": "2026-11-20T10:00:00Z"}
    body = json.dumps({"event": event, "data": {"data": data, "bot": {"id": bot_id}}})
    return sign(message_id, body.encode(), [SECRET], timestamp=int(time.time())), body


@pytest.fixture
def told(recall: FakeRecall, tmp_path: Path) -> tuple[str, list[dict[str, Any]]]:
    """A bot's id, and the log of three webhooks and of the drain that followed."""
    bot = recall.build.bot([recall.build.meeting(recall.build.user())])
    environ = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/test.db",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "DEBUG",
        "RECALL_API_BASE_URL": recall.url,
        "RECALL_API_KEY": recall.api_key,
        "RECALL_WEBHOOK_SECRETS": SECRET,
    }
    migrate(Settings.read(environ))
    sent = [
        a_webhook("msg_accepted", "bot.joining_call", "joining_call", bot.id),
        a_webhook("msg_ignored", "recording.done", "done", bot.id),
        a_webhook("msg_malformed", "bot.done", "done", "17"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(sent),
        env=environ | {"PATH": os.environ["PATH"]},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return bot.id, [json.loads(line) for line in done.stderr.splitlines()]


def test_deliveries_and_bots_are_logged_with_their_ids(
    told: tuple[str, list[dict[str, Any]]],
) -> None:
    """A delivery's is what Recall's dashboard shows as well; a settled bot says what it took."""
    bot_id, lines = told
    deliveries = {line["delivery_id"]: line for line in lines if "delivery_id" in line}
    assert set(deliveries) == {"msg_accepted", "msg_ignored", "msg_malformed"}
    for delivery_id, line in deliveries.items():
        assert line["event"] == delivery_id.removeprefix("msg_")
        assert line["bot_id"] == (None if line["event"] == "malformed" else bot_id)
    (settled,) = [line for line in lines if line["event"] == "settled"]
    assert (settled["bot_id"], settled["outcome"]) == (bot_id, "linked")
    assert (settled["calls"], settled["ms"] >= 0) == (3, True)
