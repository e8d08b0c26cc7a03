"""Parsing of keys, tokens and signing secrets."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator

from models.settings.spellings import comma_or_line_separated, comma_separated

SHORTEST_TOKEN = 16
# People copy keys and tokens from documentation with the header around them.
_KEY_PREFIX = re.compile(r"\A(?:Authorization:\s*)?(?:Token|Bearer)\s+", re.IGNORECASE)
_TOKEN_PREFIX = re.compile(r"\A(?:Authorization:\s*)?Bearer\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """A webhook signing secret: the key, and a fingerprint that is safe to show."""

    key: bytes
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `whsec_<base64>`; raise ValueError for anything else."""
        if not text.startswith("whsec_"):
            raise ValueError("must start with whsec_")
        body = text.removeprefix("whsec_")
        # Svix also shows secrets without padding.
        try:
            key = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("must be base64 after whsec_") from None
        if not key:
            raise ValueError("must not be empty after whsec_")
        return cls(key, hashlib.sha256(key).hexdigest()[:12])

    def __repr__(self) -> str:
        return f"WebhookSecret({self.fingerprint})"


def read_api_key(value: object) -> object:
    """Return an API key without its `Token ` prefix; ValueError if a header cannot carry it."""
    if not isinstance(value, str):
        return value
    key = _KEY_PREFIX.sub("", value, count=1)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("must be printable ASCII without spaces, to fit into an HTTP header")
    return key


def _token(value: str) -> str:
    token = _TOKEN_PREFIX.sub("", value, count=1)
    if not (token.isascii() and token.isprintable()):
        raise ValueError("each must be printable ASCII, to fit into an HTTP header")
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"each must have at least {SHORTEST_TOKEN} characters")
    return token


Tokens = Annotated[
    tuple[Annotated[str, AfterValidator(_token)], ...], BeforeValidator(comma_or_line_separated)
]
Secrets = Annotated[
    tuple[Annotated[WebhookSecret, BeforeValidator(WebhookSecret.parse)], ...],
    BeforeValidator(comma_separated),
]
