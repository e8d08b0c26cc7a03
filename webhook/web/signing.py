"""Keys for what this process signs by itself, derived from the ops tokens: no second secret."""

import hashlib
import json

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadSignature, URLSafeTimedSerializer

from models.settings.environment import Settings

# Rotating the tokens voids every cookie and cursor: whoever held an old token is out.
SESSION = "console session"
CURSOR = "list cursor"
FORM = "console form"
DONE = "console result"


class Signer:
    """Signs small values for one purpose; a value for another purpose is refused."""

    def __init__(self, settings: Settings, purpose: str) -> None:
        # Each in its place: a token that may no longer write voids what it signed when it could.
        tokens = json.dumps([settings.ops_read_tokens, settings.ops_write_tokens])
        key = HKDF(
            algorithm=SHA256(), length=32, salt=None, info=f"recall-links {purpose}".encode()
        ).derive(tokens.encode())
        # Its defaults are SHA-1 and a home-made derivation, for signatures of ten years ago.
        modern = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._serializer = URLSafeTimedSerializer(key, salt=purpose, signer_kwargs=modern)

    def sign(self, value: object) -> str:
        """Return the value as text that only we could have made."""
        return str(self._serializer.dumps(value))

    def read(self, text: str, max_age: int | None = None) -> object | None:
        """Return what was signed; None when it was not signed by us, or is older (seconds)."""
        try:
            value: object = self._serializer.loads(text, max_age=max_age)
        except BadSignature:
            return None
        return value
