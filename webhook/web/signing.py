"""Signs cookies, cursors and forms with keys derived from the ops tokens."""

import hashlib
import json

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadSignature, TimestampSigner, URLSafeTimedSerializer

from models.settings.environment import Settings

# Changing a token invalidates every cookie and cursor, so an old token gives no access.
SESSION = "console session"
CURSOR = "list cursor"
FORM = "console form"
DONE = "console result"


class _UndatedSigner(TimestampSigner):
    def get_timestamp(self) -> int:
        """Return the same time always, so that the same value has the same text."""
        return 1


class Signer:
    """Signs small values for one purpose; values signed for another purpose are refused."""

    def __init__(self, settings: Settings, purpose: str) -> None:
        # Read and write tokens apart: moving a token from write to read also changes the key.
        held = (settings.ops_read_tokens, settings.ops_write_tokens)
        tokens = json.dumps([[one.spelling for one in tokens] for tokens in held])
        key = HKDF(
            algorithm=SHA256(), length=32, salt=None, info=f"recall-links {purpose}".encode()
        ).derive(tokens.encode())
        # itsdangerous defaults to SHA-1 and a derivation of its own, for compatibility.
        modern = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        # A page of a list that did not change must not differ by its cursor.
        signer = _UndatedSigner if purpose == CURSOR else TimestampSigner
        self._serializer = URLSafeTimedSerializer(
            key, salt=purpose, signer=signer, signer_kwargs=modern
        )

    def sign(self, value: object) -> str:
        """Return the value as signed text."""
        return str(self._serializer.dumps(value))

    def read(self, text: str, max_age: int | None = None) -> object | None:
        """Return the signed value; None if it is invalid or older than `max_age` seconds."""
        try:
            value: object = self._serializer.loads(text, max_age=max_age)
        except BadSignature:
            return None
        return value
