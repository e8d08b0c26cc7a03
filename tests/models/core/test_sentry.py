"""Errors are sent to the DSN, without secrets, headers and bodies."""

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
    """A fake Sentry that stores the events it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EnvelopeHandler)
        self.events: list[dict[str, Any]] = []


class EnvelopeHandler(BaseHTTPRequestHandler):
    """Handles one envelope."""

    server: Endpoint

    def do_POST(self) -> None:
        """Store the items of an envelope: a header line, then pairs of header and item."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        _, *lines = body.decode().splitlines()
        self.server.events += [json.loads(item) for item in lines[1::2]]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A fake Sentry on loopback."""
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# Runs in a separate process, because the SDK patches the process and starts threads.
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
    """Run the program with this DSN; return the id in the error response, and the log."""
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
    """Only the error, its stack and our own ids are sent."""
    broken, log = run_program(f"http://public@127.0.0.1:{endpoint.server_port}/1")
    kinds = [event["exception"]["values"][-1]["type"] for event in endpoint.events[:2]]
    assert kinds == ["ValueError", "KeyError"]
    failed, applied, said = endpoint.events
    # The id in the response finds the log line and the event.
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
    """SENTRY_DSN is optional."""
    run_program("")
    assert endpoint.events == []
