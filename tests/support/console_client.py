"""A browser without a screen for the console's tests: it logs in, and sends forms of ours."""

import re
from html import unescape
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.settings.environment import Settings

COOKIE = "recall-links"
READ, WRITE = "read-token-0123456789", "write-token-0123456789"


def console_settings(path: Path) -> Settings:
    """Settings with a read and a write token, for this SQLite file."""
    tokens = {"OPS_READ_TOKENS": READ, "OPS_WRITE_TOKENS": WRITE}
    return Settings.read({"DATABASE_URL": f"sqlite:///{path}", **tokens})


def logged_in(app: Flask, token: str) -> FlaskClient:
    """A browser that has traded a token for its cookie."""
    client = app.test_client()
    assert log_in(client, token).status_code == 303
    return client


def log_in(client: FlaskClient, token: str, **fields: str) -> TestResponse:
    """Send the login form."""
    return client.post("/console/login", data={"token": token, **fields})


def form_token(client: FlaskClient) -> str:
    """What the forms of a page carry."""
    found = re.search(r'name="form_token" value="([^"]+)"', client.get("/console/audit").text)
    assert found
    return unescape(found[1])


def post(client: FlaskClient, path: str, **fields: Any) -> TestResponse:
    """Send a form of the console's own."""
    return client.post(path, data={"form_token": form_token(client), **fields})
