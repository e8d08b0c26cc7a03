"""Calendar tokens at rest: encrypted, found by a hash, compared by a fingerprint."""

import base64
import hashlib
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Recall's live 24 h (https://docs.recall.ai/reference/calendar_authenticate_create).
TOKEN_SECONDS = 19 * 3600.0


class Tokens(Protocol):
    """What a link needs of the token store; it may wait for another thread's minting."""

    def get(self, external_id: str) -> str | None:
        """Return a cached token; None: the caller mints, then puts; or UserErasedError."""

    def put(self, external_id: str, token: str | None) -> None:
        """Store a fresh token; None when minting failed, so that another may try."""

    def drop(self, external_id: str, token: str) -> None:
        """Forget this token if it is still the cached one."""


class Vault:
    """Encrypts tokens with a key derived from the API key: another key reads none of them."""

    def __init__(self, api_key: str) -> None:
        # Derived, so that there is no second secret to set, and rotating the key voids the tokens.
        key = HKDF(
            algorithm=SHA256(), length=32, salt=None, info=b"recall-links calendar tokens"
        ).derive(api_key.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, token: str) -> bytes:
        """Encrypt a token."""
        return self._fernet.encrypt(token.encode())

    def open(self, ciphertext: bytes) -> str | None:
        """Decrypt a token; None where another API key sealed it."""
        try:
            return self._fernet.decrypt(ciphertext).decode()
        except InvalidToken:
            return None


def fingerprint(token: str) -> str:
    """Return what tells one token from another without showing either."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
