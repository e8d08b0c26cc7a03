"""Errors to Sentry: they arrive at the DSN's address, and carry no secret, header or body."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.conftest import ROOT, SECRET

BODY = "a body that tells of Ada's meeting"
API_KEY = "test-api-key-0123456789"


class Endpoint(ThreadingHTTPServer):
    """Takes envelopes as Sentry would, and keeps the events in them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.events: list[dict[str, Any]] = []


class Taker(BaseHTTPRequestHandler):
    """One envelope."""

    server: Endpoint

    def do_POST(self) -> None:
        """Keep what it holds: a head, then pairs of a head and an item."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        _, *lines = body.decode().splitlines()
        self.server.events += [json.loads(item) for item in lines[1::2]]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint on loopback."""
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# In a process of its own: the SDK sets up a whole process, and leaves threads in it.
PROGRAM = """
import os, logging
import structlog
from models.core.logging import set_up_logging
from models.core.sentry import flush_sentry, set_up_sentry
from models.settings.environment import Settings
from webhook.app import create_app

settings = Settings.read(os.environ)
set_up_logging(settings)
set_up_sentry(settings)
app = create_app(settings)

@app.post("/broken")
def broken():
    from flask import request
    body, key = request.get_data(), request.headers["Authorization"]
    raise ValueError(f"refused with {key}\\nDETAIL: the row holds {body}")

headers = {"Authorization": "Token test-api-key-0123456789", "Cookie": "recall-links=cookie-value"}
answer = app.test_client().post("/broken", data=os.environ["BODY"], headers=headers)
print(answer.json["id"])
log = structlog.stdlib.get_logger("workers.linking.apply_deliveries")
try:
    raise KeyError("code")
except KeyError:
    detail = "Bearer test-api-key-0123456789"
    log.exception("delivery cannot be applied", delivery_id="msg_1", bot_id="bot_1", detail=detail)
secrets = os.environ["RECALL_WEBHOOK_SECRETS"]
logging.getLogger("some.package").error("bad request with %s", secrets)
logging.getLogger("waitress").error("a stranger's broken request")
flush_sentry()
"""


def run_program(dsn: str) -> tuple[str, str]:
    """Run the program above with this DSN; returns the broken answer's id, and the log."""
    given = {
        "BODY": BODY,
        "DATABASE_URL": "sqlite:///nowhere.db",
        "PATH": os.environ["PATH"],
        "RECALL_API_KEY": API_KEY,
        "RECALL_WEBHOOK_SECRETS": SECRET,
        "SENTRY_DSN": dsn,
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=given, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_an_error_arrives_and_carries_no_secret_header_or_body(endpoint: Endpoint) -> None:
    """What went wrong, where, and the ids of our own: no more than that."""
    broken, log = run_program(f"http://public@127.0.0.1:{endpoint.server_port}/1")
    kinds = [event["exception"]["values"][-1]["type"] for event in endpoint.events[:2]]
    assert kinds == ["ValueError", "KeyError"]
    failed, applied, said = endpoint.events
    # By the id that the answer gave, whoever is told of it finds the line and the event.
    assert failed["extra"]["id"] == broken
    assert broken in log
    assert applied["logentry"]["message"] == "delivery cannot be applied"
    assert (applied["extra"]["delivery_id"], applied["extra"]["bot_id"]) == ("msg_1", "bot_1")
    assert applied["exception"]["values"][-1]["stacktrace"]["frames"]
    assert "bad request with" in said["logentry"]["message"]
    sent = json.dumps(endpoint.events)
    for hidden in (BODY, API_KEY, SECRET, SECRET.removeprefix("whsec_"), "cookie-value"):
        assert hidden not in sent
    for event in endpoint.events:
        assert "request" not in event
        assert not event["breadcrumbs"]["values"]
        frames = event.get("exception", {"values": []})["values"]
        assert not any("vars" in frame for one in frames for frame in one["stacktrace"]["frames"])


def test_without_a_dsn_nothing_is_sent(endpoint: Endpoint) -> None:
    """Optional means off."""
    run_program("")
    assert endpoint.events == []
