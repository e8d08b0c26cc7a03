"""What is posted: every Standard Webhooks and Svix library verifies it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
import svix

from models.settings.credentials import WebhookSecret
from workers.events.message import Message

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
WORDS = "Café „x“ 😀"
AT = datetime(2026, 11, 24, 10, tzinfo=UTC)
VERIFIERS = (standardwebhooks.Webhook, svix.Webhook)


def a_message(**data: Any) -> Message:
    """An event with words of strangers in it."""
    return Message("evt_1", "link.created", AT, "b", "m", data)


def sent(message: Message, *secrets: str) -> tuple[bytes, dict[str, str]]:
    """The body and the headers, as of now."""
    body = message.body
    now = int(datetime.now(UTC).timestamp())
    return body, message.headers(body, [WebhookSecret.parse(one) for one in secrets], now)


@pytest.mark.parametrize("verifier", VERIFIERS)
@pytest.mark.parametrize("secret", [NEW, OLD])
def test_public_libraries_verify_both_secrets_of_a_rotation(verifier: Any, secret: str) -> None:
    """Whichever of the two the receiver has."""
    body, headers = sent(a_message(title=WORDS), NEW, OLD)
    verifier(secret).verify(body, headers)
    assert json.loads(body)["data"] == {"title": WORDS}


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_a_changed_body_is_refused(verifier: Any) -> None:
    """By the same libraries: what they verify is the body to the byte."""
    body, headers = sent(a_message(n=1), NEW)
    errors = (standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError)
    with pytest.raises(errors):
        verifier(NEW).verify(body.replace(b"1", b"2"), headers)


def test_an_erased_event_says_so_with_ids_alone() -> None:
    """What is left when the person is erased."""
    told = json.loads(a_message().body)
    assert told["data"] == {"erased": True, "bot_id": "b", "meeting_id": "m"}
    assert (told["type"], told["timestamp"]) == ("link.created", "2026-11-24T10:00:00+00:00")
