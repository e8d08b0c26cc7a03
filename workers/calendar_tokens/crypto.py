"""Encryption of stored calendar tokens, and their fingerprints."""

import base64
import hashlib
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Recall's tokens live 24 h (https://docs.recall.ai/reference/calendar_authenticate_create).
TOKEN_SECONDS = 19 * 3600.0


class Tokens(Protocol):
    """The token cache as a linker sees it; `get` may wait for another thread's request."""

    def get(self, external_id: str) -> str | None:
        """Return a cached token; None: the caller requests and puts one; or UserErasedError."""

    def put(self, external_id: str, token: str | None) -> None:
        """Store a new token; None after a failure, so that another thread may try."""

    def drop(self, external_id: str, token: str) -> None:
        """Delete this token if it is still the cached one."""


class Vault:
    """Encrypts tokens with a key derived from the API key; another key cannot decrypt them."""

    def __init__(self, api_key: str) -> None:
        # Derived, so that there is no second secret, and rotating the key invalidates the tokens.
        key = HKDF(
            algorithm=SHA256(), length=32, salt=None, info=b"recall-links calendar tokens"
        ).derive(api_key.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, token: str) -> bytes:
        """Encrypt a token."""
        return self._fernet.encrypt(token.encode())

    def open(self, ciphertext: bytes) -> str | None:
        """Decrypt a token; None if it was encrypted with another API key."""
        try:
            return self._fernet.decrypt(ciphertext).decode()
        except InvalidToken:
            return None


def fingerprint(token: str) -> str:
    """Return a short hash to compare tokens by."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
