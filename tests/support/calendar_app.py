"""What the calendar companion's tests share: its settings, an operator's JWTs, an app to ask."""

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.lab.recall import FakeRecall

SHARED_KEY = "an-operators-secret-of-thirty-two-bytes"
PAGES = "https://app.example"
PUBLIC = "https://links.example"


def calendar_settings(recall: FakeRecall, **others: object) -> dict[str, object]:
    """Everything that the companion can be told, against a fake Recall."""
    given: dict[str, object] = {
        "RECALL_API_BASE_URL": recall.url,
        "RECALL_API_KEY": recall.api_key,
        "RECALL_RATE_SHARE": 100_000,
        "PUBLIC_URL": PUBLIC,
        "GOOGLE_OAUTH_CLIENT_ID": "google-client",
        "MICROSOFT_OAUTH_CLIENT_ID": "microsoft-client",
        "CALENDAR_JWT_KEY": SHARED_KEY,
        "CALENDAR_ALLOWED_ORIGINS": PAGES,
        "CALENDAR_RETURN_URLS": f"{PAGES}/settings",
    }
    return given | others


def claims_of(user: object = "ines", **others: object) -> dict[str, Any]:
    """A JWT's claims: issued now, over in five minutes; None leaves one out."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + 300} | others
    return {name: value for name, value in claims.items() if value is not None}


def proof(
    user: object = "ines", key: Any = SHARED_KEY, algorithm: str = "HS256", **others: object
) -> str:
    """A JWT for a user, as an operator's backend makes it."""
    return jwt.encode(claims_of(user, **others), key, algorithm=algorithm)


def rsa_pair(bits: int = 2048) -> tuple[str, str]:
    """A private and a public key in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def ask(
    client: FlaskClient, path: str, body: object, token: str | None = None, **headers: str
) -> TestResponse:
    """POST JSON, with a JWT in the header where there is one."""
    given = dict(headers)
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return client.post(path, json=body, headers=given)
