"""The receiver of the documentation, word for word, takes what our workers post."""

import json
import re
from datetime import UTC, datetime

import pytest
import svix.webhooks
from flask.testing import FlaskClient

from models.settings.credentials import WebhookSecret
from models.settings.events import EVENT_TYPES
from tests.conftest import ROOT
from workers.events.message import Message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAGE = (ROOT / "docs" / "events.md").read_text()


def blocks(kind: str) -> list[str]:
    """What stands on the page between the marks of a language."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The page's receiver."""
    monkeypatch.setenv("EVENTS_SECRET", SECRET)
    (code,) = blocks("python")
    names: dict[str, object] = {"__name__": "receiver"}
    exec(compile(code, "events.md", "exec"), names)  # noqa: S102 - our own page
    client: FlaskClient = names["app"].test_client()  # type: ignore[attr-defined]
    return client


def posted(receiver: FlaskClient, message: Message, secret: str = SECRET) -> int:
    """Post a message as a worker does; returns the status."""
    body, now = message.body, int(datetime.now(UTC).timestamp())
    headers = message.headers(body, [WebhookSecret.parse(secret)], now)
    return receiver.post("/events", data=body, headers=headers).status_code


def test_the_documented_receiver_takes_each_event_once(
    receiver: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy is taken and passed over; what somebody else has signed is refused."""
    message = Message("evt_1", "link.created", datetime.now(UTC), "b", "m", {"n": 1})
    assert [posted(receiver, message), posted(receiver, message)] == [204, 204]
    assert capsys.readouterr().out.splitlines() == ["link.created {'n': 1}"]
    assert posted(receiver, message, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD") == 401


def test_the_documented_lines_for_svix_read_the_event() -> None:
    """In each version of its library: the newest one returns nothing from verify."""
    (lines,) = re.findall(r"^    (svix\..*)\n    (event = .*)$", PAGE, re.MULTILINE)
    message = Message("evt_1", "link.created", datetime.now(UTC), "b", "m", {"n": 1})
    body, now = message.body, int(datetime.now(UTC).timestamp())
    headers = message.headers(body, [WebhookSecret.parse(SECRET)], now)
    names = {"svix": svix, "json": json, "secret": SECRET, "body": body, "headers": headers}
    exec("\n".join(lines), names)  # noqa: S102 - our own page
    assert names["event"] == json.loads(body)


def test_each_documented_body_is_one() -> None:
    """JSON with type, timestamp and data, of a type that there is; each type is named."""
    for block in blocks("json"):
        told = json.loads(block)
        assert set(told) == {"type", "timestamp", "data"}
        assert told["type"] in EVENT_TYPES
    assert [kind for kind in EVENT_TYPES if f"`{kind}`" not in PAGE] == []
