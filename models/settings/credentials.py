"""Parsing of keys, tokens and signing secrets."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator

from models.settings.spellings import comma_or_line_separated, comma_separated, unwrapped

SHORTEST_TOKEN = 16
# Shorter than many tokens: a name and a token in the wrong order are refused.
LONGEST_NAME = 32
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
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


@dataclass(frozen=True, slots=True)
class OpsToken:
    """A bearer token of an operator, and its holder's name if it was set as `name:token`."""

    value: str = field(repr=False)
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a token with or without a name; ValueError without either of them."""
        name, colon, value = _TOKEN_PREFIX.sub("", text, count=1).partition(":")
        if not colon:
            return cls(_token(name))
        if not _NAME.fullmatch(name):
            raise ValueError(
                "each name before a colon must be a letter, then letters, digits, dots, dashes or"
                f" underscores, at most {LONGEST_NAME} in all"
            )
        return cls(_token(unwrapped(value)), name)

    @property
    def spelling(self) -> str:
        """The token as it was set."""
        return f"{self.name}:{self.value}" if self.name else self.value


def check_names(tokens: Iterable[OpsToken]) -> None:
    """Raise ValueError if one name has two tokens, or one token has two names."""
    tokens_of: dict[str, str] = {}
    names_of: dict[str, str] = {}
    for token in tokens:
        if token.name is None:
            continue
        if tokens_of.setdefault(token.name.lower(), token.value) != token.value:
            raise ValueError(f"the name {token.name} must not have two tokens")
        if (other := names_of.setdefault(token.value, token.name)) != token.name:
            raise ValueError(f"{other} and {token.name} must not have the same token")


def read_api_key(value: object) -> object:
    """Return an API key without its `Token ` prefix; ValueError if a header cannot carry it."""
    if not isinstance(value, str):
        return value
    key = _KEY_PREFIX.sub("", value, count=1)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("must be printable ASCII without spaces, to fit into an HTTP header")
    return key


def _token(text: str) -> str:
    token = _TOKEN_PREFIX.sub("", text, count=1)
    if not (token.isascii() and token.isprintable()):
        raise ValueError("each must be printable ASCII, to fit into an HTTP header")
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"each must have at least {SHORTEST_TOKEN} characters")
    return token


def _with_checked_names(tokens: tuple[OpsToken, ...]) -> tuple[OpsToken, ...]:
    check_names(tokens)
    return tokens


Tokens = Annotated[
    tuple[Annotated[OpsToken, BeforeValidator(OpsToken.parse)], ...],
    AfterValidator(_with_checked_names),
    BeforeValidator(comma_or_line_separated),
]
Secrets = Annotated[
    tuple[Annotated[WebhookSecret, BeforeValidator(WebhookSecret.parse)], ...],
    BeforeValidator(comma_separated),
]
