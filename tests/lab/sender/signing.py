"""Signatures as Svix and Standard Webhooks make them, by the lab's own code.

https://docs.svix.com/receiving/verifying-payloads/how-manual
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Literal

Family = Literal["svix", "webhook"]
PREFIX = "whsec_"

# A version nobody here can verify, and one that is no version at all: a reader skips both.
JUNK = ("v1a,bGFiLWp1bms=", "v9,AAAA")


def new_secret() -> str:
    """Return a fresh `whsec_…` secret of 24 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def new_message_id() -> str:
    """Return a fresh `msg_…` id."""
    return f"msg_{secrets.token_hex(14)}"


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return one `v1,BASE64` entry for that secret; ValueError for a secret that is no base64."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def sign(
    message_id: str,
    body: bytes,
    secrets_: Sequence[str],
    *,
    timestamp: int | str,
    family: Family = "svix",
    junk: bool = False,
) -> dict[str, str]:
    """Return the three headers of a family; one signature per secret, after junk if asked for.

    `timestamp` in Unix seconds, when this attempt is made and not when the message was.
    """
    entries = list(JUNK) if junk else []
    entries += [signature(secret, message_id, str(timestamp), body) for secret in secrets_]
    return {
        f"{family}-id": message_id,
        f"{family}-timestamp": str(timestamp),
        f"{family}-signature": " ".join(entries),
    }
